"""What the vault does: store, read, list, delete, restore and roll back keys, one's own and those shared with one."""

from collections.abc import Sequence
from functools import partial

from mesh_server.accounts.models import Account, Principal
from mesh_server.audit.models import Operator
from mesh_server.audit.service import Audit
from mesh_server.db.changes import bump
from mesh_server.db.engine import Database, Touched
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.errors import InvalidRequest, KeyNotDeleted, KeyNotFound
from mesh_server.ids import now_us
from mesh_server.vault import listing
from mesh_server.vault.checks import ANYHOW, Precondition, check_filter, check_name, check_new, check_precondition
from mesh_server.vault.cursors import Cursors
from mesh_server.vault.grants import Grants, not_found
from mesh_server.vault.history import History
from mesh_server.vault.idempotency import Idempotency, Once
from mesh_server.vault.keyring import Keyring
from mesh_server.vault.models import ChatKey, Deleted, KeyRecord, Limits, NewValue, OpenedKey
from mesh_server.vault.plain import PlainValues
from mesh_server.vault.sealed import SealedKey
from mesh_server.vault.seals import Seals
from mesh_server.vault.store import Store, marked
from mesh_server.vault.trail import Trail
from mesh_server.vault.verifiers import Verifiers
from mesh_server.vault.warm import Warm, WarmKey, place_of

MAX_PAGE = 200
#: Expired deletions that one transaction removes for good.
_PURGE_STEP = 500


class Vault:
    """The keys of every account, each reachable by its own principal, and by those it is shared with.

    In every method `namespace` is the one inside the account that holds the key, `owner` the id of that account where
    it is not the caller's own, and `once` makes a retry return what came of the first try.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        audit: Audit,
        limits: Limits | None = None,
        verifiers: Verifiers | None = None,
    ) -> None:
        seals = Seals(keyring.hasher("row-macs"))
        self.limits = limits or Limits()
        self._warm = Warm()
        self.grants = Grants(database, seals, audit, self._warm)
        self._database = database
        self._audit = audit
        self._trail = Trail(database, audit)
        self._store = Store(keyring, seals, self.limits)
        self.plain = PlainValues(self._store, self._trail)
        self._cursors = Cursors(keyring.hasher("key-list-cursor"))
        self._idempotency = Idempotency(keyring, keyring.hasher("idempotency"))
        self._verifiers = verifiers or Verifiers()
        self.history = History(
            database, self._store, self.grants, self._trail, self._idempotency, self._verifiers, self._warm
        )

    async def put(
        self,
        principal: Principal,
        name: str,
        new: NewValue,
        *,
        namespace: str = "",
        owner: str | None = None,
        precondition: Precondition = ANYHOW,
        once: Once | None = None,
    ) -> KeyRecord:
        """Store a value as the newest version of a key, and return what is known of it then.

        A deleted key of the same name comes back to life with the new value.

        Raises:
            ScopeMissing: without `keys:write`.
            KeyExists, RevisionConflict: if the precondition does not hold.
            InvalidRequest, KeyTooLarge: if a part of it is out of its limits.
            KeyNotFound, GrantInsufficient: if the owner did not let the caller write it.
            IdempotencyMismatch: if the request's key was used for another one.
        """
        principal.require("keys:write")
        check_name(name, namespace)
        check_new(new)

        async def work(tx: Transaction) -> KeyRecord:
            holder = await self.grants.holder(tx, principal, owner, namespace, name, "write")

            async def change() -> KeyRecord:
                found = await self._store.find(tx, holder, namespace, name)
                live = found is not None and not found.key.gone(now_us())
                check_precondition(precondition, found.key.rev if found is not None and live else None)
                if found is None:
                    record = await self._store.create(tx, holder, namespace, name, new)
                else:
                    record = await self._store.replace(tx, holder, found, new, live=live)
                await self._verifiers.value_changed(tx, holder, namespace, name, new.provable)
                await self._trail.tell(tx, principal, holder, "key.stored", record)
                return record

            return await self._idempotency.run(tx, principal, once, KeyRecord, change)

        touched = _touched(principal, owner, namespace, name, changed=True)
        async with self._trail.refusals(principal, owner, name, "write"):
            with self._warm.changing:
                return await self._database.write(work, principal, touched)

    async def get(
        self,
        principal: Principal,
        name: str,
        *,
        namespace: str = "",
        owner: str | None = None,
        version: int | None = None,
    ) -> OpenedKey:
        """Open a key, which the audit trail knows of before the caller has it.

        Args:
            principal: who is calling.
            name: of the key.
            namespace: within the account that holds it.
            owner: that account, where it is another one.
            version: an earlier one; None for the current one.

        Raises:
            ScopeMissing: without `keys:read`.
            KeyNotFound: if there is no such key for the caller, or it is deleted or expired.
            GrantInsufficient: if it is shared with the caller, but not to be read.
            VersionNotFound, VersionDestroyed: if that version is not there, or its value no longer.
            VaultDamaged: if it does not open.
        """
        principal.require("keys:read")
        check_name(name, namespace)

        async def work(tx: Transaction) -> OpenedKey:
            holder = await self.grants.holder(tx, principal, owner, namespace, name, "read")
            opened = await self._store.open(tx, holder, namespace, name, version)
            if opened is None:
                raise not_found(name, owner)
            await self._trail.tell(tx, principal, holder, "key.read", opened.record, version=opened.version)
            return opened

        touched = _touched(principal, owner, namespace, name, changed=False)
        async with self._trail.refusals(principal, owner, name, "read"):
            return await self._database.write(work, principal, touched)

    async def open_for_chat(
        self, principal: Principal, names: Sequence[str], *, owner: str | None = None
    ) -> ChatKey | None:
        """Open the first key by these names, for a call to a provider on the caller's behalf.

        Asks for the scope `chat`, not `keys:read`, and of another's key for the grant `chat`, not `read`: using a key
        is less than reading it.

        Returns:
            The key and its value, or None where the caller has none of them.

        Raises:
            GrantInsufficient: if it is shared with the caller, but not for chat.
        """
        principal.require("chat")
        if not names:
            return None
        place = place_of(principal, tuple(names), owner)
        key = self._warm.find(place)
        if key is None:
            moment = self._warm.moment
            found = await self._look_for_chat(principal, names, owner)
            if found is None:
                return None
            holder, sealed = found
            await self._trail.tell_of_chat(principal, holder, sealed.record)
            own = holder == principal.account
            key = WarmKey(holder, sealed.record, sealed.ready(holder), lasting=own)
            self._warm.keep(moment, place, key)
        elif not self._trail.told_of_chat(principal, key.record):
            await self._trail.tell_of_chat(principal, key.holder, key.record)
        record = key.record
        return ChatKey(record.name, key.ready.open().decode(), key.holder.account_id, record.version)

    async def _look_for_chat(
        self, principal: Principal, names: Sequence[str], owner: str | None
    ) -> tuple[Account, SealedKey] | None:

        async def look(tx: Transaction) -> tuple[Account, SealedKey] | None:
            for name in names:
                try:
                    holder = await self.grants.holder(tx, principal, owner, "", name, "chat")
                except KeyNotFound:
                    continue
                sealed = await self._store.sealed(tx, holder, "", name)
                if sealed is not None and sealed.is_text:
                    return holder, sealed
            return None

        async with self._trail.refusals(principal, owner, names[0], "chat"):
            return await self._database.read(look, principal)

    def forget(self) -> None:
        """Forget what is kept warm; called when any process changed or took a key away."""
        self._warm.forget()
        self._store.forget()

    def confirm(self, asked_at: float) -> None:
        """Keep them for longer: no other process had written anything by `asked_at`, in seconds, monotonic."""
        self._warm.confirm(asked_at)

    async def has_for_chat(self, principal: Principal, names: Sequence[str]) -> bool:
        """Return whether the caller has a key by one of these names; opens none."""
        principal.require("chat")

        async def look(tx: Transaction) -> bool:
            for name in names:
                found = await self._store.find(tx, principal.account, "", name, locked=False)
                if found is not None and not found.key.gone(now_us()):
                    return True
            return False

        return bool(names) and await self._database.read(look, principal)

    async def list_keys(
        self,
        principal: Principal,
        *,
        namespace: str = "",
        owner: str | None = None,
        prefix: str = "",
        tag: tuple[str, str] | None = None,
        limit: int = MAX_PAGE,
        cursor: str | None = None,
    ) -> tuple[list[KeyRecord], str | None]:
        """Return a page of what is known of live keys, by name, and the cursor of the next page.

        Args:
            principal: who is calling.
            namespace: within the account whose list it is.
            owner: that account, where it is another one: what it lets the caller read.
            prefix: literal; `%` and `_` mean themselves.
            tag: only keys with this tag and value.
            limit: 1 to 200.
            cursor: of the page before, made for the same filters and the same caller.

        Raises:
            ScopeMissing: without `keys:read`.
            InvalidRequest: if a filter is out of its limits, or the cursor is another list's.
        """
        principal.require("keys:read")
        check_filter(namespace, prefix)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"`limit` must be between 1 and {MAX_PAGE}.")
        holder = owner or principal.account_id
        scope = (principal.tenant_id, principal.account_id, holder, namespace, prefix, *(tag or ()))
        after = self._cursors.open(scope, cursor) if cursor else ""
        place = {"tenant_": principal.tenant_id, "owner_": holder, "namespace_": namespace}
        page = partial(listing.page, after=after, tag=tag, now=now_us(), limit=limit + 1)

        async def work(tx: Transaction) -> list[KeyRecord]:
            if holder != principal.account_id:
                grants = await self.grants.applying(tx, principal, holder, namespace)
                patterns = [grant.pattern for grant in grants if "read" in grant.actions]
                return await page(tx, place, listing.covered_by(patterns, prefix))
            found = await page(tx, place, [listing.beginning_with(prefix)])
            if not found:
                return found
            ends = found[0].name, found[-1].name
            return marked(found, await self._verifiers.provable(tx, principal.account, namespace, *ends))

        records = await self._database.read(work, principal)
        if len(records) <= limit:
            return records, None
        return records[:limit], self._cursors.make(scope, records[limit - 1].name)

    async def delete(
        self,
        principal: Principal,
        name: str,
        *,
        namespace: str = "",
        owner: str | None = None,
        precondition: Precondition = ANYHOW,
        once: Once | None = None,
    ) -> Deleted:
        """Delete a key; it can be restored while its window lasts.

        Raises:
            ScopeMissing: without `keys:write`.
            KeyNotFound: if there is no such key for the caller.
            GrantInsufficient: if it is shared with the caller, but not to be written.
            RevisionConflict: if the precondition does not hold.
            IdempotencyMismatch: if the request's key was used for another one.
        """
        principal.require("keys:write")
        check_name(name, namespace)

        async def work(tx: Transaction) -> Deleted:
            holder = await self.grants.holder(tx, principal, owner, namespace, name, "write")

            async def change() -> Deleted:
                found, now = await self._store.find(tx, holder, namespace, name), now_us()
                if found is None or found.key.gone(now):
                    raise not_found(name, owner)
                check_precondition(precondition, found.key.rev)
                record = await self._store.mark(tx, holder, found, deleted_at=now)
                await self._verifiers.value_changed(tx, holder, namespace, name, b"")
                await bump(tx)
                await self._trail.tell(tx, principal, holder, "key.deleted", record)
                return Deleted(name, now, now + self.limits.restore_window_us)

            return await self._idempotency.run(tx, principal, once, Deleted, change)

        async with self._trail.refusals(principal, owner, name, "write"):
            with self._warm.changing:
                return await self._database.write(work, principal)

    async def restore(
        self,
        principal: Principal,
        name: str,
        *,
        namespace: str = "",
        owner: str | None = None,
        once: Once | None = None,
    ) -> KeyRecord:
        """Take a deletion back.

        Raises:
            ScopeMissing: without `keys:write`.
            KeyNotFound: if there is no such key for the caller, or its window has passed.
            GrantInsufficient: if it is shared with the caller, but not to be written.
            KeyNotDeleted: if it was not deleted.
            IdempotencyMismatch: if the request's key was used for another one.
        """
        principal.require("keys:write")
        check_name(name, namespace)

        async def work(tx: Transaction) -> KeyRecord:
            holder = await self.grants.holder(tx, principal, owner, namespace, name, "write")

            async def change() -> KeyRecord:
                found = await self._store.find(tx, holder, namespace, name)
                deleted_at = None if found is None else found.key.deleted_at
                if found is None or (deleted_at and deleted_at + self.limits.restore_window_us <= now_us()):
                    raise not_found(name, owner)
                if deleted_at is None:
                    raise KeyNotDeleted(f"The key {name!r} is not deleted.")
                record = await self._store.mark(tx, holder, found, deleted_at=None)
                await self._trail.tell(tx, principal, holder, "key.restored", record)
                return record

            return await self._idempotency.run(tx, principal, once, KeyRecord, change)

        async with self._trail.refusals(principal, owner, name, "write"):
            with self._warm.changing:
                return await self._database.write(work, principal)

    async def purge(self) -> int:
        """Remove for good what was deleted longer ago than the window, and stored answers whose day is over.

        Returns:
            How many keys that were.
        """

        async def keys(tx: Transaction) -> int:
            before = now_us() - self.limits.restore_window_us
            removed = await self._store.purge(tx, before, _PURGE_STEP)
            for tenant_id, stored in removed:
                server = Operator(tenant_id, stored.owner_id, actor_id="server")
                await self._audit.record(tx, server, "key.purged", stored.name, details={"id": stored.id})
            return len(removed)

        removed = 0
        while step := await self._database.write(keys, ServerWork.PURGE):
            removed += step
        while await self._database.write(self._idempotency.forget_old, ServerWork.PURGE):
            pass
        return removed


def _touched(principal: Principal, owner: str | None, namespace: str, name: str, *, changed: bool) -> Touched:
    """Return the key that a unit of work is about; no two of them share anything else that they change."""
    return Touched((principal.tenant_id, owner or principal.account_id, namespace, name), changed=changed)
