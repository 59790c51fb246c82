"""The composition root: which capability serves which path, and what each is made of."""

import asyncio
import contextlib
import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import msgspec
import structlog

from mesh_server import openapi
from mesh_server.accounts import login_routes
from mesh_server.accounts import routes as account_routes
from mesh_server.accounts.acting import Acting
from mesh_server.accounts.oidc.exchange import Exchange
from mesh_server.accounts.oidc.issuers import Issuers
from mesh_server.accounts.service import Accounts
from mesh_server.accounts.trail_routes import TrailRoutes
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
from mesh_server.operations import Operations
from mesh_server.proofs import legacy, legacy_routes
from mesh_server.proofs import routes as proof_routes
from mesh_server.proofs.legacy_service import LegacyProofs
from mesh_server.proofs.roots import Roots
from mesh_server.proofs.service import Proofs
from mesh_server.settings import Settings
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

_log = structlog.get_logger("mesh.app")


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
    ) -> None:
        self.changes = changes
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
            except MeshError as problem:
                _log.warning("expired deletions can't be removed now", code=problem.code)
            else:
                if removed:
                    _log.info("removed keys that were deleted long ago", keys=removed)
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
    background: Background

    @classmethod
    async def open(cls, settings: Settings) -> Self:
        """Open the database, try the master key on it, and build the services.

        Raises:
            StartupError: one sentence that says what is wrong with the data folder, the database or a key.
        """
        keyring = Keyring(settings.master)
        roots = Roots.load(settings.zkp_root, settings.zkp_root_file)
        database = await Database.open(settings.database_url, connections=settings.database_connections)
        try:
            await keyring.check(database)
            audit = open_audit(database, keyring, head_file(keyring, *settings.audit_head_files))
            await audit.check_head()
            issuers = Issuers(settings.issuers, leeway_s=settings.oidc_leeway_s)
            accounts = Accounts(database, keyring.hasher("api-tokens"), audit, issuers)
            acting = Acting(database)
            exchange = Exchange(issuers, keyring.hasher("login-pkce"))
            proofs = Proofs(database, roots, settings.server_id, settings.zkp_rates, audit)
            verifiers = Verifiers(proofs.value_changed, proofs.provable)
            vault = Vault(database, keyring, audit, settings.vault, verifiers)
            billing = Billing(database)
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
            background = Background(Changes(database), keyring, audit, vault, proofs, billing, answers)
            background.changes.on_change(accounts.forget)
            background.changes.on_change(acting.forget)
            background.changes.on_change(vault.forget)
            background.changes.on_change(billing.forget)
        except BaseException:
            await database.close()
            raise
        return cls(
            settings, database, keyring, audit, accounts, acting, exchange, proofs, vault, billing, chat, background
        )

    async def close(self) -> None:
        """Stop the local model, then close the database: what was begun is finished."""
        await self.chat.once.close()
        await self.background.stop()
        await self.chat.close()
        await self.accounts.issuers.close()
        await self.database.close()

    def application(self, beside: Sequence[Endpoint] = ()) -> Guard:
        """Return the ASGI application.

        Args:
            beside: endpoints that are served beside the capabilities' own.
        """
        operations = Operations(self._ready)
        endpoints = [
            *operations.endpoints(),
            *account_routes.endpoints(self.accounts),
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
        document = openapi.document(endpoints, server_url=self.settings.public_url)
        operations.publish(msgspec.json.encode(document))
        gc.collect()
        gc.freeze()  # what lives as long as the process is not looked at again: shorter pauses under load
        return Guard(endpoints, self.accounts, self.acting, allowed_hosts=self.settings.allowed_hosts)

    def _old_scheme(self) -> list[Endpoint]:
        if not self.settings.legacy_zkp:
            return legacy.endpoints()
        proofs = LegacyProofs(self.database, self.settings.zkp_rates, self.audit, self.vault.plain)
        return legacy_routes.endpoints(proofs, self.keyring.hasher("proof-addresses"))

    async def _ready(self) -> None:
        await self.database.check()
        await self.audit.check()  # a database that reads but can't be audited serves no secret


def runner() -> asyncio.Runner:
    """Return the event loop's runner: uvloop where it exists."""
    if sys.platform == "win32":
        return asyncio.Runner()
    import uvloop  # noqa: PLC0415 - not installed on Windows

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)
