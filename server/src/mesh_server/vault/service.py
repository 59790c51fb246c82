"""What the vault does: store, read, list, delete and restore the keys of the account that is calling."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mesh_server.accounts.models import Principal
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.errors import (
    InvalidRequest,
    KeyExists,
    KeyNotDeleted,
    KeyNotFound,
    RevisionConflict,
    VaultDamaged,
)
from mesh_server.ids import now_us, uuid7
from mesh_server.vault import crypto, statements
from mesh_server.vault.checks import check_filter, check_name, check_new
from mesh_server.vault.cursors import Cursors, end_of_prefix
from mesh_server.vault.keyring import Keyring, dek_id
from mesh_server.vault.models import (
    RESTORE_WINDOW_US,
    VERSIONS_KEPT,
    Deleted,
    KeyRecord,
    NewValue,
    OpenedKey,
)
from mesh_server.vault.rows import as_record, marked, with_tags
from mesh_server.vault.verifiers import Verifiers

MAX_PAGE = 200
#: Expired deletions that one transaction removes for good.
_PURGE_STEP = 500


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must hold for a change to happen.

    Attributes:
        revisions: the key is at one of these; `None` for whatever it is at.
        present: True: it must be there; False: it must not; None: both are right.
    """

    revisions: Collection[int] | None = None
    present: bool | None = None


ANYHOW = Precondition()


class Vault:
    """The keys of every account, each reachable by its own principal only."""

    def __init__(self, database: Database, keyring: Keyring, verifiers: Verifiers | None = None) -> None:
        self._database = database
        self._keyring = keyring
        self._verifiers = verifiers or Verifiers()
        self._cursors = Cursors(keyring.hasher("key-list-cursor"))

    async def put(
        self,
        principal: Principal,
        name: str,
        new: NewValue,
        *,
        namespace: str = "",
        precondition: Precondition = ANYHOW,
    ) -> KeyRecord:
        """Store a value as the newest version of a key, and return what is known of it then.

        A deleted key of the same name comes back to life with the new value.

        Raises:
            ScopeMissing: without `keys:write`.
            KeyExists, RevisionConflict: if the precondition does not hold.
            InvalidRequest, KeyTooLarge: if a part of it is out of its limits.
        """
        principal.require("keys:write")
        check_name(name, namespace)
        check_new(new)

        async def work(tx: Transaction) -> KeyRecord:
            row = await tx.one(statements.FIND, **_named(principal, namespace, name))
            now = now_us()
            live = row is not None and not _gone(row, now)
            _check_precondition(precondition, row[4] if row is not None and live else None)
            await self._verifiers.value_changed(tx, principal, namespace, name, new.provable)
            if row is None:
                return await self._create(tx, principal, namespace, name, new, now)
            return await self._replace(tx, principal, row, new, now, live=live)

        return await self._database.write(work, principal)

    async def get(self, principal: Principal, name: str, *, namespace: str = "") -> OpenedKey:
        """Open a key.

        Raises:
            ScopeMissing: without `keys:read`.
            KeyNotFound: if this account has no such key, or it is deleted or expired.
            VaultDamaged: if it does not open.
        """
        principal.require("keys:read")
        check_name(name, namespace)
        opened = await self._database.read(lambda tx: self._open(tx, principal, namespace, name), principal)
        if opened is None:
            raise _not_found(name)
        return opened

    async def open_for_chat(self, principal: Principal, names: Sequence[str]) -> tuple[str, str] | None:
        """Open the first of the caller's keys by these names, for a call to a provider on the caller's behalf.

        Asks for the scope `chat`, not `keys:read`: using a key is less than reading it.

        Returns:
            The key's name and value, or None where the caller has none of them.
        """
        principal.require("chat")

        async def work(tx: Transaction) -> OpenedKey | None:
            for name in names:
                opened = await self._open(tx, principal, "", name)
                if opened is not None and opened.is_text:
                    return opened
            return None

        opened = await self._database.read(work, principal) if names else None
        return None if opened is None else (opened.record.name, opened.value.decode())

    async def list_keys(
        self,
        principal: Principal,
        *,
        namespace: str = "",
        prefix: str = "",
        tag: tuple[str, str] | None = None,
        limit: int = MAX_PAGE,
        cursor: str | None = None,
    ) -> tuple[list[KeyRecord], str | None]:
        """Return a page of what is known of the caller's live keys, by name, and the cursor of the next page.

        Args:
            principal: who is calling.
            namespace: within the caller's account.
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
        scope = (principal.tenant_id, principal.account_id, namespace, prefix, *(tag or ()))
        after = self._cursors.open(scope, cursor) if cursor else ""
        parameters = {
            "tenant_": principal.tenant_id,
            "owner_": principal.account_id,
            "namespace_": namespace,
            "now_": now_us(),
            "after_": after,
            "limit_": limit + 1,
        }
        if prefix:
            parameters |= {"prefix_": prefix, "prefix_end_": end_of_prefix(prefix)}
        if tag:
            parameters |= {"tag_": tag[0], "value_": tag[1]}
        statement = statements.PAGES[bool(prefix), tag is not None]

        async def work(tx: Transaction) -> list[KeyRecord]:
            found = with_tags(await tx.all(statement, **parameters))
            if not found:
                return found
            ends = found[0].name, found[-1].name
            return marked(found, await self._verifiers.provable(tx, principal, namespace, *ends))

        records = await self._database.read(work, principal)
        if len(records) <= limit:
            return records, None
        return records[:limit], self._cursors.make(scope, records[limit - 1].name)

    async def delete(
        self, principal: Principal, name: str, *, namespace: str = "", precondition: Precondition = ANYHOW
    ) -> Deleted:
        """Delete a key; it can be restored for 30 days.

        Raises:
            ScopeMissing: without `keys:write`.
            KeyNotFound: if there is no such key.
            RevisionConflict: if the precondition does not hold.
        """
        principal.require("keys:write")
        check_name(name, namespace)

        async def work(tx: Transaction) -> Deleted:
            row = await tx.one(statements.FIND, **_named(principal, namespace, name))
            now = now_us()
            if row is None or _gone(row, now):
                raise _not_found(name)
            _check_precondition(precondition, row[4])
            await self._verifiers.value_changed(tx, principal, namespace, name, b"")
            await tx.execute(statements.MARK_DELETED, **_owned(principal), id_=row[0], now_=now, rev_=row[4] + 1)
            return Deleted(name, now, now + RESTORE_WINDOW_US)

        return await self._database.write(work, principal)

    async def restore(self, principal: Principal, name: str, *, namespace: str = "") -> KeyRecord:
        """Take a deletion back.

        Raises:
            ScopeMissing: without `keys:write`.
            KeyNotFound: if there is no such key, or its window has passed.
            KeyNotDeleted: if it was not deleted.
        """
        principal.require("keys:write")
        check_name(name, namespace)

        async def work(tx: Transaction) -> KeyRecord:
            row = await tx.one(statements.FIND, **_named(principal, namespace, name))
            now = now_us()
            if row is None or (row[9] is not None and row[9] + RESTORE_WINDOW_US <= now):
                raise _not_found(name)
            if row[9] is None:
                raise KeyNotDeleted(f"The key {name!r} is not deleted.")
            await tx.execute(statements.MARK_RESTORED, **_owned(principal), id_=row[0], now_=now, rev_=row[4] + 1)
            return await _record(tx, principal, (*row[:4], row[4] + 1, *row[5:7], now, row[8]))

        return await self._database.write(work, principal)

    async def purge(self) -> int:
        """Remove for good what was deleted longer ago than the window; return how many keys that were."""

        async def work(tx: Transaction) -> int:
            before = now_us() - RESTORE_WINDOW_US
            rows = await tx.all(statements.EXPIRED_DELETIONS, before_=before, limit_=_PURGE_STEP)
            for tenant_id, key_id in rows:
                for statement in statements.PURGE:
                    await tx.execute(statement, tenant_=tenant_id, id_=key_id)
            return len(rows)

        removed = 0
        while step := await self._database.write(work, ServerWork.PURGE):
            removed += step
        return removed

    # --- within a transaction ---

    async def _create(
        self, tx: Transaction, principal: Principal, namespace: str, name: str, new: NewValue, now: int
    ) -> KeyRecord:
        key_id = uuid7()
        await tx.execute(
            statements.ADD,
            **_named(principal, namespace, name),
            id_=key_id,
            note_=new.note or None,
            expires_at_=new.expires_at,
            now_=now,
        )
        await self._add_version(tx, principal, key_id, 1, new, now)
        await _set_tags(tx, principal, key_id, new.tags or {})
        return await _record(tx, principal, (key_id, name, namespace, 1, 1, new.note or None, now, now, new.expires_at))

    async def _replace(
        self, tx: Transaction, principal: Principal, row: Row, new: NewValue, now: int, *, live: bool
    ) -> KeyRecord:
        key_id, name, namespace, version, rev, note, created_at, *_ = row
        version, rev = version + 1, rev + 1
        # A key that was gone begins anew: what described the old one does not describe the new one.
        note = (note if live else None) if new.note is None else new.note or None
        created_at = created_at if live else now
        await tx.execute(
            statements.NEW_VERSION,
            **_owned(principal),
            id_=key_id,
            version_=version,
            rev_=rev,
            note_=note,
            created_at_=created_at,
            expires_at_=new.expires_at,
            now_=now,
        )
        await self._add_version(tx, principal, key_id, version, new, now)
        if new.tags is not None or not live:
            await tx.execute(statements.DROP_TAGS, tenant_=principal.tenant_id, id_=key_id)
            await _set_tags(tx, principal, key_id, new.tags or {})
        return await _record(
            tx, principal, (key_id, name, namespace, version, rev, note, created_at, now, new.expires_at)
        )

    async def _add_version(
        self, tx: Transaction, principal: Principal, key_id: str, version: int, new: NewValue, now: int
    ) -> None:
        tenant_key_id, tenant_key = await self._keyring.current(tx, principal.tenant_id)
        dek = crypto.random_key()
        await tx.execute(
            statements.ADD_VERSION,
            tenant_=principal.tenant_id,
            id_=key_id,
            version_=version,
            tenant_key_=tenant_key_id,
            is_text_=new.is_text,
            wrapped_dek_=crypto.seal(
                tenant_key, dek_id(tenant_key_id), dek, _place(principal, key_id, version, "data-key")
            ),
            blob_=crypto.seal(dek, dek_id(key_id), new.value, _place(principal, key_id, version, "value")),
            now_=now,
        )
        await tx.execute(
            statements.DESTROY_UP_TO,
            tenant_=principal.tenant_id,
            id_=key_id,
            version_=version - VERSIONS_KEPT,
            now_=now,
        )

    async def _open(self, tx: Transaction, principal: Principal, namespace: str, name: str) -> OpenedKey | None:
        row = await tx.one(statements.OPEN, **_named(principal, namespace, name), now_=now_us())
        if row is None:
            return None
        tenant_key_id, is_text, wrapped_dek, blob = row[9:13]
        if wrapped_dek is None or blob is None:
            raise VaultDamaged("The current version of a key was destroyed.")
        key_id, version = row[0], row[3]
        tenant_key = await self._keyring.get(tx, principal.tenant_id, tenant_key_id)
        dek = crypto.unseal(tenant_key, wrapped_dek, _place(principal, key_id, version, "data-key"))
        value = crypto.unseal(dek, blob, _place(principal, key_id, version, "value"))
        return OpenedKey(await _record(tx, principal, row[:9]), value, bool(is_text))


def _owned(principal: Principal) -> dict[str, str]:
    return {"tenant_": principal.tenant_id, "owner_": principal.account_id}


def _named(principal: Principal, namespace: str, name: str) -> dict[str, str]:
    return {**_owned(principal), "namespace_": namespace, "name_": name}


def _place(principal: Principal, key_id: str, version: int, purpose: str) -> crypto.Place:
    return crypto.Place(
        tenant=principal.tenant_id, owner=principal.account_id, object_id=key_id, version=version, purpose=purpose
    )


def _gone(row: Row, now: int) -> bool:
    expires_at, deleted_at = row[8], row[9]
    return deleted_at is not None or (expires_at is not None and expires_at <= now)


async def _record(tx: Transaction, principal: Principal, row: Row) -> KeyRecord:
    found = await tx.all(statements.TAGS, tenant_=principal.tenant_id, id_=row[0])
    return as_record(row, {tag[0]: tag[1] for tag in found})


async def _set_tags(tx: Transaction, principal: Principal, key_id: str, tags: dict[str, str]) -> None:
    for tag, value in tags.items():
        await tx.execute(statements.ADD_TAG, tenant_=principal.tenant_id, id_=key_id, tag_=tag, value_=value)


def _not_found(name: str) -> KeyNotFound:
    return KeyNotFound(f"You have no key {name!r}.")


def _check_precondition(precondition: Precondition, rev: int | None) -> None:
    if precondition.present is False and rev is not None:
        raise KeyExists("There is a key of this name already.", details={"rev": rev})
    missing = rev is None and (precondition.present is True or precondition.revisions is not None)
    if missing or (precondition.revisions is not None and rev not in precondition.revisions):
        raise RevisionConflict("The key is not at the revision that If-Match names.", details={"rev": rev})
