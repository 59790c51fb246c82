"""What processes keep warm is at most two seconds stale.

Every change that takes something away (a revoked token) adds one to a counter in its own transaction. Each process
looks at the counter once a second and forgets what it keeps warm when the counter has moved. What any change may make
stale is bound to a sign that every change moves, looked at in the same transaction.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from sqlalchemy import bindparam, select, update

from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction, change_counter
from mesh_server.db.scope import ServerWork
from mesh_server.errors import MeshError
from mesh_server.telemetry import logger

INTERVAL_S = 1.0

_BUMP = (
    update(change_counter).where(change_counter.c.id == bindparam("id_")).values(changes=change_counter.c.changes + 1)
)
_READ = select(change_counter.c.changes)

_log = logger("mesh.changes")


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
        self._sign: Callable[[Transaction], Awaitable[object]] | None = None
        self._still: Callable[[float], None] | None = None
        self._moved: Callable[[], None] | None = None
        self._signed: object = None
        self._task: asyncio.Task[None] | None = None

    def on_change(self, forget: Callable[[], None]) -> None:
        """Register a function that drops what a capability keeps warm."""
        self._listeners.append(forget)

    def on_sign(
        self,
        sign: Callable[[Transaction], Awaitable[object]],
        *,
        moved: Callable[[], None],
        still: Callable[[float], None],
    ) -> None:
        """Register what is bound to a sign of any change.

        Args:
            sign: reads it; equal as long as nothing was changed.
            moved: drops what is kept warm; called when the sign is another one, or can't be read.
            still: called when it is the same, with the moment before it was read, in seconds by the monotonic clock.
        """
        self._sign, self._moved, self._still = sign, moved, still

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
        """Look at the counter and the sign once."""
        asked_at = time.monotonic()
        seen: int | None = None
        signed: object = None
        try:
            seen, signed = await self._database.read(self._read, ServerWork.CHANGES)
        except MeshError as problem:
            _log.warning("the change counter can't be read", code=problem.code)
        if seen is None or seen != self._seen:
            for forget in self._listeners:
                forget()
        if self._moved is not None and (signed is None or signed != self._signed):
            self._moved()
        elif self._still is not None:
            self._still(asked_at)
        self._seen, self._signed = seen, signed

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.poll()

    async def _read(self, tx: Transaction) -> tuple[int, object]:
        row = await tx.one(_READ)
        return int(row[0]) if row else 0, await self._sign(tx) if self._sign is not None else None
