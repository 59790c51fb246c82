"""Writes usage: calls settle into a queue, and one transaction at a time writes all that waits in it.

Nothing that was settled is lost or written twice: a batch is one transaction, its first event's id tells whether it was
committed, and it is tried until it was. What a crash can lose is what nobody waits for: calls without a hard budget and
without an `Idempotency-Key` that ended less than LINGER_S and one commit ago.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from operator import attrgetter

from mesh_server.billing import statements as sql
from mesh_server.billing.lease import Lease
from mesh_server.billing.models import UsageEvent, usage_events
from mesh_server.billing.reaper import lost_id
from mesh_server.billing.slices import Slice, period_of, used_of
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.errors import DatabaseUnavailable, MeshError
from mesh_server.telemetry import logger

#: Seconds that an event waits for others where no call waits for it.
LINGER_S = 0.1
#: Events of one transaction.
BATCH = 512
#: Settled calls that wait to be written before new ones have to wait, and the seconds that they do.
QUEUE_LIMIT, ROOM_S = 10_000, 5.0
#: Seconds that a call waits for its settlement to be written.
SETTLE_S = 10.0
#: Seconds between two tries where the database can't be written.
RETRY_S = 0.5

#: More to be written in the transaction of a call's usage.
Also = Callable[[Transaction], Awaitable[None]]

_PARAMETERS = tuple(f"{column.name}_" for column in usage_events.c)
_values = attrgetter(*(column.name for column in usage_events.c))
_log = logger("mesh.billing")


@dataclass(slots=True)
class Settlement:
    """A call that ended.

    Attributes:
        event: its usage.
        spent: what it cost of each slice.
        also: what belongs into the same transaction.
        written: done when it is committed; None where nobody waits.
    """

    event: UsageEvent
    spent: list[tuple[Slice, int]]
    also: Also | None = None
    written: "asyncio.Future[None] | None" = None


class Recorder:
    """The queue and its writer."""

    def __init__(self, database: Database, lease: Lease) -> None:
        self._database = database
        self._lease = lease
        self._queue: deque[Settlement] = deque()
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def waiting(self) -> int:
        """Settled calls that are not written yet."""
        return len(self._queue)

    def start(self) -> None:
        """Begin to write."""
        if self._task is None:
            self._stopping = False
            self._task = asyncio.create_task(self._write_forever())

    async def stop(self) -> None:
        """Write what waits, as long as the database can be written, and end."""
        self._stopping = True
        self._wake.set()
        self._hurry.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=SETTLE_S)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        if self._queue:
            _log.error("usage could not be written", calls=len(self._queue))

    async def room(self) -> None:
        """Wait while too many calls are not written yet.

        Raises:
            DatabaseUnavailable: if that does not end.
        """
        if self._room.is_set():
            return
        try:
            async with asyncio.timeout(ROOM_S):
                await self._room.wait()
        except TimeoutError:
            raise DatabaseUnavailable("Usage can't be written now, so no call is made.", retry_after=2) from None

    def put(self, settlement: Settlement) -> None:
        """Take a call that ended; never waits."""
        self._queue.append(settlement)
        if len(self._queue) >= QUEUE_LIMIT:
            self._room.clear()
        self._wake.set()
        if settlement.written is not None or len(self._queue) >= BATCH:
            self._hurry.set()

    async def _write_forever(self) -> None:
        while True:
            await self._wake.wait()
            if not self._hurry.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_S):
                        await self._hurry.wait()
            self._wake.clear()
            self._hurry.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH))]
                await self._write(batch)
                if len(self._queue) < QUEUE_LIMIT:
                    self._room.set()
            if self._stopping:
                return

    async def _write(self, batch: list[Settlement]) -> None:
        """Write a batch, however long that takes."""
        failed = False
        while True:
            try:
                used = await self._database.write(lambda tx: self._record(tx, batch), ServerWork.BILLING)
            except MeshError as problem:
                if not failed:
                    _log.warning("usage can't be written now", code=problem.code, calls=len(batch))
                failed = True
                await asyncio.sleep(RETRY_S)
                continue
            except Exception as problem:  # noqa: BLE001 - looked at one by one, and told to who waits
                await self._one_by_one(batch, problem)
                return
            break
        if failed:
            _log.info("usage is written again")
        _finish(batch, used)

    async def _one_by_one(self, batch: list[Settlement], problem: Exception) -> None:
        """Find the one that can't be written, a defect, and let the others not suffer from it."""
        if len(batch) == 1:
            event = batch[0].event
            _log.error("a call's usage can't be written", usage=event.id, problem=type(problem).__name__)
            written = batch[0].written
            if written is not None and not written.done():
                written.set_exception(problem)
            return
        for settlement in batch:
            await self._write([settlement])

    async def _record(self, tx: Transaction, batch: list[Settlement]) -> dict[int, int]:
        """Write a batch in a transaction; return what is used of each slice's period by now, by the slice's id."""
        first = batch[0].event
        if await tx.one(sql.HAS_EVENT, tenant_=first.tenant_id, id_=first.id) is not None:
            return {}  # its commit happened, though its answer was lost
        await tx.many(sql.ADD_EVENT, [_row(settlement.event) for settlement in batch])
        spent: dict[int, int] = {}
        slices: dict[int, Slice] = {}
        for settlement in batch:
            for slice_, amount in settlement.spent:
                slices[id(slice_)] = slice_
                spent[id(slice_)] = spent.get(id(slice_), 0) + amount
        used = {}
        for key in sorted(slices, key=lambda key: (slices[key].budget.id, slices[key].starts_at)):
            used[key] = await self._spend(tx, slices[key], spent[key])
        for settlement in batch:
            if settlement.also is not None:
                await settlement.also(tx)
        return used

    async def _spend(self, tx: Transaction, slice_: Slice, amount: int) -> int:
        """Count what was spent; return what all processes have spent by now."""
        if not await tx.execute(sql.SPEND, **slice_.mine, spent_=amount):
            await self._spend_unreserved(tx, slice_, amount)
        return await used_of(tx, slice_)

    async def _spend_unreserved(self, tx: Transaction, slice_: Slice, amount: int) -> None:
        """Count what was spent where this process has no reservation.

        It never had one where the limit is soft. Where it is hard, others took this process for dead and counted all
        that it held: then this is a part of that, found again.
        """
        await period_of(tx, slice_)
        if not slice_.budget.hard:
            if slice_.holder != self._lease.current():
                await tx.execute(sql.FOLD, **slice_.place, more_=amount, spent_=amount)
                return
            await self._lease.hold(tx)
            place = {f"{name[:-1]}_id_": slice_.place[name] for name in ("tenant_", "budget_")}
            place |= {"starts_at_": slice_.starts_at, "holder_": slice_.holder}
            await tx.execute(sql.ADD_RESERVATION, **place, taken_=0, spent_=amount)
            return
        event = lost_id(slice_.budget.id, slice_.starts_at, slice_.holder)
        found = sql.FOUND_AGAIN[slice_.budget.unit]
        if await tx.execute(found, tenant_=slice_.budget.tenant_id, id_=event, amount_=amount):
            return
        await tx.execute(sql.FOLD, **slice_.place, more_=amount, spent_=amount)


def _row(event: UsageEvent) -> dict[str, object]:
    return dict(zip(_PARAMETERS, _values(event), strict=True))


def _finish(batch: list[Settlement], used: dict[int, int]) -> None:
    for settlement in batch:
        for slice_, amount in settlement.spent:
            slice_.unsettled -= amount
            slice_.used = used.get(id(slice_), slice_.used)
        if settlement.written is not None and not settlement.written.done():
            settlement.written.set_result(None)
