"""The SQL of usage and budgets, for both databases."""

from typing import Any

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.sql.expression import delete

from mesh_server.billing.models import Unit, budget_periods, budgets, leases, reservations, usage_events


def all_columns(table: Any) -> Any:
    """Return an insert whose parameters are named as the columns, with `_` behind."""
    return insert(table).values({column.name: bindparam(f"{column.name}_") for column in table.c})


#: The columns of `Budget`, in its order.
BUDGET = tuple(budgets.c)
ADD_BUDGET = all_columns(budgets)
BUDGETS_OF_TENANT = select(*BUDGET).where(budgets.c.tenant_id == bindparam("tenant_")).order_by(budgets.c.id)
BUDGET_BY_ID = select(*BUDGET).where(budgets.c.tenant_id == bindparam("tenant_"), budgets.c.id == bindparam("id_"))
BUDGETS_OF = select(*BUDGET).where(
    budgets.c.tenant_id == bindparam("tenant_"),
    budgets.c.scope == bindparam("scope_"),
    budgets.c.subject_id == bindparam("subject_"),
)
DROP_BUDGET = delete(budgets).where(budgets.c.tenant_id == bindparam("tenant_"), budgets.c.id == bindparam("id_"))
CHANGE_BUDGET = (
    update(budgets)
    .where(budgets.c.tenant_id == bindparam("tenant_"), budgets.c.id == bindparam("id_"))
    .values(amount=bindparam("amount_"))
)

_PERIOD = (
    (budget_periods.c.tenant_id == bindparam("tenant_"))
    & (budget_periods.c.budget_id == bindparam("budget_"))
    & (budget_periods.c.starts_at == bindparam("starts_"))
)
ADD_PERIOD = all_columns(budget_periods)
PERIOD = select(budget_periods.c.taken, budget_periods.c.folded).where(_PERIOD)
#: Never past the limit, whatever was read before.
TAKE = (
    update(budget_periods)
    .where(_PERIOD, budget_periods.c.taken + bindparam("grant_") <= bindparam("limit_"))
    .values(taken=budget_periods.c.taken + bindparam("grant_"))
)
GIVE_BACK = update(budget_periods).where(_PERIOD).values(taken=budget_periods.c.taken - bindparam("returned_"))
FOLD = (
    update(budget_periods)
    .where(_PERIOD)
    .values(taken=budget_periods.c.taken + bindparam("more_"), folded=budget_periods.c.folded + bindparam("spent_"))
)

_MINE = (
    (reservations.c.tenant_id == bindparam("tenant_"))
    & (reservations.c.budget_id == bindparam("budget_"))
    & (reservations.c.starts_at == bindparam("starts_"))
    & (reservations.c.holder == bindparam("holder_"))
)
ADD_RESERVATION = all_columns(reservations)
RESERVE = update(reservations).where(_MINE).values(taken=reservations.c.taken + bindparam("grant_"))
SPEND = update(reservations).where(_MINE).values(spent=reservations.c.spent + bindparam("spent_"))
RESERVATION = select(reservations.c.taken, reservations.c.spent).where(_MINE)
DROP_RESERVATION = delete(reservations).where(_MINE)
OF_HOLDER = select(
    reservations.c.tenant_id,
    reservations.c.budget_id,
    reservations.c.starts_at,
    reservations.c.taken,
    reservations.c.spent,
).where(reservations.c.holder == bindparam("holder_"))
SPENT = select(func.sum(reservations.c.spent)).where(
    reservations.c.tenant_id == bindparam("tenant_"),
    reservations.c.budget_id == bindparam("budget_"),
    reservations.c.starts_at == bindparam("starts_"),
)

ADD_LEASE = all_columns(leases)
RENEW_LEASE = update(leases).where(leases.c.id == bindparam("id_")).values(expires_at=bindparam("expires_at_"))
DROP_LEASE = delete(leases).where(leases.c.id == bindparam("id_"))
END_LEASE = delete(leases).where(leases.c.id == bindparam("id_"), leases.c.expires_at < bindparam("now_"))
DEAD_LEASES = select(leases.c.id).where(leases.c.expires_at < bindparam("now_"))
LEASE = select(leases.c.expires_at).where(leases.c.id == bindparam("id_"))

ADD_EVENT = all_columns(usage_events)
_EVENT = (usage_events.c.tenant_id == bindparam("tenant_")) & (usage_events.c.id == bindparam("id_"))
HAS_EVENT = select(usage_events.c.id).where(_EVENT)


def _found_again(column: Any) -> Any:
    return (
        update(usage_events)
        .where(_EVENT, column >= bindparam("amount_"))
        .values({column: column - bindparam("amount_")})
    )


#: Where an event with the outcome `lost` has the amount: it belongs to one budget, and counts in that one's unit.
LOST = {"usd": usage_events.c.cost_nano, "requests": usage_events.c.input, "tokens": usage_events.c.input}
#: What was taken for lost turned out to be an event of its own.
FOUND_AGAIN: dict[Unit, Any] = {
    "usd": _found_again(LOST["usd"]),
    "requests": _found_again(LOST["requests"]),
    "tokens": _found_again(LOST["tokens"]),
}
