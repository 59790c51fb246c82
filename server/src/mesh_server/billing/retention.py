"""Removes what has served: usage older than the operator keeps it, and what is left of budgets' periods that ended."""

from sqlalchemy import and_, bindparam, case, select, tuple_
from sqlalchemy.sql.expression import delete

from mesh_server.billing.models import budget_periods, budgets, reservations, usage_events
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.ids import now_us

#: Rows of one transaction: others write in between.
STEP = 500
_MINUTE_US, _DAY_US = 60_000_000, 86_400_000_000
#: For this long the rows of a period that ended are kept: a call that began in it may still be running.
ENDED_KEPT_US = 2 * _DAY_US

_e, _p, _r = usage_events.c, budget_periods.c, reservations.c
_OLD_EVENTS = select(_e.tenant_id, _e.id).where(_e.at < bindparam("before_")).order_by(_e.at).limit(bindparam("limit_"))
_DROP_EVENTS = delete(usage_events).where(tuple_(_e.tenant_id, _e.id).in_(_OLD_EVENTS))

#: A period of all time never ends; one of a budget that was removed ends as the longest of the others does.
_ENDED_BEFORE = case(
    (budgets.c.period == "minute", bindparam("minute_")),
    (budgets.c.period == "day", bindparam("day_")),
    (budgets.c.period == "total", bindparam("never_")),
    else_=bindparam("month_"),
)
_ENDED = (
    select(_p.tenant_id, _p.budget_id, _p.starts_at)
    .select_from(
        budget_periods.outerjoin(budgets, and_(budgets.c.tenant_id == _p.tenant_id, budgets.c.id == _p.budget_id))
    )
    .where(_p.starts_at < bindparam("minute_"), _p.starts_at < _ENDED_BEFORE)
    .order_by(_p.starts_at, _p.tenant_id, _p.budget_id)
    .limit(bindparam("limit_"))
)
_DROP_RESERVATIONS = delete(reservations).where(tuple_(_r.tenant_id, _r.budget_id, _r.starts_at).in_(_ENDED))
_DROP_PERIODS = delete(budget_periods).where(tuple_(_p.tenant_id, _p.budget_id, _p.starts_at).in_(_ENDED))


async def purge_usage(database: Database, kept_us: int) -> int:
    """Remove the usage of calls that began longer ago than `kept_us` microseconds; return how many those were.

    Raises:
        MeshError: if the database can't be written now; what was removed before stays so.
    """

    async def step(tx: Transaction) -> int:
        return await tx.execute(_DROP_EVENTS, before_=now_us() - kept_us, limit_=STEP)

    removed = 0
    while found := await database.write(step, ServerWork.PURGE):
        removed += found
    return removed


async def purge_periods(database: Database) -> int:
    """Remove what is left of budgets' periods that ended a while ago; return how many those were.

    Raises:
        MeshError: as `purge_usage`.
    """

    async def step(tx: Transaction) -> int:
        ended = now_us() - ENDED_KEPT_US
        ends = {"minute_": ended - _MINUTE_US, "day_": ended - _DAY_US, "month_": ended - 31 * _DAY_US, "never_": -1}
        await tx.execute(_DROP_RESERVATIONS, **ends, limit_=STEP)
        return await tx.execute(_DROP_PERIODS, **ends, limit_=STEP)

    removed = 0
    while found := await database.write(step, ServerWork.PURGE):
        removed += found
    return removed
