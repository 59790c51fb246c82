"""What this process has taken of budgets: durably in the database first, then spent from memory.

A limit is never passed, whatever dies when: what a process may spend was taken by one conditional update, and what it
leaves behind counts as spent. So that little is left behind, a process takes what its calls need and what a quarter of
a second more of them would, and gives back what it has not needed for a while (docs/adr/0118).
"""

import asyncio
import time
from dataclasses import dataclass

from mesh_server.billing import statements as sql
from mesh_server.billing.lease import Lease
from mesh_server.billing.models import Budget, Unit
from mesh_server.billing.periods import bounds
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import Tenant
from mesh_server.errors import MeshError, OutcomeUnknown
from mesh_server.ids import now_us

#: Seconds of calls, at the pace of the last ones, that are taken ahead.
AHEAD_S = 0.25
#: Of what is left, at most this part is taken ahead.
AHEAD_PART = 16
#: Seconds without use after which a slice is given back.
IDLE_S = 10.0


@dataclass(slots=True, kw_only=True)
class Slice:
    """What one process has of one period of one budget.

    Attributes:
        holder: the lease under which it was taken.
        free: taken, and not reserved by a call. Below zero where a call cost more than was reserved for it.
        reserved: by calls under way.
        unsettled: spent by calls whose usage is not written yet.
        left: of the limit, as seen last; None before the first look.
        used: of the limit by all processes, as seen last; None before the first settlement.
    """

    budget: Budget
    holder: str
    starts_at: int
    ends_at: int | None
    free: int = 0
    reserved: int = 0
    unsettled: int = 0
    wanted: int = 0
    left: int | None = None
    used: int | None = None
    taking: "asyncio.Future[int] | None" = None
    touched: float = 0.0
    spent_since: int = 0
    taken_at: float = 0.0

    @property
    def place(self) -> dict[str, object]:
        """The period, as parameters of a statement."""
        return {"tenant_": self.budget.tenant_id, "budget_": self.budget.id, "starts_": self.starts_at}

    @property
    def mine(self) -> dict[str, object]:
        """This process's reservation, as parameters of a statement."""
        return {**self.place, "holder_": self.holder}

    @property
    def known_used(self) -> int:
        """What all processes have spent, as far as this one knows; without what it has not written yet."""
        if self.used is not None:
            return self.used
        if self.left is None:
            return 0
        return max(self.budget.amount - self.left - self.free - self.reserved, 0)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way."""
        return not (self.reserved or self.unsettled or self.wanted or self.taking)

    def holds(self, moment: int, holder: str) -> bool:
        """Return whether it is of the period of a moment, and of a lease."""
        return self.holder == holder and self.starts_at <= moment < (self.ends_at or moment + 1)

    def spend(self, reserved: int, cost: int) -> None:
        """Turn a reservation into what was really spent."""
        self.reserved -= reserved
        self.free += reserved - cost
        self.unsettled += cost
        self.spent_since += cost


class LimitReached(Exception):
    """A hard budget does not admit a call.

    Args:
        slice_: of that budget.
        need: what the call could come to.
    """

    def __init__(self, slice_: Slice, need: int) -> None:
        super().__init__("a budget does not admit a call")
        self.slice = slice_
        self.need = need


class Slices:
    """Those of one process.

    Args:
        database: where budgets are.
        lease: of this process.
    """

    def __init__(self, database: Database, lease: Lease) -> None:
        self._database = database
        self._lease = lease
        self._slices: dict[tuple[str, str, int, str], Slice] = {}
        self._running: dict[str, Slice] = {}  # by budget: the one that was asked for last

    def of(self, budget: Budget) -> Slice:
        """Return this process's slice of a budget's running period."""
        now = now_us()
        found = self._running.get(budget.id)
        if found is not None and found.budget is budget and found.holds(now, self._lease.id):
            return found
        starts_at, ends_at = bounds(budget.period, now)
        key = (budget.tenant_id, budget.id, starts_at, self._lease.id)
        found = self._slices.get(key)
        if found is None:
            found = Slice(budget=budget, holder=self._lease.id, starts_at=starts_at, ends_at=ends_at)
            self._slices[key] = found
        found.budget = budget  # its amount may have changed
        self._running[budget.id] = found
        return found

    async def reserve(self, slice_: Slice, need: int) -> None:
        """Set aside what a call may come to.

        Raises:
            LimitReached: if the budget does not admit that much.
            DatabaseUnavailable: if more must be taken and can't be now.
        """
        slice_.touched = time.monotonic()
        if slice_.free < need:
            await self._wait_for(slice_, need)
        slice_.free -= need
        slice_.reserved += need

    async def _wait_for(self, slice_: Slice, need: int) -> None:
        slice_.wanted += need
        try:
            while slice_.free < need:
                mine = slice_.taking is None
                if slice_.taking is None:
                    slice_.taking = asyncio.ensure_future(self._take(slice_, need - slice_.free))
                # Shielded: others wait for the same, and what was taken must be known here.
                granted = await asyncio.shield(slice_.taking)
                if mine and not granted and slice_.free < need:
                    raise LimitReached(slice_, need)
        finally:
            slice_.wanted -= need

    async def _take(self, slice_: Slice, least: int) -> int:
        """Take some of a budget; return how much, 0 where less than `least` is left."""
        try:
            now = time.monotonic()
            pace = slice_.spent_since / max(now - slice_.taken_at, AHEAD_S) if slice_.taken_at else 0.0
            most = max(slice_.wanted - slice_.free, least) + int(pace * AHEAD_S)

            async def work(tx: Transaction) -> tuple[int, int, int | None]:
                await self._lease.hold(tx, slice_.holder)
                granted, left = await _take(tx, slice_, least, most)
                return granted, left, None if granted else await used_of(tx, slice_)  # for what the caller is told

            granted, slice_.left, used = await self._database.write(work, Tenant(slice_.budget.tenant_id))
            slice_.used = slice_.used if used is None else used
            self._lease.held()
            slice_.free += granted
            slice_.spent_since, slice_.taken_at = 0, now
            return granted
        finally:
            slice_.taking = None

    async def tidy(self, *, everything: bool = False) -> None:
        """Give back what was not used for a while; of periods that are over, and at the end, everything.

        Raises:
            MeshError: if the database can't be written now; nothing is lost then.
        """
        now, moment = time.monotonic(), now_us()
        for key, slice_ in list(self._slices.items()):
            over = everything or (slice_.ends_at is not None and slice_.ends_at <= moment)
            if over and slice_.at_rest:
                await self._fold(slice_)
                self._slices.pop(key, None)
                self._running.pop(slice_.budget.id, None)
            elif slice_.free > 0 and not slice_.wanted and now - slice_.touched > IDLE_S:
                await self._give_back(slice_)

    def state(self) -> dict[Unit, tuple[int, int]]:
        """Return by unit what calls under way have reserved of hard limits, and what is held beside that."""
        found: dict[Unit, tuple[int, int]] = {}
        for slice_ in self._slices.values():
            if slice_.budget.hard:
                reserved, free = found.get(slice_.budget.unit, (0, 0))
                found[slice_.budget.unit] = reserved + slice_.reserved, free + max(slice_.free, 0)
        return found

    @property
    def empty(self) -> bool:
        """Whether nothing is held."""
        return not self._slices

    def drop(self) -> None:
        """Forget every slice: others have taken this process for dead and counted them as spent."""
        self._slices.clear()
        self._running.clear()

    async def _give_back(self, slice_: Slice) -> None:
        returned, slice_.free = slice_.free, 0  # nobody reserves of it while it is on its way

        async def work(tx: Transaction) -> None:
            if await tx.execute(sql.RESERVE, **slice_.mine, grant_=-returned):
                await tx.execute(sql.GIVE_BACK, **slice_.place, returned_=returned)

        try:
            await self._database.write(work, Tenant(slice_.budget.tenant_id))
        except OutcomeUnknown:
            raise  # it may have been given back: then others spend it
        except MeshError:
            slice_.free += returned
            raise

    async def _fold(self, slice_: Slice) -> None:
        async def work(tx: Transaction) -> None:
            row = await tx.one(sql.RESERVATION, **slice_.mine)
            if row is not None:
                taken, spent = row
                await tx.execute(sql.FOLD, **slice_.place, more_=spent - taken, spent_=spent)
                await tx.execute(sql.DROP_RESERVATION, **slice_.mine)

        await self._database.write(work, Tenant(slice_.budget.tenant_id))


async def _take(tx: Transaction, slice_: Slice, least: int, most: int) -> tuple[int, int]:
    """Return what was taken, 0 where `least` is not left, and what is left beside it."""
    known = await tx.one(sql.BUDGET_BY_ID, tenant_=slice_.budget.tenant_id, id_=slice_.budget.id)
    limit = known[8] if known is not None else 0  # it was removed: within two seconds nobody asks for it any more
    taken = await period_of(tx, slice_)
    left = max(limit - taken, 0)
    granted = max(least, min(most, left // AHEAD_PART))
    if granted > left or not await tx.execute(sql.TAKE, **slice_.place, grant_=granted, limit_=limit):
        return 0, left
    if not await tx.execute(sql.RESERVE, **slice_.mine, grant_=granted):
        place = {"tenant_id_": slice_.budget.tenant_id, "budget_id_": slice_.budget.id, "starts_at_": slice_.starts_at}
        await tx.execute(sql.ADD_RESERVATION, **place, holder_=slice_.holder, taken_=granted, spent_=0)
    return granted, left - granted


async def used_of(tx: Transaction, slice_: Slice) -> int:
    """Return what all processes have spent in a period."""
    period = await tx.one(sql.PERIOD, **slice_.place)
    running = await tx.one(sql.SPENT, **slice_.place)
    return int(period[1] if period is not None else 0) + int((running[0] if running is not None else 0) or 0)


async def period_of(tx: Transaction, slice_: Slice) -> int:
    """Return what all processes have taken of a period, which is made where it is not there."""
    row = await tx.one(sql.PERIOD, **slice_.place)
    if row is not None:
        return int(row[0])
    place = {"tenant_id_": slice_.budget.tenant_id, "budget_id_": slice_.budget.id, "starts_at_": slice_.starts_at}
    await tx.execute(sql.ADD_PERIOD, **place, taken_=0, folded_=0)
    return 0
