"""The enrolled records: every statement is bound to a tenant and an owner."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from secrets import compare_digest
from typing import Any

from sqlalchemy import bindparam, insert, null, select, update

from mesh_protocol.opaque import Record
from mesh_server.accounts.models import Account, Principal
from mesh_server.audit.chain import KeyedHash, fields
from mesh_server.db.schema import Row, Transaction
from mesh_server.errors import VaultDamaged
from mesh_server.proofs.challenges import PendingEnrollment
from mesh_server.proofs.models import EnrolledRecord, zk_enrollments, zk_records

#: The version of what is not enrolled, and of a first enrolment.
FIRST_VERSION = 1

_OWN = (zk_records.c.tenant_id == bindparam("tenant_")) & (zk_records.c.owner_id == bindparam("owner_"))
_ONE = _OWN & (zk_records.c.id == bindparam("id_"))
#: What is proven of a record, in this order.
PROVEN = (
    *("tenant_id", "id", "owner_id", "namespace", "name", "version", "root_id", "ksf", "record"),
    *("created_at", "removed_at"),
)
_ROW = tuple(zk_records.c[name] for name in PROVEN)
_FIND = select(*_ROW, zk_records.c.mac).where(_ONE)
_CONTENT: dict[str, Any] = {
    "version": bindparam("version_"),
    "root_id": bindparam("root_"),
    "ksf": bindparam("ksf_"),
    "record": bindparam("record_"),
    "created_at": bindparam("now_"),
    "mac": bindparam("mac_"),
}
_ADD = insert(zk_records).values(
    tenant_id=bindparam("tenant_"),
    id=bindparam("id_"),
    owner_id=bindparam("owner_"),
    namespace=bindparam("namespace_"),
    name=bindparam("name_"),
    **_CONTENT,
)
_REPLACE = (
    update(zk_records).where(_ONE, zk_records.c.version == bindparam("before_")).values(**_CONTENT, removed_at=null())
)
_NAMED = _OWN & (zk_records.c.namespace == bindparam("namespace_")) & (zk_records.c.name == bindparam("name_"))
_LIVE = zk_records.c.record.is_not(None)
_FIND_NAMED = select(*_ROW, zk_records.c.mac).where(_NAMED, _LIVE)
_REMOVE = (
    update(zk_records)
    .where(_NAMED, _LIVE)
    .values(root_id=null(), ksf=null(), record=null(), removed_at=bindparam("now_"), mac=bindparam("mac_"))
)
_PENDING = (
    select(zk_enrollments.c.id)
    .where(
        zk_enrollments.c.tenant_id == bindparam("tenant_"),
        zk_enrollments.c.owner_id == bindparam("owner_"),
        zk_enrollments.c.namespace == bindparam("namespace_"),
        zk_enrollments.c.name == bindparam("name_"),
    )
    .exists()
)
#: Whether a name is enrolled, and whether an enrolment of it is under way.
_KNOWN = select(select(zk_records.c.id).where(_NAMED, _LIVE).exists(), _PENDING)
_NAMES = select(zk_records.c.name).where(_OWN, zk_records.c.namespace == bindparam("namespace_"), _LIVE)
_BETWEEN = _NAMES.where(zk_records.c.name >= bindparam("first_"), zk_records.c.name <= bindparam("last_"))
_PAGE = (
    select(zk_records.c.name, zk_records.c.namespace, zk_records.c.version, zk_records.c.created_at)
    .where(
        _OWN,
        zk_records.c.namespace == bindparam("namespace_"),
        _LIVE,
        zk_records.c.name > bindparam("after_"),
    )
    .order_by(zk_records.c.name)
    .limit(bindparam("limit_"))
)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A row. `repr` shows nothing of the record.

    Attributes:
        version: of the record, or of the last one where it was removed.
        root_id, ksf, record: None where it was removed.
    """

    version: int
    root_id: str | None
    ksf: bytes | None
    record: Record | None = field(repr=False)
    name: str


class Records:
    """Records, each with a `mac` which proves that this server wrote it.

    Args:
        keyed_hash: of 32 bytes, under a key of this purpose alone.
    """

    def __init__(self, keyed_hash: KeyedHash) -> None:
        self._hash = keyed_hash

    def mac(self, row: Sequence[Any]) -> bytes:
        """Return the mac of a record's row, given as `PROVEN`."""
        return self._hash(fields("MESH-ROW-V01/zk_records", *row))

    async def find(self, tx: Transaction, principal: Principal, record_id: str) -> StoredRecord | None:
        """Return a record of the caller's, live or removed.

        Raises:
            VaultDamaged: if another program has changed it.
        """
        row = await tx.one(_FIND, tenant_=principal.tenant_id, owner_=principal.account_id, id_=record_id)
        if row is None:
            self.mac(())  # the work is the same where there is none
            return None
        name, version, root_id, ksf, record = self._proven(row)[4:9]
        return StoredRecord(version, root_id, ksf, None if record is None else Record.split(record), name)

    async def put(self, tx: Transaction, pending: PendingEnrollment, ksf: bytes, record: bytes, now: int) -> bool:
        """Insert or replace a record under the version that its enrolment was for; False if another came first."""
        own = {"tenant_": pending.tenant_id, "owner_": pending.owner_id, "id_": pending.record_id}
        place = (pending.tenant_id, pending.record_id, pending.owner_id, pending.namespace, pending.name)
        mac = self.mac((*place, pending.version, pending.root_id, ksf, record, now, None))
        content = {
            "version_": pending.version,
            "root_": pending.root_id,
            "ksf_": ksf,
            "record_": record,
            "now_": now,
            "mac_": mac,
        }
        row = await tx.one(_FIND, **own)
        if row is None:
            if pending.version != FIRST_VERSION:
                return False
            await tx.execute(_ADD, **own, **content, namespace_=pending.namespace, name_=pending.name)
            return True
        return await tx.execute(_REPLACE, **own, **content, before_=pending.version - 1) == 1

    async def remove(self, tx: Transaction, holder: Account | Principal, namespace: str, name: str, now: int) -> bool:
        """Remove a record and leave its version behind; return whether there was one."""
        own = named(holder, namespace, name)
        row = await tx.one(_FIND_NAMED, **own)
        if row is None:
            return False
        place = self._proven(row)
        mac = self.mac((*place[:6], None, None, None, place[9], now))
        return await tx.execute(_REMOVE, **own, now_=now, mac_=mac) > 0

    def _proven(self, row: Row) -> Sequence[Any]:
        *proven, mac = row
        if mac is None or not compare_digest(mac, self.mac(proven)):
            raise VaultDamaged("An enrolled record was changed by another program than this server.")
        return proven


async def known(tx: Transaction, holder: Account | Principal, namespace: str, name: str) -> tuple[bool, bool]:
    """Return whether there is a record of a name, and whether an enrolment of it is under way: most have neither."""
    row = await tx.one(_KNOWN, **named(holder, namespace, name))
    return (bool(row[0]), bool(row[1])) if row is not None else (False, False)


async def names_between(
    tx: Transaction, holder: Account | Principal, namespace: str, first: str, last: str
) -> set[str]:
    """Return which names in a range are enrolled."""
    own = {"tenant_": holder.tenant_id, "owner_": holder.account_id, "namespace_": namespace}
    return {row[0] for row in await tx.all(_BETWEEN, **own, first_=first, last_=last)}


async def page(tx: Transaction, principal: Principal, namespace: str, after: str, limit: int) -> list[EnrolledRecord]:
    """Return live records by name, after one name."""
    own = {"tenant_": principal.tenant_id, "owner_": principal.account_id, "namespace_": namespace}
    return [_as_record(row) for row in await tx.all(_PAGE, **own, after_=after, limit_=limit)]


def _as_record(row: Row) -> EnrolledRecord:
    return EnrolledRecord(name=row[0], namespace=row[1], version=row[2], created_at=row[3])


def named(holder: Account | Principal, namespace: str, name: str) -> dict[str, str]:
    """Return the parameters that find what a holder calls by a name."""
    return {
        "tenant_": holder.tenant_id,
        "owner_": holder.account_id,
        "namespace_": namespace,
        "name_": name,
    }
