"""A limit is a limit: whatever several processes reserve, spend, give back, or leave behind when they die."""

import asyncio

import pytest

from mesh_server.billing import lease, reaper
from mesh_server.billing import slices as slices_module
from mesh_server.billing import statements as sql
from mesh_server.billing.budgets import new_budget
from mesh_server.billing.models import DOLLAR, usage_events
from mesh_server.db.scope import ServerWork
from mesh_server.errors import BudgetExceeded, BudgetNotFound, PriceUnknown, QuotaExceeded

from .conftest import ANN, event


async def spend(billing, cost, *, reserve=None):
    meter = await billing.meter(ANN)
    await meter.hold(tokens=10, nano=reserve if reserve is not None else cost)
    await meter.settle(event(cost))


async def standing(budgets):
    (found,) = await budgets.of_tenant("default")
    return found


async def sum_of_events(parts):
    from sqlalchemy import func, select

    async def look(tx):
        return int((await tx.one(select(func.sum(usage_events.c.cost_nano))))[0] or 0)

    return await parts.database.read(look, ServerWork.BILLING)


async def test_it_counts_what_was_spent(budgets, process, parts):
    await budgets.set(new_budget("default", DOLLAR, "usd", "month", scope="account", subject_id="ann"))
    billing = process()
    await spend(billing, 300_000_000)
    await spend(billing, 200_000_000, reserve=400_000_000)
    found = await standing(budgets)
    assert found.used == 500_000_000 == await sum_of_events(parts)
    assert found.used + found.held <= DOLLAR
    await billing.slices.tidy(everything=True)
    found = await standing(budgets)
    assert (found.used, found.held, found.left) == (500_000_000, 0, 500_000_000)


async def test_what_does_not_fit_is_refused_and_nothing_is_reserved(budgets, process):
    await budgets.set(new_budget("default", DOLLAR, "usd", "month"))
    billing = process()
    await spend(billing, 900_000_000)
    meter = await billing.meter(ANN)
    with pytest.raises(BudgetExceeded) as refused:
        await meter.hold(tokens=1, nano=200_000_000)
    assert refused.value.details["left"] == 0.1
    assert refused.value.details["limit"] == 1.0
    assert refused.value.details["resets_at"].endswith("01T00:00:00Z")
    assert "this tenant's limit of $1.00 for a month" in refused.value.message.lower()
    await spend(billing, 100_000_000)
    assert (await standing(budgets)).used == DOLLAR


async def test_another_process_sees_what_is_taken(budgets, process):
    await budgets.set(new_budget("default", DOLLAR, "usd", "total"))
    one, two = process(), process()
    meter = await one.meter(ANN)
    await meter.hold(tokens=1, nano=700_000_000)
    other = await two.meter(ANN)
    with pytest.raises(BudgetExceeded, match="other calls hold a part of it"):
        await other.hold(tokens=1, nano=400_000_000)
    await meter.settle(event(100_000_000))
    await one.slices.tidy(everything=True)
    await other.hold(tokens=1, nano=400_000_000)


async def test_many_at_once_never_pass_the_limit(budgets, process, parts):
    await budgets.set(new_budget("default", 100, "usd", "total"))
    billings = [process() for _ in range(4)]

    async def client(billing):
        passed = 0
        for _ in range(20):
            try:
                await spend(billing, 1, reserve=3)
            except BudgetExceeded:
                await asyncio.sleep(0)
                continue
            passed += 1
        return passed

    passed = sum(await asyncio.gather(*(client(billing) for billing in billings for _ in range(8))))
    for billing in billings:
        await billing.slices.tidy(everything=True)
    found = await standing(budgets)
    assert found.used == passed == await sum_of_events(parts) <= 100
    assert found.held == 0
    assert passed > 50


async def test_a_hard_limit_of_requests_answers_429(budgets, process):
    await budgets.set(new_budget("default", 2, "requests", "minute"))
    billing = process()
    await spend(billing, 0)
    await spend(billing, 0)
    with pytest.raises(QuotaExceeded) as refused:
        await spend(billing, 0)
    assert refused.value.status == 429
    assert 0 < refused.value.retry_after <= 60


async def test_a_limit_of_money_refuses_a_model_without_a_price(budgets, process):
    await budgets.set(new_budget("default", DOLLAR, "usd", "day"))
    meter = await process().meter(ANN)
    with pytest.raises(PriceUnknown):
        await meter.hold(tokens=1, nano=None)


async def test_a_soft_limit_refuses_nothing_and_says_so(budgets, process):
    await budgets.set(new_budget("default", 10, "usd", "day", hard=False))
    billing = process()
    meter = await billing.meter(ANN)
    await meter.hold(tokens=1, nano=50)
    assert not meter.hard
    assert [used for _, used in meter.overrun(50, 0)] == [50]
    await meter.settle(event(50))
    await billing.recorder.stop()
    found = await standing(budgets)
    assert (found.used, found.held) == (50, 0)


async def test_a_budget_of_a_key_counts_what_is_called_with_it(budgets, process):
    await budgets.set(new_budget("default", 10, "usd", "day", scope="key", subject_id="ann", key_name="openai_key"))
    billing = process()
    meter = await billing.meter(ANN)
    assert not meter.hard
    await meter.with_key("ann", "other_key")
    assert not meter.hard
    await meter.with_key("ann", "openai_key")
    assert meter.hard
    with pytest.raises(BudgetExceeded, match="This key's"):
        await meter.hold(tokens=1, nano=11)


async def test_a_changed_amount_holds_for_what_is_taken_next(budgets, process):
    await budgets.set(new_budget("default", 10, "usd", "day"))
    billing = process()
    await spend(billing, 10)
    changed = await budgets.set(new_budget("default", 25, "usd", "day"))
    billing.forget()
    await spend(billing, 10)
    with pytest.raises(BudgetExceeded):
        await spend(billing, 10)
    await budgets.remove("default", changed.id)
    billing.forget()
    await spend(billing, 1000)


async def test_a_budget_of_another_tenant_is_not_there(budgets):
    made = await budgets.set(new_budget("default", 10, "usd", "day"))
    with pytest.raises(BudgetNotFound):
        await budgets.remove("other", made.id)


async def test_what_is_not_used_is_given_back(budgets, process, monkeypatch):
    await budgets.set(new_budget("default", 100, "usd", "day"))
    billing = process()
    await spend(billing, 1, reserve=60)
    assert (await standing(budgets)).held == 59
    await billing.slices.tidy()
    assert (await standing(budgets)).held == 59
    monkeypatch.setattr(slices_module, "IDLE_S", 0.0)
    await billing.slices.tidy()
    assert (await standing(budgets)).held == 0
    await spend(billing, 1, reserve=99)


async def test_what_a_dead_process_held_counts_as_spent(budgets, process, parts, monkeypatch):
    monkeypatch.setattr(lease, "DEAD_S", -1.0)
    await budgets.set(new_budget("default", 100, "usd", "total", scope="account", subject_id="ann"))
    dead = process()
    await spend(dead, 5, reserve=40)
    running = await dead.meter(ANN)
    await running.hold(tokens=1, nano=30)
    assert await reaper.reap(parts.database) == 1
    found = await standing(budgets)
    assert (found.used, found.held) == (40, 0)
    assert await sum_of_events(parts) == 40
    assert await reaper.reap(parts.database) == 0


async def test_a_process_that_was_taken_for_dead_counts_nothing_twice(budgets, process, parts, monkeypatch):
    monkeypatch.setattr(lease, "DEAD_S", -1.0)
    await budgets.set(new_budget("default", 100, "usd", "total"))
    stalled = process()
    await spend(stalled, 5, reserve=40)
    running = await stalled.meter(ANN)
    await running.hold(tokens=1, nano=30)
    await reaper.reap(parts.database)
    await running.settle(event(30))
    found = await standing(budgets)
    assert found.used == 40 == await sum_of_events(parts)
    assert not await stalled.lease.renew()
    stalled.slices.drop()
    monkeypatch.setattr(lease, "DEAD_S", 10.0)
    await spend(stalled, 60)
    found = await standing(budgets)
    assert found.used == 100 == await sum_of_events(parts)


async def test_what_cost_more_than_was_held_by_the_dead_is_counted_too(budgets, process, parts, monkeypatch):
    monkeypatch.setattr(lease, "DEAD_S", -1.0)
    await budgets.set(new_budget("default", 100, "usd", "total"))
    stalled = process()
    running = await stalled.meter(ANN)
    await running.hold(tokens=1, nano=30)
    await reaper.reap(parts.database)
    await running.settle(event(45))
    assert (await standing(budgets)).used >= 45


async def test_a_lease_is_made_with_what_is_taken_under_it(budgets, process, parts):
    await budgets.set(new_budget("default", 100, "usd", "total"))
    billing = process()
    await spend(billing, 1)

    async def look(tx):
        return await tx.one(sql.LEASE, id_=billing.lease.id)

    assert await parts.database.read(look, ServerWork.BILLING) is not None


async def test_a_lease_that_only_stored_answers_need_is_renewed(process, parts):
    billing = process()

    async def work(tx):
        await billing.lease.hold(tx)

    await parts.database.write(work, ServerWork.BILLING)
    billing.lease.held()
    mine = billing.lease.id
    assert await billing.lease.renew()
    assert billing.lease.id == mine


async def test_a_lease_whose_making_was_undone_is_not_taken_for_made(process, parts):
    billing = process()

    async def work(tx):
        await billing.lease.hold(tx)
        raise BudgetNotFound("undone")

    with pytest.raises(BudgetNotFound):
        await parts.database.write(work, ServerWork.BILLING)
    mine = billing.lease.id
    assert await billing.lease.renew()
    assert billing.lease.id == mine
