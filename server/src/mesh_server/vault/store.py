"""Keys within a transaction: what is found is proven to be as it was written, what is written is sealed and proven."""

from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from mesh_server.accounts.models import Account
from mesh_server.db.schema import Row, Transaction
from mesh_server.errors import VaultDamaged, VersionDestroyed, VersionInUse, VersionNotFound
from mesh_server.ids import now_us, uuid7
from mesh_server.vault import crypto, statements
from mesh_server.vault.keyring import Keyring, dek_id
from mesh_server.vault.models import MOST_VERSIONS, KeyRecord, Limits, NewValue, OpenedKey, VersionRecord
from mesh_server.vault.sealed import ProvenKey, SealedKey, place_of_value
from mesh_server.vault.seals import Seals, check


class StoredKey(msgspec.Struct, frozen=True):
    """A key's row; the order is that of `statements.KEY`. Times in microseconds since 1970."""

    id: str
    owner_id: str
    namespace: str
    name: str
    current_version: int
    rev: int
    note: str | None
    created_at: int
    updated_at: int
    expires_at: int | None
    deleted_at: int | None

    def gone(self, now: int) -> bool:
        """Return whether it is deleted or expired."""
        return self.deleted_at is not None or (self.expires_at is not None and self.expires_at <= now)

    def record(self, tags: dict[str, str]) -> KeyRecord:
        """Return what may be told of it."""
        return KeyRecord(
            id=self.id,
            name=self.name,
            namespace=self.namespace,
            version=self.current_version,
            rev=self.rev,
            tags=tags,
            note=self.note,
            created_at=self.created_at,
            updated_at=self.updated_at,
            expires_at=self.expires_at,
        )


class FoundKey(msgspec.Struct, frozen=True):
    """A key that was found, whether it is live or not.

    Attributes:
        tenant_key_id: the tenant's newest key, which a new value is sealed under.
    """

    key: StoredKey
    tags: dict[str, str]
    tenant_key_id: str | None


COLUMNS = StoredKey.__struct_fields__
_PARAMETERS = tuple(f"{column}_" for column in COLUMNS)
_WIDTH = len(COLUMNS)
_V = len(statements.VERSION)
#: Where a version's columns begin in a row of `statements.OPEN`: behind the key's, its mac, and whether it has tags.
_OPENED = _WIDTH + 2
#: Where a row of `statements.FIND` has the tenant's newest key: in their place.
_FOUND = _WIDTH + 2
#: Rows whose proofs are kept, and the largest sealed value, in bytes, among them.
_MOST_WARM, _LARGEST_WARM = 4_096, 4_096
sealed = attrgetter(*COLUMNS)


class Store:
    """The keys of accounts; who may touch whose was decided before.

    Args:
        keyring: opens the tenants' keys.
        seals: proves rows.
        limits: what the operator chose.
    """

    def __init__(self, keyring: Keyring, seals: Seals, limits: Limits) -> None:
        self._keyring = keyring
        self._seals = seals
        self.limits = limits
        # By all bytes that the proof is about: what was proven of them once stays true. The rows themselves are read
        # from the database each time.
        self._proofs: dict[tuple[Row, tuple[Row, ...], Account], ProvenKey] = {}

    async def find(
        self, tx: Transaction, holder: Account, namespace: str, name: str, *, locked: bool = True
    ) -> FoundKey | None:
        """Return a key, whether it is live or not; locked for a change unless it is only looked at."""
        statement = statements.FIND_LOCKED if locked else statements.FIND
        row = await tx.one(statement, **_named(holder, namespace, name))
        return None if row is None else FoundKey(*await self._proven(tx, holder, row), row[_FOUND])

    async def create(self, tx: Transaction, holder: Account, namespace: str, name: str, new: NewValue) -> KeyRecord:
        """Store the first version of a key."""
        now = now_us()
        stored = StoredKey(
            uuid7(), holder.account_id, namespace, name, 1, 1, new.note or None, now, now, new.expires_at, None
        )
        tags = new.tags or {}
        row = sealed(stored)
        columns = dict(zip(_PARAMETERS, row, strict=True))
        mac = self._seals.key(holder.tenant_id, row, tags)
        await tx.execute(statements.ADD, tenant_id_=holder.tenant_id, **columns, mac_=mac)
        await self._set_tags(tx, holder, stored.id, tags)
        await self._add_version(tx, holder, stored, new)
        return stored.record(tags)

    async def replace(
        self, tx: Transaction, holder: Account, found: FoundKey, new: NewValue, *, live: bool
    ) -> KeyRecord:
        """Store a value as the next version of a key.

        A key that was gone begins anew: what described the old one does not describe the new one.
        """
        stored, tags = found.key, found.tags
        now = now_us()
        note = (stored.note if live else None) if new.note is None else new.note or None
        if new.tags is not None or not live:
            tags = new.tags or {}
            await tx.execute(statements.DROP_TAGS, tenant_=holder.tenant_id, id_=stored.id)
            await self._set_tags(tx, holder, stored.id, tags)
        changed = replace(
            stored,
            current_version=stored.current_version + 1,
            rev=stored.rev + 1,
            note=note,
            created_at=stored.created_at if live else now,
            updated_at=now,
            expires_at=new.expires_at,
            deleted_at=None,
        )
        await self._save(tx, holder, changed, tags)
        await self._add_version(tx, holder, changed, new, found.tenant_key_id)
        return changed.record(tags)

    async def mark(self, tx: Transaction, holder: Account, found: FoundKey, *, deleted_at: int | None) -> KeyRecord:
        """Mark a key as deleted, or as live again."""
        stored, tags = found.key, found.tags
        changed = replace(stored, rev=stored.rev + 1, updated_at=now_us(), deleted_at=deleted_at)
        await self._save(tx, holder, changed, tags)
        return changed.record(tags)

    async def open(
        self, tx: Transaction, holder: Account, namespace: str, name: str, version: int | None = None
    ) -> OpenedKey | None:
        """Return a live key with the value of a version, the current one by default; None where there is no such key.

        Raises:
            VersionNotFound, VersionDestroyed: if it has no such version, or no longer.
            VaultDamaged: if a part of it is not as it was written.
        """
        known = await self._known(tx, holder, namespace, name, version)
        return None if known is None else known.open(holder)

    async def sealed(
        self, tx: Transaction, holder: Account, namespace: str, name: str, version: int | None = None
    ) -> SealedKey | None:
        """Return a live key with what opens the value of a version; as `open`."""
        known = await self._known(tx, holder, namespace, name, version)
        return None if known is None else known.sealed

    def forget(self) -> None:
        """Forget what was proven: something was changed or taken away."""
        self._proofs.clear()

    async def _known(
        self, tx: Transaction, holder: Account, namespace: str, name: str, version: int | None
    ) -> ProvenKey | None:
        named = _named(holder, namespace, name)
        if version is None:
            found = await tx.one(statements.OPEN, **named, now_=now_us())
        else:
            found = await tx.one(statements.OPEN_VERSION, **named, now_=now_us(), version_=version)
        if found is None:
            return None
        row, tags = tuple(found), tuple(map(tuple, await self._tags(tx, holder, found)))
        known = self._proofs.get((row, tags, holder))
        if known is None:
            known = ProvenKey(await self._sealed(tx, holder, row, tags, version))
            if len(known.sealed.blob) <= _LARGEST_WARM:
                if len(self._proofs) >= _MOST_WARM:
                    self._proofs.clear()
                self._proofs[row, tags, holder] = known
        return known

    async def _sealed(
        self, tx: Transaction, holder: Account, row: Row, tags: Sequence[Row], version: int | None
    ) -> SealedKey:
        """Prove every part of a row that `statements.OPEN` found."""
        stored, its_tags = self._prove(holder, row, tags)
        described, (mac, wrapped_dek, blob) = row[_OPENED : _OPENED + _V], row[_OPENED + _V :]
        if described[0] is None:
            if version is not None:
                raise VersionNotFound(f"The key {stored.name!r} has no version {version}.")
            raise VaultDamaged("The current version of a key is missing.")
        check(mac, self._seals.version(holder.tenant_id, stored.id, described), "key's version")
        number, tenant_key_id, is_text, _, destroyed_at = described
        if destroyed_at is not None:
            raise VersionDestroyed(f"The value of version {number} of {stored.name!r} was destroyed.")
        if wrapped_dek is None or blob is None:
            raise VaultDamaged("The value of a version is missing.")
        tenant_key = await self._keyring.get(tx, holder.tenant_id, tenant_key_id)
        return SealedKey(stored.record(its_tags), number, bool(is_text), tenant_key, wrapped_dek, blob)

    async def unseal(
        self,
        tx: Transaction,
        holder: Account,
        key_id: str,
        version: int,
        tenant_key_id: str,
        wrapped_dek: bytes | None,
        blob: bytes | None,
    ) -> bytes:
        """Return the value of a version.

        Raises:
            VaultDamaged: if it is not there, or does not open at this place.
        """
        if wrapped_dek is None or blob is None:
            raise VaultDamaged("The value of a version is missing.")
        tenant_key = await self._keyring.get(tx, holder.tenant_id, tenant_key_id)
        dek = crypto.unseal(tenant_key, wrapped_dek, place_of_value(holder, key_id, version, "data-key"))
        return crypto.unseal(dek, blob, place_of_value(holder, key_id, version, "value"))

    async def versions(self, tx: Transaction, holder: Account, stored: StoredKey) -> list[VersionRecord]:
        """Return the newest versions of a key, newest first: all those whose values are kept are among them."""
        records = []
        own = {"tenant_": holder.tenant_id, "id_": stored.id}
        for *described, mac in await tx.all(statements.VERSIONS, **own, limit_=MOST_VERSIONS):
            check(mac, self._seals.version(holder.tenant_id, stored.id, described), "key's version")
            number, _, is_text, created_at, destroyed_at = described
            records.append(
                VersionRecord(number, bool(is_text), created_at, destroyed_at, number == stored.current_version)
            )
        return records

    async def destroy(self, tx: Transaction, holder: Account, stored: StoredKey, version: int) -> VersionRecord:
        """Destroy the value of a version; its row stays. Doing it again changes nothing.

        Raises:
            VersionInUse: if it is the current one.
            VersionNotFound: if there is none.
        """
        if version == stored.current_version:
            raise VersionInUse(f"Version {version} of {stored.name!r} is the current one.")
        row = await tx.one(statements.ONE_VERSION, tenant_=holder.tenant_id, id_=stored.id, version_=version)
        if row is None:
            raise VersionNotFound(f"The key {stored.name!r} has no version {version}.")
        destroyed_at = row[4]
        if destroyed_at is None:
            destroyed_at = await self._destroy(tx, holder, stored.id, row)
        return VersionRecord(version, bool(row[2]), row[3], destroyed_at, is_current=False)

    async def purge(self, tx: Transaction, before: int, limit: int) -> list[tuple[str, StoredKey]]:
        """Remove for good some keys that were deleted before a moment; return them with their tenants.

        A row that another program changed is left alone: it would be removed, and `verify` could name nothing.
        """
        removed = []
        for tenant_id, *row in await tx.all(statements.EXPIRED_DELETIONS, before_=before, limit_=limit):
            try:
                stored, _ = await self._proven(tx, Account(tenant_id, row[1]), row)
            except VaultDamaged:
                continue
            for statement in statements.PURGE:
                await tx.execute(statement, tenant_=tenant_id, id_=stored.id)
            removed.append((tenant_id, stored))
        return removed

    # --- pieces ---

    async def _proven(self, tx: Transaction, holder: Account, row: Row) -> tuple[StoredKey, dict[str, str]]:
        return self._prove(holder, row, await self._tags(tx, holder, row))

    async def _tags(self, tx: Transaction, holder: Account, row: Row) -> Sequence[Row]:
        if not row[_WIDTH + 1]:
            return ()
        return await tx.all(statements.TAGS, tenant_=holder.tenant_id, id_=row[0])

    def _prove(self, holder: Account, row: Row, found: Sequence[Row]) -> tuple[StoredKey, dict[str, str]]:
        tags = {tag: value for tag, value in found}  # noqa: C416 - rows are sequences, not pairs
        check(row[_WIDTH], self._seals.key(holder.tenant_id, row[:_WIDTH], tags), "key")
        return StoredKey(*row[:_WIDTH]), tags

    async def _save(self, tx: Transaction, holder: Account, stored: StoredKey, tags: Mapping[str, str]) -> None:
        row = sealed(stored)
        columns = dict(zip(_PARAMETERS, row, strict=True))
        mac = self._seals.key(holder.tenant_id, row, tags)
        await tx.execute(statements.CHANGE, tenant_id_=holder.tenant_id, **columns, mac_=mac)

    async def _add_version(
        self,
        tx: Transaction,
        holder: Account,
        stored: StoredKey,
        new: NewValue,
        newest_tenant_key: str | None = None,
    ) -> None:
        version, key_id = stored.current_version, stored.id
        tenant_key_id, tenant_key = await self._keyring.current(tx, holder.tenant_id, newest_tenant_key)
        dek = crypto.random_key()
        row = (version, tenant_key_id, new.is_text, stored.updated_at, None)
        await tx.execute(
            statements.ADD_VERSION,
            tenant_id_=holder.tenant_id,
            key_id_=key_id,
            version_=version,
            tenant_key_id_=tenant_key_id,
            is_text_=new.is_text,
            wrapped_dek_=crypto.seal(
                tenant_key, dek_id(tenant_key_id), dek, place_of_value(holder, key_id, version, "data-key")
            ),
            blob_=crypto.seal(dek, dek_id(key_id), new.value, place_of_value(holder, key_id, version, "value")),
            created_at_=stored.updated_at,
            destroyed_at_=None,
            mac_=self._seals.version(holder.tenant_id, key_id, row),
        )
        oldest = version - self.limits.versions_kept
        if oldest > 0:
            for old in await tx.all(statements.UP_TO, tenant_=holder.tenant_id, id_=key_id, version_=oldest):
                await self._destroy(tx, holder, key_id, old)

    async def _destroy(self, tx: Transaction, holder: Account, key_id: str, row: Row) -> int:
        *described, mac = row
        check(mac, self._seals.version(holder.tenant_id, key_id, described), "key's version")
        now = now_us()
        await tx.execute(
            statements.DESTROY,
            tenant_=holder.tenant_id,
            id_=key_id,
            version_=described[0],
            now_=now,
            mac_=self._seals.version(holder.tenant_id, key_id, [*described[:4], now]),
        )
        return now

    async def _set_tags(self, tx: Transaction, holder: Account, key_id: str, tags: Mapping[str, str]) -> None:
        for tag, value in tags.items():
            await tx.execute(statements.ADD_TAG, tenant_=holder.tenant_id, id_=key_id, tag_=tag, value_=value)


def with_tags(rows: list[Row]) -> list[KeyRecord]:
    """Return one record for each key of a page, from a row for each of its tags."""
    records: list[KeyRecord] = []
    for row in rows:
        if not records or records[-1].id != row[0]:
            records.append(StoredKey(*row[:_WIDTH]).record({}))
        if row[_WIDTH] is not None:
            records[-1].tags[row[_WIDTH]] = row[_WIDTH + 1]
    return records


def marked(records: list[KeyRecord], provable: Collection[str]) -> list[KeyRecord]:
    """Return the records with `provable` set for those names."""
    return [replace(record, provable=True) if record.name in provable else record for record in records]


def _named(holder: Account, namespace: str, name: str) -> dict[str, str]:
    return {"tenant_": holder.tenant_id, "owner_": holder.account_id, "namespace_": namespace, "name_": name}
