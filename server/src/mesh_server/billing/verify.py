"""Compares what budgets count with the usage that is recorded: both are written in one transaction.

A call counts in the period in which it was admitted, which lies between its beginning and its end; so the calls of a
period's edges may or may not be in it, and those of a budget's first seconds, before every process knew of it. All
others are, exactly.
"""

from typing import Any

from sqlalchemy import BigInteger, bindparam, case, func, literal, select
from sqlalchemy.sql.selectable import Select

from mesh_server.audit.chain import WRONG_TYPES
from mesh_server.audit.verify import Problem
from mesh_server.billing import statements as sql
from mesh_server.billing.models import Budget, Unit, budget_periods, budgets, usage_events
from mesh_server.billing.periods import bounds
from mesh_server.billing.refusals import amount_text
from mesh_server.billing.service import budget_of
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.ids import now_us

#: Periods of one budget that are looked at, the newest.
PERIODS = 62
#: Microseconds within which every process knows of a new budget, and by which two clocks of one call may differ.
_KNOWN_US, _CLOCKS_US = 5_000_000, 1_000_000
_FOR_EVER = 2**62

_ALL = select(*sql.BUDGET).order_by(budgets.c.tenant_id, budgets.c.id)
_PERIODS = (
    select(budget_periods.c.starts_at, budget_periods.c.folded)
    .where(budget_periods.c.tenant_id == bindparam("tenant_"), budget_periods.c.budget_id == bindparam("budget_"))
    .order_by(budget_periods.c.starts_at.desc())
    .limit(PERIODS)
)
_e = usage_events.c
_AMOUNTS: dict[Unit, Any] = {
    "usd": func.coalesce(_e.cost_nano, 0),
    "requests": literal(1, BigInteger),
    "tokens": _e.input + _e.output,
}
_WHOSE = {
    "tenant": (),
    "account": (_e.account_id == bindparam("subject_"),),
    "token": (_e.token_id == bindparam("subject_"),),
    "key": (_e.key_owner == bindparam("subject_"), _e.key_name == bindparam("key_name_")),
}


class BudgetCheck:
    """One run over all budgets; the database may be in use.

    Args:
        database: what to look at.
        kept_us: microseconds for which usage is kept, None for ever; of what is older more may count than is there.

    Attributes:
        problems: what is not as the server left it.
        rows: periods that were compared.
    """

    def __init__(self, database: Database, kept_us: int | None = None) -> None:
        self._database = database
        self._kept_us = kept_us
        self.problems: list[Problem] = []
        self.rows = 0

    async def run(self) -> None:
        """Look at every budget, and leave what is wrong in `problems`."""

        async def look(tx: Transaction) -> list[Row]:
            return list(await tx.all(_ALL))

        for row in await self._database.read(look, ServerWork.VERIFY):
            try:
                await self._budget(budget_of(row))
            except (*WRONG_TYPES, KeyError):
                what = "It holds something that the server never writes."
                self.problems.append(Problem("changed", f"budgets {row[0]}/{row[1]}", what))

    async def _budget(self, budget: Budget) -> None:
        async def look(tx: Transaction) -> list[tuple[int, int, int, int]]:
            return [await _compared(tx, budget, *row) for row in await tx.all(_PERIODS, **_place(budget))]

        for starts_at, used, least, most in await self._database.read(look, ServerWork.VERIFY):
            self.rows += 1
            forgotten = self._kept_us and max(starts_at, budget.created_at) < now_us() - self._kept_us
            if not least <= used <= (_FOR_EVER if forgotten else most):
                says, sums = amount_text(budget.unit, used), amount_text(budget.unit, most if used > most else least)
                where = f"budget_periods {budget.tenant_id}/{budget.id} from {starts_at}"
                self.problems.append(Problem("changed", where, f"It counts {says} as used; its events sum to {sums}."))


async def _compared(tx: Transaction, budget: Budget, starts_at: int, folded: int) -> tuple[int, int, int, int]:
    """Return when a period begins, what it counts as used, and the least and the most that its events say."""
    ends_at = bounds(budget.period, starts_at)[1] or _FOR_EVER
    running = await tx.one(sql.SPENT, **_place(budget), starts_=starts_at)
    used = int(folded) + int((running[0] if running is not None else 0) or 0)
    given: dict[str, Any] = {**_place(budget), "starts_": starts_at, "ends_": ends_at, "created_": budget.created_at}
    if budget.scope != "tenant":
        given["subject_"] = budget.subject_id
    if budget.scope == "key":
        given["key_name_"] = budget.key_name
    sums = await tx.one(_sums(budget), **given)
    lost = await tx.one(_lost(budget), **_place(budget), starts_=starts_at, ends_=ends_at)
    least, most = (int(value or 0) for value in sums or (0, 0))
    left = int((lost[0] if lost is not None else 0) or 0)
    return starts_at, used, least + left, most + left


def _sums(budget: Budget) -> Select[Any]:
    """Return the least and the most that a period's calls came to."""
    starts, ends, created = (bindparam(name, type_=BigInteger) for name in ("starts_", "ends_", "created_"))
    ended = _e.at + _e.latency_us
    surely = (_e.at >= starts + _CLOCKS_US) & (_e.at >= created + _KNOWN_US) & (ended < ends - _CLOCKS_US)
    perhaps = (ended >= starts - _CLOCKS_US) & (ended >= created - _CLOCKS_US) & (_e.at < ends + _CLOCKS_US)
    amount = _AMOUNTS[budget.unit]
    mine = (_e.tenant_id == bindparam("tenant_"), _e.budget_id.is_(None), *_WHOSE[budget.scope])
    return select(func.sum(case((surely, amount), else_=0)), func.sum(amount)).where(*mine, perhaps)


def _lost(budget: Budget) -> Select[Any]:
    """Return what dead processes left unsettled of a period."""
    return select(func.sum(sql.LOST[budget.unit])).where(
        _e.tenant_id == bindparam("tenant_"),
        _e.budget_id == bindparam("budget_"),
        _e.at >= bindparam("starts_"),
        _e.at < bindparam("ends_"),
    )


def _place(budget: Budget) -> dict[str, object]:
    return {"tenant_": budget.tenant_id, "budget_": budget.id}
