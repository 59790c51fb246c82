"""From the master key down to the tenants' keys: what is in the database only wrapped.

    master key (KEK)  →  tenant key, one a tenant  →  DEK, one a version of a key  →  the value

A boot canary, a known text sealed under each KEK, tells a wrong master key before anything is served.
"""

import asyncio
import hashlib
import os
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
from mesh_server.telemetry import logger
from mesh_server.vault import crypto
from mesh_server.vault.master import MasterKeySource
from mesh_server.vault.models import keks, passphrase_parameters, tenant_keys

#: Owns what belongs to the server itself. No tenant can have this name: a tenant's has at least one letter.
SYSTEM = "-"
#: Tenant keys that are kept in memory, 32 bytes each.
_MOST_WARM = 10_000

_CANARY = b"This is the right master key."

_log = logger("mesh.master-key")

_KEKS = select(keks.c.id, keks.c.canary, keks.c.created_at)
_STRETCHING = select(
    passphrase_parameters.c.salt,
    passphrase_parameters.c.memory_kib,
    passphrase_parameters.c.iterations,
    passphrase_parameters.c.lanes,
).where(passphrase_parameters.c.id == bindparam("id_"))
_ADD_STRETCHING = insert(passphrase_parameters).values(
    {column.name: bindparam(f"{column.name}_") for column in passphrase_parameters.c}
)
_ADD_KEK = insert(keks).values(id=bindparam("id_"), canary=bindparam("canary_"), created_at=bindparam("now_"))
_NEWEST = (
    select(tenant_keys.c.id, tenant_keys.c.wrapped, tenant_keys.c.created_at)
    .where(tenant_keys.c.tenant_id == bindparam("tenant_"))
    .order_by(tenant_keys.c.id.desc())
    .limit(1)
)
_BY_ID = select(tenant_keys.c.wrapped, tenant_keys.c.created_at).where(
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

    def __init__(self, source: MasterKeySource) -> None:
        self._source = source
        self._state = source.state()
        self._given = source.read()
        self._warm: dict[str, bytes] = {}  # tenant key id → tenant key
        self._root = b""

    @classmethod
    def load(cls, master_key: str | None, path: Path) -> Self:
        """Read the master key from the environment's text or else the file.

        Raises:
            StartupError: one sentence that names the master key.
        """
        return cls(MasterKeySource(file=path, text=master_key))

    @property
    def masters(self) -> crypto.MasterKeys:
        """The master keys, the current one first."""
        if self._given is None:
            raise RuntimeError("the passphrase was not stretched against a database yet")
        return self._given

    def lend(self, earlier: crypto.MasterKeys) -> None:
        """Take earlier master keys from elsewhere, to open what they wrap."""
        self._given = crypto.MasterKeys([*self.masters.keys, *earlier.keys])

    def refresh(self) -> None:
        """Read the keyring file again where it was replaced; keep what is known where it can't be read."""
        state = self._source.state()
        if state is None or state == self._state:
            return
        try:
            self._given = self._source.read()
        except StartupError as problem:
            _log.warning(
                "the master key's file was changed and can't be used; the keys known so far stay in use",
                reason=problem.message,
            )
        self._state = state

    async def check(self, database: Database) -> None:
        """Open the boot canary, or seal the first one in a new database.

        Raises:
            StartupError: if the database was made under another master key.
        """
        if self._given is None:
            how = await database.write(_stretching, ServerWork.MASTER_KEY)
            self._given = await asyncio.to_thread(self._source.stretched, how)
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

    async def current(self, tx: Transaction, tenant: str, newest: str | None = None) -> tuple[str, bytes]:
        """Return id and bytes of the tenant's newest key, making the first one; needs a writing transaction.

        Args:
            tx: that transaction.
            tenant: whose.
            newest: its id, where the transaction has found it already.
        """
        if newest is not None and (warm := self._warm.get(newest)) is not None:
            return newest, warm
        row = await tx.one(_NEWEST, tenant_=tenant)
        if row is not None:
            return row[0], self.unwrap(tenant, row[0], row[1], row[2])
        name, key, now, masters = _first_id(tenant), crypto.random_key(), now_us(), self.masters
        wrapped = crypto.seal(masters.current, masters.current_id, key, tenant_key_place(tenant, name, now))
        await tx.execute(_ADD, tenant_=tenant, id_=name, kek_id_=masters.current_id.hex(), wrapped_=wrapped, now_=now)
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
        return self.unwrap(tenant, name, row[0], row[1])

    def unwrap(self, tenant: str, name: str, wrapped: bytes, created_at: int, *, anew: bool = False) -> bytes:
        """Return a tenant's key from its row.

        Args:
            tenant: whose.
            name: its id.
            wrapped: as stored.
            created_at: as stored; the blob is bound to it.
            anew: open it, even where it is known.

        Raises:
            VaultDamaged: if it does not open.
        """
        warm = self._warm.get(name)
        if warm is not None and not anew:
            return warm
        master = self.masters.get(crypto.key_id_of(wrapped))
        if master is None:
            self.refresh()  # a rotation that this process has not seen yet
            master = self.masters.get(crypto.key_id_of(wrapped))
        if master is None:
            raise VaultDamaged("The key of a tenant is wrapped under a master key that this server was not given.")
        key = crypto.unseal(master, wrapped, tenant_key_place(tenant, name, created_at))
        if len(self._warm) >= _MOST_WARM:
            self._warm.clear()
        self._warm[name] = key
        return key

    async def _check_canaries(self, tx: Transaction) -> None:
        known = {row[0]: (row[1], row[2]) for row in await tx.all(_KEKS)}
        masters = self.masters
        ours = {name.hex(): name for name in masters.ids}
        if known and not ours.keys() & known.keys():
            raise StartupError(
                "This is not the master key that the database was made with: "
                "put the right one back (MESH_MASTER_KEY or the master key's file)."
            )
        for text, name in ours.items():
            master = masters.get(name)
            if text in known and master is not None and not opens_canary(master, text, *known[text]):
                raise StartupError(
                    "The database's proof of the master key is damaged: put a whole copy of the database back."
                )
        current = masters.current_id
        if current.hex() not in known:
            now = now_us()
            canary = crypto.seal(masters.current, current, _CANARY, _canary_place(current.hex(), now))
            await tx.execute(_ADD_KEK, id_=current.hex(), canary_=canary, now_=now)


def opens_canary(master: bytes, name: str, canary: bytes, created_at: int) -> bool:
    """Return whether a master key opens the canary that is stored under its name."""
    try:
        return crypto.equal(crypto.unseal(master, canary, _canary_place(name, created_at)), _CANARY)
    except (VaultDamaged, OverflowError, TypeError):
        return False


async def _stretching(tx: Transaction) -> crypto.Stretching:
    row = await tx.one(_STRETCHING, id_=1)
    if row is not None:
        return crypto.Stretching(*row)
    how = crypto.Stretching(os.urandom(16))
    await tx.execute(
        _ADD_STRETCHING,
        id_=1,
        salt_=how.salt,
        memory_kib_=how.memory_kib,
        iterations_=how.iterations,
        lanes_=how.lanes,
    )
    return how


def dek_id(key_id: str) -> bytes:
    """Return the 16 bytes that name the data keys of a stored key: its UUID."""
    return bytes.fromhex(key_id.replace("-", ""))


def _first_id(tenant: str) -> str:
    """Return the id of a tenant's first key: always the same, so that of two processes that make it one is refused.

    A UUIDv7 of the year 1970, older than every key that follows.
    """
    number = int.from_bytes(hashlib.sha256(tenant.encode()).digest()[:10], "big")
    number = number & ~(0xF << 76) | (0x7 << 76)  # version 7
    number = number & ~(0x3 << 62) | (0x2 << 62)  # variant 10
    return str(uuid.UUID(int=number))


def tenant_key_place(tenant: str, name: str, created_at: int) -> crypto.Place:
    """Return where a wrapped tenant key belongs; the rest of its row is bound to it."""
    return crypto.Place(tenant=tenant, owner="", object_id=name, version=created_at, purpose="tenant-key")


def _canary_place(name: str, created_at: int) -> crypto.Place:
    return crypto.Place(tenant=SYSTEM, owner="", object_id=name, version=created_at, purpose="canary")
