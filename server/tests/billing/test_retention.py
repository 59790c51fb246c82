"""What is old goes, on each database; what is running, kept for ever, or settled late does not."""

import asyncio

import pytest
from sqlalchemy import func, insert, select

from mesh_server.billing import retention
from mesh_server.billing import statements as sql
from mesh_server.billing.budgets import new_budget
from mesh_server.billing.models import budget_periods, reservations, usage_events
from mesh_server.billing.retention import ENDED_KEPT_US, purge_periods, purge_usage
from mesh_server.billing.service import Billing
from mesh_server.db.engine import Database
from mesh_server.db.scope import ServerWork
from mesh_server.errors import StartupError
from mesh_server.ids import now_us, uuid7
from mesh_server.settings import load

from .conftest import ANN, event

MINUTE, DAY = 60_000_000, 86_400_000_000


async def stored(parts, *columns):
    async def look(tx):
        return [row[0] if len(columns) == 1 else tuple(row) for row in await tx.all(select(*columns))]

    return await parts.database.read(look, ServerWork.BILLING)


async def record(parts, *events):
    rows = [{f"{column.name}_": getattr(one, column.name) for column in usage_events.c} for one in events]

    async def work(tx):
        await tx.many(sql.ADD_EVENT, rows)

    await parts.database.write(work, ServerWork.BILLING)


async def period(parts, budget_id, starts_at, tenant="default"):
    """Make a period with what one process has of it."""
    place = {"tenant_id": tenant, "budget_id": budget_id, "starts_at": starts_at}

    async def work(tx):
        await tx.execute(insert(budget_periods).values(**place, taken=1, folded=1))
        await tx.execute(insert(reservations).values(**place, holder=uuid7(), taken=1, spent=0))

    await parts.database.write(work, ServerWork.BILLING)


async def test_usage_goes_when_it_is_older_than_it_is_kept(parts, monkeypatch):
    monkeypatch.setattr(retention, "STEP", 3)
    now = now_us()
    old = [event(at=now - 10 * DAY - n, tenant_id=tenant) for n in range(4) for tenant in ("default", "elsewhere")]
    young = [event(at=now - 10 * DAY + MINUTE), event(at=now)]
    await record(parts, *old, *young)
    assert await purge_usage(parts.database, 10 * DAY) == len(old)
    assert set(await stored(parts, usage_events.c.id)) == {one.id for one in young}
    assert await purge_usage(parts.database, 10 * DAY) == 0


async def test_a_step_removes_no_more_than_it_may(parts, monkeypatch):
    monkeypatch.setattr(retention, "STEP", 3)
    await record(parts, *(event(at=1) for _ in range(7)))
    steps = []
    write = parts.database.write

    async def counted(work, on_behalf_of):
        steps.append(await write(work, on_behalf_of))
        return steps[-1]

    monkeypatch.setattr(parts.database, "write", counted)
    assert await purge_usage(parts.database, DAY) == 7
    assert steps == [3, 3, 1, 0]


async def test_two_processes_that_remove_at_once_are_not_in_each_others_way(parts, database_url, monkeypatch):
    monkeypatch.setattr(retention, "STEP", 20)
    await record(parts, *(event(at=n) for n in range(300)), young := event())
    other = await Database.open(database_url)
    try:
        removed = await asyncio.gather(purge_usage(parts.database, DAY), purge_usage(other, DAY))
    finally:
        await other.close()
    assert sum(removed) == 300
    assert await stored(parts, usage_events.c.id) == [young.id]


async def test_usage_that_is_kept_for_ever_stays(parts):
    await record(parts, event(at=1))
    assert await Billing(parts.database).purge() == 0
    assert len(await stored(parts, usage_events.c.id)) == 1
    assert await Billing(parts.database, usage_kept_us=DAY).purge() == 1
    assert not await stored(parts, usage_events.c.id)


@pytest.mark.parametrize(("kind", "lasts"), [("minute", MINUTE), ("day", DAY), ("month", 31 * DAY)])
async def test_periods_go_some_time_after_their_end(parts, budgets, kind, lasts, monkeypatch):
    monkeypatch.setattr(retention, "STEP", 2)
    budget = await budgets.set(new_budget("default", 10, "requests", kind))
    now = now_us()
    last = now - ENDED_KEPT_US - lasts
    for number in range(3):
        await period(parts, budget.id, last - 1 - number)
    kept = [last + MINUTE, now - lasts // 2]
    for starts_at in kept:
        await period(parts, budget.id, starts_at)
    assert await purge_periods(parts.database) == 3
    assert sorted(await stored(parts, budget_periods.c.starts_at)) == kept
    assert sorted(await stored(parts, reservations.c.starts_at)) == kept


async def test_a_period_of_all_time_stays_as_long_as_its_budget(parts, budgets):
    budget = await budgets.set(new_budget("default", 10, "requests", "total"))
    await period(parts, budget.id, 0)
    assert await purge_periods(parts.database) == 0
    await budgets.remove("default", budget.id)
    assert await purge_periods(parts.database) == 1
    assert not await stored(parts, reservations.c.holder)


async def test_the_budget_of_another_tenant_keeps_no_period(parts, budgets):
    budget = await budgets.set(new_budget("default", 10, "requests", "total"))
    await period(parts, budget.id, 0, tenant="elsewhere")
    await period(parts, budget.id, 0)
    assert await purge_periods(parts.database) == 1
    assert await stored(parts, budget_periods.c.tenant_id) == ["default"]


@pytest.mark.parametrize("hard", [True, False])
async def test_a_call_that_settles_after_its_period_was_removed_is_recorded(parts, budgets, process, hard):
    budget = await budgets.set(new_budget("default", 10, "requests", "total", hard=hard))
    billing = process()
    meter = await billing.meter(ANN)
    await meter.hold(tokens=1, nano=0)
    await budgets.remove("default", budget.id)
    await purge_periods(parts.database)
    await meter.settle(event(5))
    await billing.recorder.stop()
    assert await stored(parts, func.sum(usage_events.c.cost_nano)) == [5]


def test_usage_is_kept_for_400_days_where_nothing_is_said(tmp_path):
    def kept(**environment):
        return load({}, {"MESH_DATA_DIR": str(tmp_path), "MESH_CONFIG": "", **environment})

    assert kept().usage_kept_us == 400 * DAY
    assert kept(MESH_USAGE_DAYS="7").usage_kept_us == 7 * DAY
    assert kept(MESH_USAGE_DAYS="0").usage_kept_us is None
    assert kept().chat.answers_kept_us == DAY
    assert kept(MESH_ANSWERS_HOURS="1").chat.answers_kept_us == DAY // 24
    for name, value in [
        ("MESH_USAGE_DAYS", "-1"),
        ("MESH_USAGE_DAYS", "1.5"),
        ("MESH_USAGE_DAYS", "36501"),
        ("MESH_ANSWERS_HOURS", "0"),
        ("MESH_ANSWERS_HOURS", "a day"),
        ("MESH_ANSWERS_HOURS", "8761"),
    ]:
        with pytest.raises(StartupError, match=name):
            kept(**{name: value})
