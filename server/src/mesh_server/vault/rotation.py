"""Rotation of the master key: every tenant's key is wrapped again under the current one, in small steps.

A rotation is under way while the database knows of a key-encryption key beside the current one. It can be broken off at
any moment and gone on with: each step is a transaction, and what it did is done. Running servers read the keyring file
again within two seconds, or at once where they meet a key that they do not know.
"""

import asyncio

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.sql.expression import delete

from mesh_server.audit.models import SYSTEM, Operator
from mesh_server.audit.service import Audit
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.ids import now_us
from mesh_server.vault import crypto
from mesh_server.vault.keyring import Keyring, tenant_key_place
from mesh_server.vault.models import keks, tenant_keys

#: Tenant keys that one transaction wraps again.
STEP = 100
#: Seconds after which every running server has read the keyring file again.
RELOADED_S = 2.5

_OTHERS = select(keks.c.id).where(keks.c.id != bindparam("current_"))
_LEFT = (
    select(tenant_keys.c.tenant_id, tenant_keys.c.id, tenant_keys.c.wrapped, tenant_keys.c.created_at)
    .where(tenant_keys.c.kek_id != bindparam("current_"))
    .order_by(tenant_keys.c.tenant_id, tenant_keys.c.id)
    .limit(bindparam("limit_"))
    .with_for_update()
)
_COUNT = select(func.count()).select_from(tenant_keys).where(tenant_keys.c.kek_id != bindparam("current_"))
_REWRAP = (
    update(tenant_keys)
    .where(tenant_keys.c.tenant_id == bindparam("tenant_"), tenant_keys.c.id == bindparam("id_"))
    .values(kek_id=bindparam("current_"), wrapped=bindparam("wrapped_"))
)
_RETIRE = delete(keks).where(keks.c.id != bindparam("current_"))


class Rotation:
    """Brings everything under the current master key.

    Args:
        database: where the wrapped keys are.
        keyring: with the current master key and the earlier ones.
        audit: told of the end of a rotation.
    """

    def __init__(self, database: Database, keyring: Keyring, audit: Audit) -> None:
        self._database = database
        self._keyring = keyring
        self._audit = audit

    @property
    def _current(self) -> str:
        return self._keyring.masters.current_id.hex()

    async def under_way(self) -> bool:
        """Return whether the database still knows of another master key than the current one."""

        async def work(tx: Transaction) -> bool:
            return bool(await tx.all(_OTHERS, current_=self._current))

        return await self._database.read(work, ServerWork.MASTER_KEY)

    async def left(self) -> int:
        """Return how many tenant keys are still wrapped under another master key."""

        async def work(tx: Transaction) -> int:
            row = await tx.one(_COUNT, current_=self._current)
            return int(row[0]) if row else 0

        return await self._database.read(work, ServerWork.MASTER_KEY)

    async def run(self) -> int:
        """Wrap everything again and forget the earlier master keys; return how many tenant keys that were.

        Raises:
            VaultDamaged: if one of them does not open; nothing of it is lost by that.
        """
        done = await self._all()
        # A server that has not read the file again yet could still wrap a new tenant's key under the old one.
        await asyncio.sleep(RELOADED_S)
        while step := await self._all():
            done += step
        await self._database.write(self._retire, ServerWork.MASTER_KEY)
        return done

    async def _all(self) -> int:
        done = 0
        while step := await self._database.write(self._step, ServerWork.MASTER_KEY):
            done += step
        return done

    async def _step(self, tx: Transaction) -> int:
        masters = self._keyring.masters
        rows = await tx.all(_LEFT, current_=self._current, limit_=STEP)
        for tenant, name, wrapped, created_at in rows:
            key = self._keyring.unwrap(tenant, name, wrapped, created_at, anew=True)
            place = tenant_key_place(tenant, name, created_at)
            again = crypto.seal(masters.current, masters.current_id, key, place)
            await tx.execute(_REWRAP, tenant_=tenant, id_=name, current_=self._current, wrapped_=again)
        return len(rows)

    async def _retire(self, tx: Transaction) -> None:
        if await tx.all(_LEFT, current_=self._current, limit_=1):
            return  # a new one came in between; the database still knows of the old key, so it can be gone on with
        await tx.execute(_RETIRE, current_=self._current)
        details = {"kek": self._current, "at": now_us()}
        await self._audit.record(tx, Operator(), "master-key.rotated", SYSTEM, details=details)
