"""What was spent, summed up."""

from dataclasses import astuple, dataclass
from functools import cache
from typing import Any

from sqlalchemy import bindparam, case, func, select
from sqlalchemy.sql.selectable import Select

from mesh_server.billing.models import usage_events
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import Scope, ServerWork

_DAY_US = 86_400_000_000

_e = usage_events.c
#: What usage can be summed up by. A key is shown by its name, an account by its id.
DIMENSIONS = {
    "day": _e.at // _DAY_US,
    "provider": _e.provider,
    "model": _e.model,
    "key": _e.key_name,
    "surface": _e.surface,
    "outcome": _e.outcome,
    "account": _e.account_id,
}
#: Rows of one answer.
MOST_ROWS = 10_000

_COUNTERS = (
    func.count(),
    func.sum(case((_e.outcome == "failed", 1), else_=0)),
    func.sum(case((_e.estimated.is_(True), 1), else_=0)),
    func.sum(case((_e.cost_nano.is_(None), 1), else_=0)),
    func.sum(_e.input),
    func.sum(_e.cached),
    func.sum(_e.cache_write),
    func.sum(_e.output),
    func.sum(_e.thinking),
    func.sum(_e.cost_nano),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which usage is asked for. Times in microseconds since 1970.

    Attributes:
        since, until: the first moment, and the first one after it.
        by: names of `DIMENSIONS`.
        tenant_id, account_id: whose; None for everybody's.
    """

    since: int
    until: int
    by: tuple[str, ...]
    tenant_id: str | None
    account_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Calls, tokens and money. `failed`, `estimated` and `unpriced` (of unknown cost) are parts of `calls`."""

    calls: int = 0
    failed: int = 0
    estimated: int = 0
    unpriced: int = 0
    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    thinking: int = 0
    cost_nano: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """What was spent on one combination of the dimensions asked for; a day is counted from 1970-01-01."""

    values: tuple[Any, ...]
    counters: Counters


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything, and the groups: the newest day first, then what cost most. `truncated`: there are more."""

    total: Counters
    groups: list[Group]
    truncated: bool


class Usage:
    """Sums of usage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def summary(self, question: Question, on_behalf_of: Scope = ServerWork.BILLING) -> Summary:
        """Return what was spent; what dead processes left unsettled is in budgets alone, not here.

        Raises:
            DatabaseUnavailable: if it can't be read now.
        """
        wanted: dict[str, int | str] = {"since_": question.since, "until_": question.until}
        if question.tenant_id is not None:
            wanted["tenant_"] = question.tenant_id
        if question.account_id is not None:
            wanted["account_"] = question.account_id
        whose = (question.tenant_id is not None, question.account_id is not None)

        async def look(tx: Transaction) -> Summary:
            groups: list[Group] = []
            if question.by:
                rows = await tx.all(_statement(question.by, *whose), **wanted)
                groups = [Group(tuple(row[: len(question.by)]), _counters(row[len(question.by) :])) for row in rows]
                if len(groups) <= MOST_ROWS:  # all of them: nothing has to be looked at twice
                    return Summary(_sum(groups), groups, truncated=False)
            total = await tx.one(_statement((), *whose), **wanted)
            return Summary(_counters(total or ()), groups[:MOST_ROWS], len(groups) > MOST_ROWS)

        return await self._database.read(look, on_behalf_of, long=True)


@cache
def _statement(by: tuple[str, ...], of_tenant: bool, of_account: bool) -> Select[Any]:  # noqa: FBT001 - the cache's key
    columns = [DIMENSIONS[name] for name in by]
    where = [_e.at >= bindparam("since_"), _e.at < bindparam("until_"), _e.budget_id.is_(None)]
    if of_tenant:
        where.append(_e.tenant_id == bindparam("tenant_"))
    if of_account:
        where.append(_e.account_id == bindparam("account_"))
    found = select(*columns, *_COUNTERS).where(*where)
    if not by:
        return found
    first = [DIMENSIONS["day"].desc()] if "day" in by else []
    return (
        found.group_by(*columns)
        .order_by(*first, func.coalesce(func.sum(_e.cost_nano), 0).desc(), func.count().desc())
        .limit(MOST_ROWS + 1)
    )


def _counters(row: Any) -> Counters:
    names = Counters.__dataclass_fields__
    return Counters(**{name: int(value or 0) for name, value in zip(names, row, strict=False)})


def _sum(groups: list[Group]) -> Counters:
    return _counters([sum(column) for column in zip(*(astuple(group.counters) for group in groups), strict=True)])
