"""From the master key down to the tenants' keys: what is in the database only wrapped.

    master key (KEK)  →  tenant key, one a tenant  →  DEK, one a version of a key  →  the value

A boot canary, a known text sealed under each KEK, tells a wrong master key before anything is served.
"""

import hashlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Self

from sqlalchemy import bindparam, insert, select

from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import ServerWork, Tenant
from mesh_server.errors import StartupError, VaultDamaged
from mesh_server.ids import now_us
from mesh_server.vault import crypto
from mesh_server.vault.models import keks, tenant_keys

#: Owns what belongs to the server itself. No tenant can have this name: a tenant's has at least one letter.
SYSTEM = "-"
#: Tenant keys that are kept in memory, 32 bytes each.
_MOST_WARM = 10_000

_CANARY = b"This is the right master key."

_KEKS = select(keks.c.id, keks.c.canary)
_ADD_KEK = insert(keks).values(id=bindparam("id_"), canary=bindparam("canary_"), created_at=bindparam("now_"))
_NEWEST = (
    select(tenant_keys.c.id, tenant_keys.c.wrapped)
    .where(tenant_keys.c.tenant_id == bindparam("tenant_"))
    .order_by(tenant_keys.c.id.desc())
    .limit(1)
)
_BY_ID = select(tenant_keys.c.wrapped).where(
    tenant_keys.c.tenant_id == bindparam("tenant_"), tenant_keys.c.id == bindparam("id_")
)
_ADD = insert(tenant_keys).values(
    tenant_id=bindparam("tenant_"),
    id=bindparam("id_"),
    kek_id=bindparam("kek_id_"),
    wrapped=bindparam("wrapped_"),
    created_at=bindparam("now_"),
)


class Keyring:
    """Opens what the master key wraps.

    `check` comes first: it proves the master key and makes what a new database lacks.
    """

    def __init__(self, masters: crypto.MasterKeys) -> None:
        self._masters = masters
        self._warm: dict[str, bytes] = {}  # tenant key id → tenant key
        self._root = b""

    @classmethod
    def load(cls, master_key: str | None, path: Path) -> Self:
        """Read the master key from the environment's text or else the file.

        Raises:
            StartupError: one sentence that names the master key.
        """
        return cls(crypto.load_master_keys(master_key, path))

    async def check(self, database: Database) -> None:
        """Open the boot canary, or seal the first one in a new database.

        Raises:
            StartupError: if the database was made under another master key.
        """
        await database.write(self._check_canaries, ServerWork.MASTER_KEY)

        async def system_key(tx: Transaction) -> bytes:
            return (await self.current(tx, SYSTEM))[1]

        self._root = await database.write(system_key, Tenant(SYSTEM))

    def subkey(self, purpose: str) -> bytes:
        """Return a key of the server's own for one purpose: the same for as long as the database lives."""
        if not self._root:
            raise RuntimeError("the keyring was not checked against a database yet")
        return crypto.derive(self._root, purpose)

    def hasher(self, purpose: str) -> Callable[[bytes], bytes]:
        """Return a keyed hash: whoever can write to the database, but lacks the master key, can't make one."""
        key = self.subkey(purpose)
        return lambda data: crypto.mac(key, data)

    async def current(self, tx: Transaction, tenant: str) -> tuple[str, bytes]:
        """Return id and bytes of the tenant's newest key, making the first one; needs a writing transaction."""
        row = await tx.one(_NEWEST, tenant_=tenant)
        if row is not None:
            return row[0], self._unwrap(tenant, row[0], row[1])
        name, key = _first_id(tenant), crypto.random_key()
        wrapped = crypto.seal(self._masters.current, self._masters.current_id, key, _place(tenant, name))
        await tx.execute(
            _ADD, tenant_=tenant, id_=name, kek_id_=self._masters.current_id.hex(), wrapped_=wrapped, now_=now_us()
        )
        # Not kept warm here: the transaction may still be undone.
        return name, key

    async def get(self, tx: Transaction, tenant: str, name: str) -> bytes:
        """Return one of the tenant's keys by its id.

        Raises:
            VaultDamaged: if it is missing or does not open.
        """
        warm = self._warm.get(name)
        if warm is not None:
            return warm
        row = await tx.one(_BY_ID, tenant_=tenant, id_=name)
        if row is None:
            raise VaultDamaged("The key of a tenant is missing.")
        return self._unwrap(tenant, name, row[0])

    def _unwrap(self, tenant: str, name: str, wrapped: bytes) -> bytes:
        warm = self._warm.get(name)
        if warm is not None:
            return warm
        master = self._masters.get(crypto.key_id_of(wrapped))
        if master is None:
            raise VaultDamaged("The key of a tenant is wrapped under a master key that this server was not given.")
        key = crypto.unseal(master, wrapped, _place(tenant, name))
        if len(self._warm) >= _MOST_WARM:
            self._warm.clear()
        self._warm[name] = key
        return key

    async def _check_canaries(self, tx: Transaction) -> None:
        known: dict[str, bytes] = {row[0]: row[1] for row in await tx.all(_KEKS)}
        ours = {name.hex(): name for name in self._masters.ids}
        if known and not ours.keys() & known.keys():
            raise StartupError(
                "This is not the master key that the database was made with: "
                "put the right one back (MESH_MASTER_KEY or the master key's file)."
            )
        for text, name in ours.items():
            master = self._masters.get(name)
            if text in known and master is not None:
                _open_canary(master, text, known[text])
        current = self._masters.current_id
        if current.hex() not in known:
            canary = crypto.seal(self._masters.current, current, _CANARY, _canary_place(current.hex()))
            await tx.execute(_ADD_KEK, id_=current.hex(), canary_=canary, now_=now_us())


def _open_canary(master: bytes, name: str, canary: bytes) -> None:
    try:
        opened = crypto.unseal(master, canary, _canary_place(name))
    except VaultDamaged:
        opened = b""
    if not crypto.equal(opened, _CANARY):
        raise StartupError("The database's proof of the master key is damaged: put a whole copy of the database back.")


def dek_id(key_id: str) -> bytes:
    """Return the 16 bytes that name the data keys of a stored key: its UUID."""
    return uuid.UUID(key_id).bytes


def _first_id(tenant: str) -> str:
    """Return the id of a tenant's first key: always the same, so that of two processes that make it one is refused.

    A UUIDv7 of the year 1970, older than every key that follows.
    """
    number = int.from_bytes(hashlib.sha256(tenant.encode()).digest()[:10], "big")
    number = number & ~(0xF << 76) | (0x7 << 76)  # version 7
    number = number & ~(0x3 << 62) | (0x2 << 62)  # variant 10
    return str(uuid.UUID(int=number))


def _place(tenant: str, name: str) -> crypto.Place:
    return crypto.Place(tenant=tenant, owner="", object_id=name, version=0, purpose="tenant-key")


def _canary_place(name: str) -> crypto.Place:
    return crypto.Place(tenant=SYSTEM, owner="", object_id=name, version=0, purpose="canary")
