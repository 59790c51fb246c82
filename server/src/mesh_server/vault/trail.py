"""What the audit trail is told of keys."""

import math
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path

from mesh_server.accounts.models import Account, Principal
from mesh_server.audit.head import HeadFile
from mesh_server.audit.service import Audit
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.errors import GrantInsufficient
from mesh_server.vault.crypto import equal
from mesh_server.vault.keyring import Keyring
from mesh_server.vault.models import KeyRecord

#: The use of a provider's key for chat, and a refusal, is told this often for a principal and a key, not each time.
ONCE_S = 60.0
_MOST_REMEMBERED = 100_000

_NO_REFUSALS: AbstractAsyncContextManager[None] = nullcontext()


def open_audit(database: Database, keyring: Keyring, head: HeadFile | None, *, kept_us: int | None = None) -> Audit:
    """Return the audit trail of this process, under keys derived from the server's root key."""
    return Audit(database, keyring.hasher("audit-chain"), keyring.hasher("audit-checkpoint"), head, kept_us=kept_us)


def head_file(keyring: Keyring, *paths: Path) -> HeadFile:
    """Return the file of the newest checkpoint.

    Args:
        keyring: names and signs for the database that it was checked against.
        paths: where the file is, the best place first.
    """
    return HeadFile(
        paths,
        keyring.subkey("database-id")[:16].hex(),
        keyring.hasher("audit-checkpoint"),
        equal,
    )


class Trail:
    """Tells the trail about keys: ids and numbers for `verify`, names for people, never a value."""

    def __init__(self, database: Database, audit: Audit) -> None:
        self._database = database
        self._audit = audit
        self._told: dict[tuple[str | None, ...], float] = {}

    async def tell(
        self,
        tx: Transaction,
        principal: Principal,
        holder: Account,
        action: str,
        record: KeyRecord,
        *,
        version: int | None = None,
    ) -> None:
        """Add an event about a key to the trail, in the transaction of what it tells.

        Args:
            tx: that transaction.
            principal: who does it.
            holder: the account that holds the key.
            action: what is done.
            record: the key afterwards.
            version: the one that it is about; None for the current one.
        """
        details: dict[str, object] = {"id": record.id, "rev": record.rev, "version": version or record.version}
        if record.namespace:
            details["namespace"] = record.namespace
        await self._audit.record(tx, principal, action, record.name, account_id=holder.account_id, details=details)

    def told_of_chat(self, principal: Principal, record: KeyRecord) -> bool:
        """Return whether the use of a key for chat was told within the last minute."""
        return self._told_lately(_who(principal, "key.used", record.id))

    async def tell_of_chat(self, principal: Principal, holder: Account, record: KeyRecord) -> None:
        """Tell that a key is used for chat, unless that was told within the last minute.

        Raises:
            MeshError: if the trail can't be written; then the key must not be used.
        """
        what = _who(principal, "key.used", record.id)
        if self._told_lately(what):
            return

        async def work(tx: Transaction) -> None:
            await self.tell(tx, principal, holder, "key.used", record)

        await self._database.write(work, principal)
        self._remember(what)

    def refusals(
        self, principal: Principal, owner: str | None, name: str, action: str
    ) -> AbstractAsyncContextManager[None]:
        """Tell that somebody tried more with a shared key than was granted, at most once a minute for each such try.

        Args:
            principal: who tries.
            owner: whose key it is.
            name: of the key.
            action: what is tried: `read`, `write`, `chat`.
        """
        # One's own keys are never refused: the way of nearly all requests.
        return _NO_REFUSALS if owner is None else self._refusals(principal, owner, name, action)

    @asynccontextmanager
    async def _refusals(self, principal: Principal, owner: str, name: str, action: str) -> AsyncIterator[None]:
        try:
            yield
        except GrantInsufficient:
            what = _who(principal, action, f"{owner}/{name}")
            if not self._told_lately(what):
                details = {"action": action}

                async def work(tx: Transaction) -> None:
                    await self._audit.record(
                        tx, principal, "key.refused", name, account_id=owner, outcome="denied", details=details
                    )

                await self._database.write(work, principal)
                self._remember(what)
            raise

    def _told_lately(self, what: tuple[str | None, ...]) -> bool:
        return time.monotonic() - self._told.get(what, -math.inf) < ONCE_S

    def _remember(self, what: tuple[str | None, ...]) -> None:
        if len(self._told) >= _MOST_REMEMBERED:
            self._told.clear()
        self._told[what] = time.monotonic()


def _who(principal: Principal, *what: str) -> tuple[str | None, ...]:
    return (principal.tenant_id, principal.actor_id, principal.account_id, principal.token_id, *what)
