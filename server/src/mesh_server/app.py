"""The composition root: which capability serves which path, and what each is made of."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import msgspec

from mesh_server import openapi
from mesh_server.accounts import login_routes
from mesh_server.accounts import routes as account_routes
from mesh_server.accounts.acting import Acting
from mesh_server.accounts.models import Principal
from mesh_server.accounts.oidc.exchange import Exchange
from mesh_server.accounts.oidc.issuers import Issuers
from mesh_server.accounts.service import Accounts
from mesh_server.accounts.trail_routes import TrailRoutes
from mesh_server.addresses import is_loopback
from mesh_server.asgi import Endpoint
from mesh_server.audit.service import Audit
from mesh_server.billing import routes as billing_routes
from mesh_server.billing.budgets import Budgets
from mesh_server.billing.lease import is_alive
from mesh_server.billing.service import Billing
from mesh_server.billing.usage import Usage
from mesh_server.chat import key_test_routes
from mesh_server.chat import routes as chat_routes
from mesh_server.chat.service import Chat
from mesh_server.db.changes import Changes
from mesh_server.db.engine import Database
from mesh_server.errors import MeshError
from mesh_server.guard import Guard
from mesh_server.legacy.credits import credits_of
from mesh_server.legacy.routes import with_legacy
from mesh_server.metrics.parts import assemble
from mesh_server.metrics.service import Metrics
from mesh_server.metrics.shared import Shared
from mesh_server.operations import Operations
from mesh_server.proofs import legacy, legacy_routes
from mesh_server.proofs import routes as proof_routes
from mesh_server.proofs.legacy_service import LegacyProofs
from mesh_server.proofs.roots import Roots
from mesh_server.proofs.service import Proofs
from mesh_server.settings import Settings
from mesh_server.telemetry import logger
from mesh_server.tracing.spans import Tracing
from mesh_server.vault import routes as vault_routes
from mesh_server.vault.answers import StoredAnswers
from mesh_server.vault.keyring import Keyring
from mesh_server.vault.service import Vault
from mesh_server.vault.trail import head_file, open_audit
from mesh_server.vault.verifiers import Verifiers

#: Seconds between two looks for deletions whose window has passed.
PURGE_S = 3600.0
#: Seconds between two looks at the master key's file.
WATCH_S = 1.0

#: Objects after which Python looks for cycles, of which a request makes none: by default each sixth request would pay.
GC_THRESHOLDS = (10_000, 20, 50)

_log = logger("mesh.app")


class Background:
    """What runs beside the requests: forgetting what was taken away, signing the audit trail, and removing for good."""

    def __init__(
        self,
        changes: Changes,
        keyring: Keyring,
        audit: Audit,
        vault: Vault,
        proofs: Proofs,
        billing: Billing,
        answers: StoredAnswers,
        *,
        metrics: Metrics,
    ) -> None:
        self.changes = changes
        self._metrics = metrics
        self._billing = billing
        self._answers = answers
        self._keyring = keyring
        self._audit = audit
        self._vault = vault
        self._proofs = proofs
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin."""
        await self.changes.start()
        await self._audit.start()
        await self._billing.start()
        await self._metrics.start()
        self._tasks = [asyncio.create_task(work()) for work in (self._purge_forever, self._watch_master_key)]

    async def stop(self) -> None:
        """End; what is being written is finished by the database."""
        await self.changes.stop()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []
        await self._billing.stop()
        await self._metrics.stop()
        await self._audit.stop()

    async def _watch_master_key(self) -> None:
        """See within a second that the keyring file was replaced: that is how a rotation reaches a running server."""
        while True:
            await asyncio.sleep(WATCH_S)
            await asyncio.to_thread(self._keyring.refresh)

    async def _purge_forever(self) -> None:
        while True:
            try:
                removed = await self._vault.purge()
                await self._proofs.purge()
                await self._answers.purge()
                calls = await self._billing.purge()
                events = await self._audit.purge()
            except MeshError as problem:
                _log.warning("what is old can't be removed now", code=problem.code)
            else:
                if removed:
                    _log.info("removed keys that were deleted long ago", keys=removed)
                if calls:
                    _log.info("removed usage that is older than it is kept", calls=calls)
                if events:
                    _log.info("removed what the audit trail keeps no longer", events=events)
            await asyncio.sleep(PURGE_S)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything one process needs to serve, opened in the order in which it can fail."""

    settings: Settings
    database: Database
    keyring: Keyring
    audit: Audit
    accounts: Accounts
    acting: Acting
    exchange: Exchange
    proofs: Proofs
    vault: Vault
    billing: Billing
    chat: Chat
    metrics: Metrics
    tracing: Tracing | None
    background: Background

    @classmethod
    async def open(
        cls, settings: Settings, *, shared: Shared | None = None, index: int = 0, tracing: Tracing | None = None
    ) -> Self:
        """Open the database, try the master key on it, and build the services.

        Args:
            settings: the configuration.
            shared: where several workers leave their metrics; None for one process.
            index: which of them this is.
            tracing: makes spans of requests and calls; None where nobody wants them.

        Raises:
            StartupError: one sentence that says what is wrong with the data folder, the database or a key.
        """
        keyring = Keyring(settings.master)
        roots = Roots.load(settings.zkp_root, settings.zkp_root_file)
        database = await Database.open(settings.database_url, connections=settings.database_connections)
        try:
            await keyring.check(database)
            head = head_file(keyring, *settings.audit_head_files)
            audit = open_audit(database, keyring, head, kept_us=settings.audit_kept_us)
            await audit.check_head()
            issuers = Issuers(settings.issuers, leeway_s=settings.oidc_leeway_s)
            accounts = Accounts(database, keyring.hasher("api-tokens"), audit, issuers)
            acting = Acting(database)
            exchange = Exchange(issuers, keyring.hasher("login-pkce"))
            proofs = Proofs(
                database, roots, settings.server_id, settings.zkp_rates, audit, keyring.hasher("proof-records")
            )
            verifiers = Verifiers(proofs.value_changed, proofs.provable)
            vault = Vault(database, keyring, audit, settings.vault, verifiers)
            billing = Billing(database, usage_kept_us=settings.usage_kept_us)
            answers = StoredAnswers(
                database,
                keyring,
                keyring.hasher("chat-answers"),
                holder=billing.lease.current,
                hold=billing.lease.hold,
                held=billing.lease.held,
                is_alive=is_alive,
            )
            chat = Chat(settings.chat, vault, billing, answers)
            metrics = assemble(database, billing, chat, shared, index)
            if tracing is not None:
                billing.observers.append(tracing.call)
                chat.trace_headers = tracing.headers
            changes = Changes(database)
            background = Background(changes, keyring, audit, vault, proofs, billing, answers, metrics=metrics)
            background.changes.on_change(accounts.forget)
            background.changes.on_change(acting.forget)
            background.changes.on_change(vault.forget)
            background.changes.on_sign(audit.elsewhere, moved=vault.forget, still=vault.confirm)
            background.changes.on_change(billing.forget)
        except BaseException:  # a StartupError, or the end of the task: threads and connections would stay
            await database.close()
            raise
        made = (keyring, audit, accounts, acting, exchange, proofs, vault, billing, chat, metrics, tracing, background)
        return cls(settings, database, *made)

    async def close(self) -> None:
        """Stop the local model, then close the database: what was begun is finished."""
        await self.chat.once.close()
        await self.background.stop()
        await self.chat.close()
        await self.accounts.issuers.close()
        await self.database.close()
        if self.tracing is not None:
            await self.tracing.close()

    def application(self, beside: Sequence[Endpoint] = (), *, behind_proxy: bool = False) -> Guard:
        """Return the ASGI application.

        Args:
            beside: endpoints that are served beside the capabilities' own.
            behind_proxy: a proxy hands the requests on, so that not only this machine's programs reach loopback.
        """
        open_metrics = not behind_proxy and self._for_this_machine()
        operations = Operations(self._ready, self.metrics.scrape, open_metrics=open_metrics)
        endpoints = [
            *operations.endpoints(),
            *account_routes.endpoints(self.accounts, self._credits),
            *TrailRoutes(self.audit).endpoints(),
            *login_routes.endpoints(self.exchange),
            *vault_routes.endpoints(self.vault),
            *proof_routes.endpoints(self.proofs, self.keyring.hasher("proof-addresses")),
            *self._old_scheme(),
            *chat_routes.endpoints(self.chat),
            *billing_routes.endpoints(Usage(self.database), Budgets(self.database)),
            *key_test_routes.endpoints(self.chat.key_tests),
            *beside,
        ]
        endpoints = with_legacy(
            endpoints, accounts=self.accounts, vault=self.vault, chat=self.chat, credits_of=self._credits
        )
        document = openapi.document(endpoints, server_url=self.settings.public_url)
        operations.publish(msgspec.json.encode(document))
        gc.collect()
        gc.freeze()  # what lives as long as the process is not looked at again: shorter pauses under load
        gc.set_threshold(*GC_THRESHOLDS)
        hosts = self.settings.allowed_hosts
        return Guard(endpoints, self.accounts, self.acting, self.metrics.counts, self.tracing, allowed_hosts=hosts)

    async def _credits(self, principal: Principal) -> int:
        if "chat" not in principal.scopes:
            return credits_of(None, may_chat=False)
        found = await Budgets(self.database).of_caller(principal.tenant_id, principal.account_id, principal.token_id)
        return credits_of(billing_routes.left_usd(found), may_chat=True)

    def _old_scheme(self) -> list[Endpoint]:
        if not self.settings.legacy_zkp:
            return legacy.endpoints()
        names = self.keyring.hasher("legacy-names")
        proofs = LegacyProofs(self.database, self.settings.zkp_rates, self.audit, self.vault.plain, names)
        return legacy_routes.endpoints(proofs, self.keyring.hasher("proof-addresses"))

    def _for_this_machine(self) -> bool:
        """Whether nothing in the configuration says that others reach the server, be it through a proxy."""
        settings = self.settings
        by_name = all(is_loopback(host) for host in settings.allowed_hosts)  # the public one is among them
        return settings.loopback_only and by_name and not settings.trusted_proxies

    async def _ready(self) -> None:
        await self.database.check()
        await self.audit.check()  # a database that reads but can't be audited serves no secret


def runner() -> asyncio.Runner:
    """Return the event loop's runner: uvloop where it exists."""
    if sys.platform == "win32":
        return asyncio.Runner()
    import uvloop  # noqa: PLC0415 - not installed on Windows

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
