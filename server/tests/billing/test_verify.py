"""`mesh-server verify`: what a budget counts is what its events say, whoever wrote them or died before."""

import pytest
from sqlalchemy import update

from mesh_server.billing import lease, reaper, retention
from mesh_server.billing.budgets import new_budget
from mesh_server.billing.models import DOLLAR, budget_periods, usage_events
from mesh_server.billing.models import budgets as budgets_table
from mesh_server.billing.verify import BudgetCheck
from mesh_server.db.scope import ServerWork
from mesh_server.ids import now_us

from .conftest import ANN, event

UNITS = pytest.mark.parametrize("unit", ["usd", "requests", "tokens"])
LONG_AGO = now_us() - 60_000_000


async def check(parts):
    run = BudgetCheck(parts.database)
    await run.run()
    return [problem.what for problem in run.problems]


async def write(parts, statement):
    async def work(tx):
        await tx.execute(statement)

    await parts.database.write(work, ServerWork.BILLING)


async def old_budget(budgets_, parts, amount, unit, period="total", **more):
    """Make a budget that every process has known for long."""
    made = await budgets_.set(new_budget("default", amount, unit, period, **more))
    await write(parts, update(budgets_table).values(created_at=LONG_AGO))
    return made


async def spend(billing, cost=10, *, reserve=None, **more):
    meter = await billing.meter(ANN)
    await meter.hold(tokens=reserve or 50, nano=reserve or cost)
    await meter.settle(event(cost, input=20, output=7, **more))


@UNITS
@pytest.mark.parametrize("scope", [{}, {"scope": "account", "subject_id": "ann"}])
async def test_what_is_right_is_right(budgets, process, parts, unit, scope):
    await old_budget(budgets, parts, DOLLAR, unit, **scope)
    for billing in (process(), process()):
        for _ in range(3):
            await spend(billing)
    assert await check(parts) == []


@UNITS
@pytest.mark.parametrize("more", [1, -1])
async def test_an_amount_that_was_changed_is_found(budgets, process, parts, unit, more):
    await old_budget(budgets, parts, DOLLAR, unit)
    await spend(process())
    await write(parts, update(budget_periods).values(folded=budget_periods.c.folded + more))
    (what,) = await check(parts)
    assert what.startswith("It counts ")


async def test_an_event_that_was_taken_away_is_found(budgets, process, parts):
    await old_budget(budgets, parts, DOLLAR, "usd")
    billing = process()
    await spend(billing)
    await spend(billing)
    await write(parts, usage_events.delete().where(usage_events.c.cost_nano == 10))
    assert await check(parts) == ["It counts $0.00000002 as used; its events sum to $0.00."]


@UNITS
async def test_what_dead_processes_left_is_counted_in_the_units_of_each(budgets, process, parts, unit, monkeypatch):
    monkeypatch.setattr(lease, "DEAD_S", -1.0)
    await old_budget(budgets, parts, 10_000, unit)
    dead = process()
    await spend(dead)
    meter = await dead.meter(ANN)
    await meter.hold(tokens=500, nano=600)
    assert await reaper.reap(parts.database) == 1
    (standing,) = await budgets.of_tenant("default")
    assert standing.used > (10, 1, 27)[["usd", "requests", "tokens"].index(unit)]
    assert await check(parts) == []
    await meter.settle(event(550, input=400, output=40))  # it lived after all
    assert await check(parts) == []
    assert (await budgets.of_tenant("default"))[0].used == standing.used


async def test_soft_limits_are_checked_too(budgets, process, parts):
    await old_budget(budgets, parts, 5, "usd", hard=False)
    billing = process()
    await spend(billing)
    await billing.recorder.stop()
    assert await check(parts) == []
    await write(parts, update(budget_periods).values(folded=7))
    assert len(await check(parts)) == 1


async def test_another_accounts_events_are_not_in_it(budgets, process, parts):
    await old_budget(budgets, parts, DOLLAR, "usd", scope="account", subject_id="bea")
    await spend(process())
    assert await check(parts) == []


@pytest.mark.parametrize("period", ["minute", "day", "month"])
async def test_a_call_over_the_edge_of_a_period_is_no_problem(budgets, process, parts, period):
    await old_budget(budgets, parts, DOLLAR, "usd", period)
    await spend(process(), at=now_us() - 40 * 86_400_000_000, latency_us=40 * 86_400_000_000)
    assert await check(parts) == []


async def test_what_is_no_number_is_found_and_ends_nothing(budgets, process, parts):
    await old_budget(budgets, parts, DOLLAR, "usd")
    await spend(process())
    await write(parts, update(budgets_table).values(unit="apples"))
    assert await check(parts) == ["It holds something that the server never writes."]


async def test_usage_that_was_kept_long_enough_is_not_missed(budgets, process, parts):
    await old_budget(budgets, parts, 1000, "usd")
    await spend(process(), 100)
    await retention.purge_usage(parts.database, -1_000_000)
    assert await check(parts)
    run = BudgetCheck(parts.database, kept_us=1)
    await run.run()
    assert not run.problems
