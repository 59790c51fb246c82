"""What a call may spend, and what it spent."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from mesh_server import telemetry
from mesh_server.accounts.models import Principal
from mesh_server.billing import reaper, retention
from mesh_server.billing import statements as sql
from mesh_server.billing.lease import RENEW_S, Lease
from mesh_server.billing.models import Budget, UsageEvent
from mesh_server.billing.recorder import SETTLE_S, Also, Recorder, Settlement
from mesh_server.billing.refusals import refusal
from mesh_server.billing.slices import LimitReached, Slice, Slices
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import Tenant
from mesh_server.errors import MeshError, OutcomeUnknown, PriceUnknown

#: Callers and owners whose budgets are kept warm.
_MOST_WARM = 10_000

__all__ = ["Also", "Billing", "Meter"]
_log = telemetry.logger("mesh.billing")


class Meter:
    """The account of one call: what is reserved for it, and at its end what it spent.

    Attributes:
        budgets: that apply to it; those of its key are added when the key is known.
    """

    __slots__ = ("_billing", "_callers", "_done", "_held", "budgets", "principal")

    def __init__(self, billing: "Billing", principal: Principal, budgets: tuple[Budget, ...]) -> None:
        self._billing = billing
        self._held: list[tuple[Slice, int]] = []
        self._done = False
        self._callers = budgets
        self.principal = principal
        self.budgets = budgets

    @property
    def hard(self) -> bool:
        """Whether a hard limit applies."""
        return any(budget.hard for budget in self.budgets)

    @property
    def bounds_answers(self) -> bool:
        """Whether a hard limit applies that an answer counts towards by its length."""
        return any(budget.hard and budget.unit != "requests" for budget in self.budgets)

    @property
    def counts_money(self) -> bool:
        """Whether a hard limit of money applies."""
        return any(budget.hard and budget.unit == "usd" for budget in self.budgets)

    async def with_key(self, owner_id: str, key_name: str) -> None:
        """Add the budgets of the key that an attempt is made with, in place of another key's.

        Raises:
            DatabaseUnavailable: if they are not warm and can't be read now.
        """
        self.budgets = (*self._callers, *await self._billing.of_key(self.principal, owner_id, key_name))

    def without_key(self) -> None:
        """Leave the budgets of every key out: an attempt is made with the server's own."""
        self.budgets = self._callers

    async def hold(self, *, tokens: int, nano: int | None) -> None:
        """Reserve what an attempt may come to, in place of what was reserved before.

        Args:
            tokens: of every kind, at the most.
            nano: nano-dollars at the most; None where no price is known.

        Raises:
            BudgetExceeded, QuotaExceeded: if a hard limit does not admit it.
            PriceUnknown: if a hard limit of money applies, and the price is not known.
            DatabaseUnavailable: if more must be taken from a budget, and can't be now.
        """
        self.release()
        if nano is None and self.counts_money:
            raise PriceUnknown("A budget of money applies to this call, and the price of this model is not known.")
        needs = {"usd": nano or 0, "tokens": tokens, "requests": 1}
        try:
            for budget in self.budgets:
                if budget.hard:
                    slice_ = self._billing.slices.of(budget)
                    await self._billing.slices.reserve(slice_, needs[budget.unit])
                    self._held.append((slice_, needs[budget.unit]))
        except LimitReached as reached:
            self.release()
            raise refusal(reached.slice, reached.need) from None
        except BaseException:  # the database's failure, or a caller that went away: what was set aside goes back
            self.release()
            raise

    def release(self) -> None:
        """Give back what is reserved and was not spent."""
        for slice_, amount in self._held:
            slice_.spend(amount, 0)
        self._held.clear()

    async def settle(self, event: UsageEvent, *, also: Also | None = None) -> None:
        """Account for the call, once; where a hard limit applies or `also` is given, wait for the commit.

        Args:
            event: what it spent.
            also: what is to be written in the same transaction.

        Raises:
            OutcomeUnknown: if it was to be waited for and is not written in time; it will be.
        """
        if self._done:
            return
        if also is None and not self.hard:
            self.settle_later(event)
            return
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._record(event, also, written)
        await _written(written)

    def settle_later(self, event: UsageEvent) -> None:
        """Account for the call, once, and wait for nothing."""
        if not self._done:
            self._record(event, None, None)

    def settle_attempt(self, event: UsageEvent) -> None:
        """Account for an attempt that failed, where another one follows; what it spent is spent."""
        self._billing.record(Settlement(event, self._spent(event)))

    def _record(self, event: UsageEvent, also: Also | None, written: "asyncio.Future[None] | None") -> None:
        self._done = True
        self._billing.record(Settlement(event, self._spent(event), also, written))

    def _spent(self, event: UsageEvent) -> list[tuple[Slice, int]]:
        costs = {"usd": event.cost_nano or 0, "tokens": event.input + event.output, "requests": 1}
        held = {slice_.budget.id: (slice_, amount) for slice_, amount in self._held}
        self._held.clear()
        spent = []
        for budget in self.budgets:
            slice_, reserved = held.get(budget.id) or (self._billing.slices.of(budget), 0)
            slice_.spend(reserved, costs[budget.unit])
            spent.append((slice_, costs[budget.unit]))
        return spent

    def left_nano(self, spending: int) -> int | None:
        """Return the least that any hard limit of money leaves, as far as this process knows; None without one.

        Args:
            spending: nano-dollars of this call, not settled yet.
        """
        limits = [budget for budget in self.budgets if budget.hard and budget.unit == "usd"]
        if not limits:
            return None
        return min(max(budget.amount - self._billing.slices.of(budget).known_used - spending, 0) for budget in limits)

    def overrun(self, nano: int, tokens: int) -> list[tuple[Budget, int]]:
        """Return the soft limits that are used up with this call, and what of each, as far as this process knows."""
        costs = {"usd": nano, "tokens": tokens, "requests": 1}
        found = []
        for budget in self.budgets:
            if not budget.hard:
                used = self._billing.slices.of(budget).known_used + costs[budget.unit]
                if used >= budget.amount:
                    found.append((budget, used))
        return found


class Billing:
    """Usage and budgets of every account.

    Args:
        database: where they are.
        usage_kept_us: microseconds for which the usage of a call is kept; None for ever.

    Attributes:
        slices: what this process holds of budgets.
        lease: under which it does.
        observers: called with every call that ended.
    """

    def __init__(self, database: Database, *, usage_kept_us: int | None = None) -> None:
        self._database = database
        self._usage_kept_us = usage_kept_us
        self.lease = Lease(database)
        self.slices = Slices(database, self.lease)
        self.recorder = Recorder(database, self.lease)
        self.observers: list[Callable[[UsageEvent], None]] = []
        self._warm: dict[tuple[str, str, str], tuple[Budget, ...]] = {}
        self._moment = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to write usage, and to look after budgets."""
        self.recorder.start()
        self._task = asyncio.create_task(self._look_after())

    async def stop(self) -> None:
        """Write what waits, give back what is held, and end."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self.recorder.stop()
        try:
            await self.slices.tidy(everything=True)
            if self.slices.empty:  # else others find by the lease what is left
                await self.lease.end()
        except MeshError as problem:
            _log.warning("what this process holds of budgets can't be given back", code=problem.code)

    async def meter(self, principal: Principal) -> Meter:
        """Open the account of a call.

        Raises:
            DatabaseUnavailable: if the caller's budgets are not warm and can't be read, or usage can't be written now.
        """
        await self.recorder.room()
        tenant = principal.tenant_id
        found = await self._of(tenant, "tenant", "") + await self._of(tenant, "account", principal.account_id)
        if principal.token_id is not None:
            found += await self._of(tenant, "token", principal.token_id)
        return Meter(self, principal, found)

    async def of_key(self, principal: Principal, owner_id: str, key_name: str) -> Sequence[Budget]:
        """Return the budgets of a key that a call is made with."""
        return [b for b in await self._of(principal.tenant_id, "key", owner_id) if b.key_name == key_name]

    def record(self, settlement: Settlement) -> None:
        """Take a call that ended."""
        self.recorder.put(settlement)
        for observe in self.observers:
            try:
                observe(settlement.event)
            except Exception as problem:  # noqa: BLE001 - a defect of a watcher is none of the call, which is accounted for
                _log.error("a call could not be told on", **telemetry.describe(problem))

    async def purge(self) -> int:
        """Remove usage that is older than it is kept, and budgets' periods that ended; return the removed events.

        Raises:
            MeshError: if the database can't be written now.
        """
        await retention.purge_periods(self._database)
        if self._usage_kept_us is None:
            return 0
        return await retention.purge_usage(self._database, self._usage_kept_us)

    def forget(self) -> None:
        """Forget which budgets there are; called when any process changed one."""
        self._warm.clear()
        self._moment += 1

    async def _of(self, tenant_id: str, scope: str, subject_id: str) -> tuple[Budget, ...]:
        key = (tenant_id, scope, subject_id)
        known = self._warm.get(key)
        if known is not None:
            return known
        moment = self._moment

        async def look(tx: Transaction) -> tuple[Budget, ...]:
            rows = await tx.all(sql.BUDGETS_OF, tenant_=tenant_id, scope_=scope, subject_=subject_id)
            return tuple(budget_of(row) for row in rows)

        found = await self._database.read(look, Tenant(tenant_id))
        if len(self._warm) >= _MOST_WARM:
            self._warm.clear()
        if moment == self._moment:  # else it may be what was there before a change
            self._warm[key] = found
        return found

    async def _look_after(self) -> None:
        while True:
            try:
                if not await self.lease.renew():
                    self.slices.drop()
                await reaper.reap(self._database)
                await self.slices.tidy()
            except MeshError as problem:
                _log.warning("budgets can't be looked after now", code=problem.code)
            except Exception as problem:  # noqa: BLE001 - a defect here must not end the lease of a process that lives
                _log.error("budgets can't be looked after", problem=type(problem).__name__)
            await asyncio.sleep(RENEW_S)


def budget_of(row: Sequence[object]) -> Budget:
    """Return a budget from its row."""
    values = dict(zip((column.name for column in sql.BUDGET), row, strict=True))
    values["hard"] = bool(values["hard"])
    return Budget(**values)  # type: ignore[arg-type]


async def _written(written: "asyncio.Future[None]") -> None:
    await asyncio.wait((written,), timeout=SETTLE_S)
    if not written.done():
        raise OutcomeUnknown("The call was made, but its usage can't be written now.", retry_after=5)
    written.result()
