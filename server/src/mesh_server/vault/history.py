"""A key's versions: list them, roll back to one, destroy one."""

from mesh_server.accounts.models import Account, Principal
from mesh_server.db.changes import bump
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.errors import VersionInUse
from mesh_server.ids import now_us
from mesh_server.vault.checks import check_name
from mesh_server.vault.grants import Grants, not_found
from mesh_server.vault.idempotency import Idempotency, Once
from mesh_server.vault.models import KeyRecord, NewValue, VersionRecord
from mesh_server.vault.store import FoundKey, Store
from mesh_server.vault.trail import Trail
from mesh_server.vault.verifiers import Verifiers
from mesh_server.vault.warm import Warm


class History:
    """The versions of keys; `Vault` says what the arguments mean that its methods share with these."""

    def __init__(
        self,
        database: Database,
        store: Store,
        grants: Grants,
        trail: Trail,
        idempotency: Idempotency,
        verifiers: Verifiers,
        warm: Warm,
    ) -> None:
        self._database = database
        self._store = store
        self._grants = grants
        self._trail = trail
        self._idempotency = idempotency
        self._verifiers = verifiers
        self._warm = warm

    async def versions(
        self, principal: Principal, name: str, *, namespace: str = "", owner: str | None = None
    ) -> list[VersionRecord]:
        """Return the newest `MOST_VERSIONS` versions of a key, newest first, without values.

        Raises:
            ScopeMissing: without `keys:read`.
            KeyNotFound: if there is no such key for the caller.
            GrantInsufficient: if it is shared with the caller, but not to be read.
        """
        principal.require("keys:read")
        check_name(name, namespace)

        async def work(tx: Transaction) -> list[VersionRecord]:
            holder = await self._grants.holder(tx, principal, owner, namespace, name, "read")
            found = await self._live(tx, holder, namespace, name, owner, locked=False)
            return await self._store.versions(tx, holder, found.key)

        async with self._trail.refusals(principal, owner, name, "read"):
            return await self._database.read(work, principal)

    async def roll_back(
        self,
        principal: Principal,
        name: str,
        version: int,
        *,
        namespace: str = "",
        owner: str | None = None,
        once: Once | None = None,
    ) -> KeyRecord:
        """Store the value of an earlier version as the newest one; expiry, tags and note stay as they are.

        Raises:
            ScopeMissing: without `keys:write`.
            KeyNotFound, GrantInsufficient: if the caller has no such key, or may not write it.
            VersionNotFound, VersionDestroyed: if that version is not there, or its value no longer.
            VersionInUse: if it is the current one.
            IdempotencyMismatch: if the request's key was used for another one.
        """
        principal.require("keys:write")
        check_name(name, namespace)

        async def work(tx: Transaction) -> KeyRecord:
            holder = await self._grants.holder(tx, principal, owner, namespace, name, "write")

            async def change() -> KeyRecord:
                found = await self._live(tx, holder, namespace, name, owner)
                if version == found.key.current_version:
                    raise VersionInUse(f"Version {version} of {name!r} is the current one already.")
                opened = await self._store.open(tx, holder, namespace, name, version)
                if opened is None:
                    raise not_found(name, owner)
                new = NewValue(value=opened.value, is_text=opened.is_text, expires_at=found.key.expires_at)
                record = await self._store.replace(tx, holder, found, new, live=True)
                await self._verifiers.value_changed(tx, holder, namespace, name, b"")
                await self._trail.tell(tx, principal, holder, "key.rolled-back", record)
                return record

            return await self._idempotency.run(tx, principal, once, KeyRecord, change)

        async with self._trail.refusals(principal, owner, name, "write"):
            with self._warm.changing:
                return await self._database.write(work, principal)

    async def destroy(
        self,
        principal: Principal,
        name: str,
        version: int,
        *,
        namespace: str = "",
        once: Once | None = None,
    ) -> VersionRecord:
        """Destroy the value of a version for good; that there was one stays known. The owner alone can do it.

        Raises:
            ScopeMissing: without `keys:write`.
            KeyNotFound: if the caller has no such key.
            VersionNotFound: if it never had that version.
            VersionInUse: if it is the current one.
            IdempotencyMismatch: if the request's key was used for another one.
        """
        principal.require("keys:write")
        check_name(name, namespace)

        async def work(tx: Transaction) -> VersionRecord:
            holder = principal.account

            async def change() -> VersionRecord:
                found = await self._live(tx, holder, namespace, name, None)
                destroyed = await self._store.destroy(tx, holder, found.key, version)
                await bump(tx)
                record = found.key.record(found.tags)
                await self._trail.tell(tx, principal, holder, "version.destroyed", record, version=version)
                return destroyed

            return await self._idempotency.run(tx, principal, once, VersionRecord, change)

        with self._warm.changing:
            return await self._database.write(work, principal)

    async def _live(
        self, tx: Transaction, holder: Account, namespace: str, name: str, owner: str | None, *, locked: bool = True
    ) -> FoundKey:
        found = await self._store.find(tx, holder, namespace, name, locked=locked)
        if found is None or found.key.gone(now_us()):
            raise not_found(name, owner)
        return found
