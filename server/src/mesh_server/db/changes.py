"""What processes keep warm is at most two seconds stale.

Every change that takes something away (a revoked token) adds one to a counter in its own transaction. Each process
looks at the counter once a second and forgets what it keeps warm when the counter has moved.
"""

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from sqlalchemy import bindparam, select, update

from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction, change_counter
from mesh_server.db.scope import ServerWork
from mesh_server.errors import MeshError

INTERVAL_S = 1.0

_BUMP = (
    update(change_counter).where(change_counter.c.id == bindparam("id_")).values(changes=change_counter.c.changes + 1)
)
_READ = select(change_counter.c.changes)

_log = structlog.get_logger("mesh.changes")


async def bump(tx: Transaction) -> None:
    """Tell every process that something was taken away; part of the transaction that does it."""
    await tx.execute(_BUMP, id_=1)


class Changes:
    """Polls the counter and calls whoever keeps something warm.

    While the counter can't be read nothing is known to be fresh, so everything is forgotten then, too.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: list[Callable[[], None]] = []
        self._seen: int | None = None
        self._task: asyncio.Task[None] | None = None

    def on_change(self, forget: Callable[[], None]) -> None:
        """Register a function that drops what a capability keeps warm."""
        self._listeners.append(forget)

    async def start(self) -> None:
        """Begin to poll."""
        await self.poll()
        self._task = asyncio.create_task(self._forever())

    async def stop(self) -> None:
        """Stop polling."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def poll(self) -> None:
        """Look at the counter once."""
        try:
            seen = await self._database.read(_read, ServerWork.CHANGES)
        except MeshError as problem:
            _log.warning("the change counter can't be read", code=problem.code)
            seen = None
        if seen is None or seen != self._seen:
            for forget in self._listeners:
                forget()
        self._seen = seen

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.poll()


async def _read(tx: Transaction) -> int:
    row = await tx.one(_READ)
    return int(row[0]) if row else 0
