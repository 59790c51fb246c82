"""What one worker leaves for the others, and what happens when it can't."""

import asyncio

from mesh_server.metrics import service, shared
from mesh_server.metrics.counts import Counts
from mesh_server.metrics.service import Metrics, before
from mesh_server.metrics.shared import Shared

from ..billing.conftest import event


def metrics(places, index, gauges=dict, totals=dict):
    return Metrics(Counts(lambda event: event.model, before(places, index)), totals, gauges, places, index)


async def text(one):
    return (await one.scrape(""))[0].decode()


async def test_a_scrape_of_any_worker_shows_what_the_others_left():
    places = Shared(2)
    one, two = metrics(places, 0), metrics(places, 1)
    one.counts.call(event(1))
    assert 'mesh_calls_total{model="gpt-x",outcome="ok",provider="openai",surface="mesh"} 1.0' in await text(one)
    two.counts.call(event(1))
    shown = await text(two)
    assert 'mesh_calls_total{model="gpt-x",outcome="ok",provider="openai",surface="mesh"} 2.0' in shown
    assert "mesh_workers 2.0" in shown


async def test_a_successor_counts_on_also_what_others_count():
    places = Shared(1)
    first = metrics(places, 0, totals=lambda: {"commits": 5})
    assert 'mesh_database_commits_total{worker="0"} 5.0' in await text(first)
    second = metrics(places, 0, totals=lambda: {"commits": 2})
    assert 'mesh_database_commits_total{worker="0"} 7.0' in await text(second)
    assert 'mesh_database_commits_total{worker="0"} 7.0' in await text(second)


async def test_a_worker_leaves_what_it_counted_by_itself_and_at_its_end(monkeypatch):
    monkeypatch.setattr(service, "LEAVE_S", 3600.0)
    places = Shared(2)
    one, two = metrics(places, 0), metrics(places, 1)
    await one.start()
    await asyncio.sleep(0)
    assert "mesh_workers 2.0" in await text(two)
    one.counts.call(event(1))
    assert "mesh_calls_total{" not in await text(two)
    await one.stop()
    assert "mesh_calls_total{" in await text(two)


async def test_a_part_that_does_not_tell_its_state_is_told_and_tried_again(monkeypatch, capsys):
    monkeypatch.setattr(service, "LEAVE_S", 0.0)
    asked = []

    def gauges():
        asked.append(1)
        if len(asked) == 1:
            raise RuntimeError("a defect")
        return {}

    places = Shared(1)
    one = metrics(places, 0, gauges)
    await one.start()
    for _ in range(10):
        await asyncio.sleep(0)
    assert places.read()[0]
    await one.stop()
    assert "a defect" in "".join(capsys.readouterr())


async def test_more_than_a_place_has_is_told_once_and_what_was_there_stays(monkeypatch, capsys):
    places = Shared(1)
    one = metrics(places, 0)
    one.counts.call(event(1))
    await text(one)
    monkeypatch.setattr(shared, "MOST_BYTES", 10)
    for _ in range(3):
        one._leave(places)
    assert "".join(capsys.readouterr()).count("metrics stand still") == 1
