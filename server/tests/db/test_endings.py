"""What units of work leave to the end of their transaction: written once for all, or nothing happened at all."""

import asyncio

import pytest

from mesh_server.db.schema import StatementFailed
from mesh_server.db.scope import ServerWork, Tenant
from mesh_server.errors import StorageReadOnly

from .conftest import ADD, US, add, everything

THEM = Tenant("them")


class Notes:
    """Adds a row for each item, and remembers what it was told."""

    def __init__(self, *, failing: int = 0) -> None:
        self.failing = failing
        self.groups: list[list[int]] = []
        self.settlements: list[bool] = []

    async def write(self, tx, _writer, items):
        if self.failing:
            self.failing -= 1
            raise StorageReadOnly("full", retry_after=1)
        self.groups.append(list(items))
        await tx.many(ADD, [{"id_": item, "text_": "left"} for item in items])

    def settled(self, _writer, *, committed):
        self.settlements.append(committed)


def leaving(notes, number, *, error=None, tenant=US):
    async def work(tx):
        tx.at_end(notes, number, tenant.tenant_id)
        if error is not None:
            raise error
        return number

    return work


async def test_what_is_left_is_written_once_for_all_that_wait_and_in_their_order(database):
    notes = Notes()
    units = [database.write(leaving(notes, number), US) for number in range(100)]
    assert await asyncio.gather(*units) == list(range(100))
    assert await database.read(everything, US) == list(range(100))
    assert [item for group in notes.groups for item in group] == list(range(100))
    assert len(notes.groups) < 50
    assert notes.settlements == [True] * len(notes.groups)


async def test_what_a_failing_unit_left_is_not_written(database):
    notes = Notes()
    units = [leaving(notes, number, error=LookupError() if number % 3 == 0 else None) for number in range(30)]
    told = await asyncio.gather(*(database.write(unit, US) for unit in units), return_exceptions=True)
    assert [isinstance(one, LookupError) for one in told] == [number % 3 == 0 for number in range(30)]
    assert await database.read(everything, US) == [number for number in range(30) if number % 3]


async def test_where_the_end_fails_nothing_happened(database):
    notes = Notes(failing=1)

    async def both(tx):
        await tx.execute(ADD, id_=1, text_="changed")
        tx.at_end(notes, 2, "us")

    with pytest.raises(StorageReadOnly):
        await database.write(both, US)
    assert await database.read(everything, US) == []
    assert notes.settlements == [False]
    await database.write(both, US)
    assert await database.read(everything, US) == [1, 2]


async def test_a_constraint_that_the_end_breaks_is_told_and_nothing_happened(database):
    notes = Notes()
    await database.write(add(5), US)
    with pytest.raises(Exception, match=r"constraint|UNIQUE"):
        await database.write(leaving(notes, 5), US)
    assert await database.read(everything, US) == [5]
    assert notes.settlements
    assert not any(notes.settlements)


async def test_a_reader_can_leave_nothing(database):
    with pytest.raises(RuntimeError, match="reading transaction"):
        await database.read(leaving(Notes(), 1), US)


async def test_nothing_is_left_in_another_tenants_name(database, database_url):
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite has no row policies")
    notes = Notes()
    with pytest.raises(StatementFailed):
        await database.write(leaving(notes, 1, tenant=THEM), US)
    await database.write(leaving(notes, 2, tenant=THEM), ServerWork.PURGE)
    assert await database.read(everything, US) == [2]


async def test_of_several_tenants_all_is_written_at_once(database):
    notes = Notes()
    tenants = [Tenant(f"t{number % 3}") for number in range(30)]
    await asyncio.gather(*(database.write(leaving(notes, n, tenant=who), who) for n, who in enumerate(tenants)))
    assert await database.read(everything, US) == list(range(30))
