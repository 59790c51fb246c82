"""A lost commit, a lease that others ended, a defect: no more is spent than was taken, nothing is held for ever."""

import asyncio

import pytest

from mesh_server.billing import lease, reaper
from mesh_server.billing import slices as slices_module
from mesh_server.billing import statements as sql
from mesh_server.billing.budgets import new_budget
from mesh_server.billing.service import Billing
from mesh_server.db.scope import ServerWork
from mesh_server.errors import DatabaseUnavailable, OutcomeUnknown

from .conftest import ANN, event


async def spend(billing, cost, *, reserve=None):
    meter = await billing.meter(ANN)
    await meter.hold(tokens=1, nano=reserve or cost)
    await meter.settle(event(cost))


async def standing(budgets):
    (found,) = await budgets.of_tenant("default")
    return found


async def leases_of(parts):
    async def look(tx):
        return [row[0] for row in await tx.all(sql.DEAD_LEASES, now_=2**62)]

    return await parts.database.read(look, ServerWork.BILLING)


def losing(database, after):
    """Return a `write` that commits or does not, and never tells which."""
    write = type(database).write

    async def lost(work, scope):
        if after:
            await write(database, work, scope)
        raise OutcomeUnknown("the connection was lost at the commit")

    return lost


@pytest.mark.parametrize("committed", [True, False])
async def test_what_may_have_been_given_back_is_not_spent(budgets, process, parts, monkeypatch, committed):
    await budgets.set(new_budget("default", 100, "usd", "total"))
    billing = process()
    await spend(billing, 1, reserve=60)
    monkeypatch.setattr(slices_module, "IDLE_S", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(parts.database, "write", losing(parts.database, committed))
        with pytest.raises(OutcomeUnknown):
            await billing.slices.tidy()
    (slice_,) = billing.slices._slices.values()
    assert slice_.free == 0
    await billing.slices.tidy(everything=True)
    found = await standing(budgets)
    assert (found.used, found.held, found.left) == (1, 0, 99)


async def test_what_was_surely_not_given_back_is_spent_on(budgets, process, parts, monkeypatch):
    await budgets.set(new_budget("default", 100, "usd", "total"))
    billing = process()
    await spend(billing, 1, reserve=60)

    async def unavailable(_work, _scope):
        raise DatabaseUnavailable("not now")

    monkeypatch.setattr(slices_module, "IDLE_S", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(parts.database, "write", unavailable)
        with pytest.raises(DatabaseUnavailable):
            await billing.slices.tidy()
    (slice_,) = billing.slices._slices.values()
    assert slice_.free == 59


async def test_nothing_is_taken_under_a_lease_that_others_ended(budgets, process, parts, monkeypatch):
    """What is taken under it would be found by nobody, and be held for ever."""
    monkeypatch.setattr(lease, "DEAD_S", -1.0)
    await budgets.set(new_budget("default", 100, "usd", "total"))
    stalled = process()
    await spend(stalled, 10)
    await reaper.reap(parts.database)
    with pytest.raises(DatabaseUnavailable) as refused:
        await spend(stalled, 20)
    assert refused.value.retry_after
    monkeypatch.setattr(lease, "DEAD_S", 10.0)
    assert not await stalled.lease.renew()
    stalled.slices.drop()
    await spend(stalled, 20)
    await stalled.slices.tidy(everything=True)
    found = await standing(budgets)
    assert (found.used, found.held) == (30, 0)


async def test_a_call_of_before_takes_nothing_under_the_lease_of_after(budgets, process, parts, monkeypatch):
    monkeypatch.setattr(lease, "DEAD_S", -1.0)
    budget = await budgets.set(new_budget("default", 100, "usd", "total"))
    stalled = process()
    await spend(stalled, 10)
    before = stalled.slices.of(budget)
    await reaper.reap(parts.database)
    assert not await stalled.lease.renew()
    with pytest.raises(DatabaseUnavailable):
        await stalled.slices.reserve(before, 50)
    assert (await standing(budgets)).held == 0


async def test_a_lease_is_renewed_whatever_it_was_made_for(parts):
    """A stored answer or a soft limit need it, too: without renewal others would take its process for dead."""
    billing = Billing(parts.database)
    await parts.database.write(billing.lease.hold, ServerWork.BILLING)
    assert await billing.lease.renew()

    async def look(tx):
        return await tx.one(sql.LEASE, id_=billing.lease.id)

    before = (await parts.database.read(look, ServerWork.BILLING))[0]
    await asyncio.sleep(0.01)
    await billing.lease.renew()
    assert (await parts.database.read(look, ServerWork.BILLING))[0] > before


async def test_a_lease_that_was_never_committed_is_not_missed(parts):
    billing = Billing(parts.database)

    async def undone(tx):
        await billing.lease.hold(tx)
        raise ValueError("undone")

    with pytest.raises(ValueError, match="undone"):
        await parts.database.write(undone, ServerWork.BILLING)
    mine = billing.lease.id
    assert await billing.lease.renew()
    assert billing.lease.id == mine


async def test_a_process_that_ends_while_a_call_runs_leaves_its_lease_to_be_found(budgets, parts, monkeypatch):
    await budgets.set(new_budget("default", 100, "usd", "total"))
    billing = Billing(parts.database)
    await billing.start()
    meter = await billing.meter(ANN)
    await meter.hold(tokens=1, nano=40)
    await billing.stop()
    assert await leases_of(parts) == [billing.lease.id]
    now = lease.now_us
    monkeypatch.setattr(reaper, "now_us", lambda: now() + 60_000_000)
    assert await reaper.reap(parts.database) == 1
    found = await standing(budgets)
    assert (found.used, found.held) == (40, 0)


async def test_a_process_that_ends_in_order_leaves_nothing(budgets, parts):
    await budgets.set(new_budget("default", 100, "usd", "total"))
    billing = Billing(parts.database)
    await billing.start()
    await spend(billing, 5, reserve=40)
    await billing.stop()
    assert await leases_of(parts) == []
    found = await standing(budgets)
    assert (found.used, found.held) == (5, 0)


async def test_a_soft_limit_counts_on_after_the_process_was_taken_for_dead(budgets, process, parts, monkeypatch):
    monkeypatch.setattr(lease, "DEAD_S", -1.0)
    await budgets.set(new_budget("default", 10, "usd", "day", hard=False))
    stalled = process()
    for _ in range(3):
        meter = await stalled.meter(ANN)
        await meter.settle(event(7), also=_nothing)
        await reaper.reap(parts.database)
        await stalled.lease.renew()
    assert (await standing(budgets)).used == 21


async def _nothing(_tx):
    return None


async def test_a_defect_in_looking_after_does_not_end_it(parts, monkeypatch):
    monkeypatch.setattr("mesh_server.billing.service.RENEW_S", 0.0)
    seen = []

    async def broken(_database):
        seen.append(1)
        raise KeyError("a defect")

    monkeypatch.setattr(reaper, "reap", broken)
    billing = Billing(parts.database)
    await billing.start()
    while len(seen) < 3:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)
    await billing.stop()


async def test_an_event_that_can_not_be_written_holds_no_other_up(budgets, process):
    await budgets.set(new_budget("default", 100, "usd", "total"))
    billing = process()
    meter = await billing.meter(ANN)
    await meter.hold(tokens=1, nano=5)
    twice = event(5)
    await meter.settle(twice)
    good, bad = await billing.meter(ANN), await billing.meter(ANN)
    await good.hold(tokens=1, nano=3)
    await bad.hold(tokens=1, nano=4)
    results = await asyncio.gather(
        good.settle(event(3)), bad.settle(event(4, id="x" * 5, surface=None)), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], Exception)
    assert (await standing(budgets)).used == 8
