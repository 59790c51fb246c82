"""Settles what dead processes left: what they held of budgets counts as spent, since nobody knows that it was not."""

from uuid import NAMESPACE_OID, uuid5

from mesh_server.billing import statements as sql
from mesh_server.billing.models import UsageEvent, usage_events
from mesh_server.billing.periods import bounds
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.ids import now_us
from mesh_server.telemetry import logger

_log = logger("mesh.billing")


def lost_id(budget_id: str, starts_at: int, holder: str) -> str:
    """Return the id of the event that stands for what a dead process held of a budget's period."""
    return str(uuid5(NAMESPACE_OID, f"{budget_id}/{starts_at}/{holder}"))


async def reap(database: Database) -> int:
    """Settle what every process left whose lease has expired; return how many there were.

    Raises:
        MeshError: if the database can't be written now.
    """

    async def look(tx: Transaction) -> list[str]:
        return [row[0] for row in await tx.all(sql.DEAD_LEASES, now_=now_us())]

    dead = await database.read(look, ServerWork.BILLING)
    for holder in dead:
        await _settle(database, holder)
    return len(dead)


async def _settle(database: Database, holder: str) -> None:
    async def work(tx: Transaction) -> int:
        if not await tx.execute(sql.END_LEASE, id_=holder, now_=now_us()):
            return 0  # it lives after all, or another process was faster
        rows = await tx.all(sql.OF_HOLDER, holder_=holder)
        for row in rows:
            await _fold(tx, holder, row)
        return len(rows)

    found = await database.write(work, ServerWork.BILLING)
    _log.info("settled what a dead process left", lease=holder, reservations=found)


async def _fold(tx: Transaction, holder: str, row: Row) -> None:
    tenant_id, budget_id, starts_at, taken, spent = row
    place = {"tenant_": tenant_id, "budget_": budget_id, "starts_": starts_at}
    lost = max(taken - spent, 0)
    await tx.execute(sql.FOLD, **place, more_=max(spent - taken, 0), spent_=spent + lost)
    await tx.execute(sql.DROP_RESERVATION, **place, holder_=holder)
    budget = await tx.one(sql.BUDGET_BY_ID, tenant_=tenant_id, id_=budget_id)
    if not lost or budget is None:
        return
    scope, subject_id, key_name, unit, period = budget[2:7]
    ends_at = bounds(period, starts_at)[1]
    at = max(now_us(), starts_at)
    event = UsageEvent(
        tenant_id=tenant_id,
        id=lost_id(budget_id, starts_at, holder),
        account_id=subject_id if scope in {"account", "key"} else "",
        token_id=subject_id if scope == "token" else None,
        at=at if ends_at is None else min(at, ends_at - 1),
        surface="",
        provider="",
        model_asked="",
        model="",
        key_owner=subject_id if scope == "key" else None,
        key_name=key_name or None,
        cost_nano=lost if unit == "usd" else 0,
        input=0 if unit == "usd" else lost,
        outcome="lost",
        estimated=True,
        budget_id=budget_id,
    )
    await tx.execute(sql.ADD_EVENT, **{f"{column.name}_": getattr(event, column.name) for column in usage_events.c})
