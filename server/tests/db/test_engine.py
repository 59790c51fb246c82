"""Reading and writing on every database: what is acknowledged is there, what failed left nothing."""

import asyncio
import threading

import pytest

from mesh_server.db import engine
from mesh_server.db.engine import LONG_READS, Database
from mesh_server.db.schema import ConstraintBroken
from mesh_server.errors import DatabaseUnavailable, StartupError, StorageReadOnly

from .conftest import ADD, US, add, everything


async def test_what_was_written_is_read(database):
    assert await database.write(add(1), US) == 1
    assert await database.read(everything, US) == [1]


async def test_a_failing_unit_undoes_itself_and_no_other_of_its_group(database):
    async def failing(tx):
        await tx.execute(ADD, id_=100, text_="x")
        raise LookupError("mine alone")

    units = [add(number) for number in range(20)]
    results = await asyncio.gather(
        *(database.write(unit, US) for unit in (*units[:10], failing, *units[10:])), return_exceptions=True
    )
    assert [type(result) for result in results].count(LookupError) == 1
    assert await database.read(everything, US) == list(range(20))


async def test_a_broken_constraint_is_told_to_its_own_caller(database):
    results = await asyncio.gather(*(database.write(add(number), US) for number in (1, 1, 2)), return_exceptions=True)
    assert sum(isinstance(result, ConstraintBroken) for result in results) == 1
    assert await database.read(everything, US) == [1, 2]


async def test_a_reader_can_not_write(database):
    with pytest.raises(StorageReadOnly):
        await database.read(add(1), US)


async def test_long_reads_wait_for_each_other_and_no_short_one_for_them(database, database_url):
    in_threads = database_url.startswith("sqlite")
    released = threading.Event() if in_threads else asyncio.Event()
    begun, running, most = threading.Event(), [], []

    async def held(tx):
        running.append(tx)
        most.append(len(running))
        begun.set()
        if in_threads:
            released.wait(30)
        else:
            await released.wait()
        running.remove(tx)
        return await everything(tx)

    reading = [asyncio.ensure_future(database.read(held, US, long=True)) for _ in range(20)]
    assert await asyncio.to_thread(begun.wait, 30)
    await database.write(add(1), US)
    assert await asyncio.gather(*(database.read(everything, US) for _ in range(20))) == [[1]] * 20
    for given_up in reading[10:]:
        given_up.cancel()
    released.set()
    found = await asyncio.gather(*reading[:10])
    assert found[-1] == [1]
    assert max(most) <= LONG_READS


async def test_a_long_read_waits_for_its_turn_and_not_for_ever(monkeypatch):
    monkeypatch.setattr(engine, "LONG_WAIT_S", 0.01)
    turns = engine.Turns(1)
    async with turns.turn():
        with pytest.raises(DatabaseUnavailable, match="reports"):
            async with turns.turn():
                pass
    async with turns.turn():
        pass


async def test_a_caller_that_goes_away_takes_nothing_back(database):
    task = asyncio.ensure_future(database.write(add(1), US))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await database.write(add(2), US)
    found: list[int] = []
    for _ in range(500):  # several connections write, and nobody waits for the first one any more
        found = sorted(await database.read(everything, US))
        if found == [1, 2]:
            break
        await asyncio.sleep(0.02)
    assert found == [1, 2]


async def test_closing_finishes_what_waits_and_refuses_what_comes(database):
    writing = [asyncio.ensure_future(database.write(add(number), US)) for number in range(50)]
    await asyncio.sleep(0)
    await database.close()
    assert sorted(await asyncio.gather(*writing)) == list(range(50))
    with pytest.raises(DatabaseUnavailable):
        await database.write(add(99), US)
    await database.close()


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:///relative.db", "sqlite://", "", "x"])
async def test_an_address_that_is_none_is_one_sentence(url):
    with pytest.raises(StartupError, match="MESH_DATABASE_URL"):
        await Database.open(url)
