"""Units of work run in step on PostgreSQL: fewer round trips, and to each of them as if it were alone."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import bindparam, delete, func, select, update

from mesh_server.db.engine import Touched
from mesh_server.db.postgres_batch import changing, is_plain_insert, reading
from mesh_server.db.postgres_dialect import StatementDialect
from mesh_server.db.postgres_session import Job
from mesh_server.db.postgres_step import rounds
from mesh_server.db.schema import Compiler, ConstraintBroken
from mesh_server.db.scope import Tenant
from mesh_server.errors import InvalidRequest

from .conftest import ADD, US, add, everything, notes

ONE = select(notes.c.text, notes.c.id).where(notes.c.id == bindparam("id_"))
LOCKED = ONE.with_for_update()
UP_TO = select(notes.c.id).where(notes.c.id <= bindparam("id_")).order_by(notes.c.id.desc()).limit(2)
CHANGE = update(notes).where(notes.c.id == bindparam("id_")).values(text=bindparam("text_"))
DROP = delete(notes).where(notes.c.id == bindparam("id_"))
TAKE = DROP.returning(notes.c.text)


@pytest.fixture
def database_url(postgres_url):
    return postgres_url


@pytest.fixture
def round_trips(monkeypatch):
    """Count what is sent to PostgreSQL."""
    sent = []
    for name in ("execute", "fetch", "fetchrow", "executemany"):
        real = getattr(asyncpg.Connection, name)

        async def counted(connection, query, *arguments, real=real, **more):
            sent.append(query)
            return await real(connection, query, *arguments, **more)

        monkeypatch.setattr(asyncpg.Connection, name, counted)
    return sent


def changes(name):
    return Touched((str(name),), changed=True)


def together(database, units, touched, scope=US):
    """Run units that wait at the same time; `touched` makes what a unit touches of its number."""
    return asyncio.gather(
        *(database.write(unit, scope, touched(number)) for number, unit in enumerate(units)), return_exceptions=True
    )


def life(number):
    """A unit of every kind of statement."""

    async def work(tx):
        assert await tx.one(LOCKED, id_=number) is None
        await tx.execute(ADD, id_=number, text_=f"text {number}")
        assert tuple(await tx.one(ONE, id_=number)) == (f"text {number}", number)
        assert await tx.execute(CHANGE, id_=number, text_=None) == 1
        assert await tx.execute(CHANGE, id_=-number - 1, text_="x") == 0
        assert tuple(await tx.one(ONE, id_=number)) == (None, number)
        await tx.many(ADD, [{"id_": number + 1_000 * times, "text_": "many"} for times in (1, 2)])
        assert await tx.execute(DROP, id_=number + 1_000) == 1
        assert tuple(await tx.one(TAKE, id_=number + 2_000)) == ("many",)
        assert (await tx.all(UP_TO, id_=number))[0][0] == number
        return number

    return work


async def test_units_of_all_kinds_of_statements_get_each_its_own_answers(database, round_trips):
    await database.write(add(-100), US)
    del round_trips[:]
    assert await together(database, [life(number) for number in range(40)], changes) == list(range(40))
    assert await database.read(everything, US) == [-100, *range(40)]
    assert len(round_trips) < 40 * 11 / 2


async def test_a_unit_that_fails_before_it_changed_anything_fails_alone(database):
    runs = []

    def unit(number):
        async def work(tx):
            runs.append(number)
            if await tx.one(ONE, id_=number) is None and number % 4 == 0:
                raise LookupError(number)
            await tx.execute(ADD, id_=number, text_="x")

        return work

    told = await together(database, [unit(number) for number in range(32)], changes)
    assert [isinstance(one, LookupError) for one in told] == [number % 4 == 0 for number in range(32)]
    assert await database.read(everything, US) == [number for number in range(32) if number % 4]
    assert sorted(runs) == list(range(32))


async def test_a_unit_that_fails_after_it_changed_something_undoes_that_alone(database):
    def unit(number):
        async def work(tx):
            await tx.execute(ADD, id_=number, text_="x")
            if number == 7:
                raise LookupError(number)
            return number

        return work

    told = await together(database, [unit(number) for number in range(20)], changes)
    assert isinstance(told.pop(7), LookupError)
    assert told == [number for number in range(20) if number != 7]
    assert await database.read(everything, US) == told


async def test_a_broken_constraint_and_a_bad_text_are_told_to_their_own_callers(database):
    await database.write(add(3), US)
    units = [add(number, "a\0b" if number == 5 else "x") for number in range(10)]
    told = await together(database, units, changes)
    assert isinstance(told[3], ConstraintBroken)
    assert isinstance(told[5], InvalidRequest)
    assert [one for one in told if isinstance(one, int)] == [0, 1, 2, 4, 6, 7, 8, 9]
    assert await database.read(everything, US) == [0, 1, 2, 3, 4, 6, 7, 8, 9]


async def test_of_many_who_change_the_same_none_is_lost(database):
    await database.write(add(1, "0"), US)

    async def count(tx):
        row = await tx.one(LOCKED, id_=1)
        await tx.execute(CHANGE, id_=1, text_=str(int(row[0]) + 1))

    assert await together(database, [count] * 60, lambda _: changes("same")) == [None] * 60
    assert (await database.read(lambda tx: tx.one(ONE, id_=1), US))[0] == "60"


async def test_a_reader_sees_the_whole_of_a_change_of_the_same_or_nothing_of_it(database):
    for number in (1, 2):
        await database.write(add(number, "0"), US)

    async def read(tx):
        return [(await tx.one(ONE, id_=number))[0] for number in (1, 2)]

    async def change(tx):
        for number in (1, 2):
            text = (await tx.one(LOCKED, id_=number))[0]
            await tx.execute(CHANGE, id_=number, text_=str(int(text) + 1))

    units = [change if number % 3 == 0 else read for number in range(60)]
    told = await together(database, units, lambda number: Touched(("same",), changed=number % 3 == 0))
    for one in told:
        assert one is None or one[0] == one[1]


async def test_tenants_of_one_group_are_kept_apart(database):
    who = select(func.current_setting("mesh.tenant"))

    def asking(number):
        async def work(tx):
            before = (await tx.one(who))[0]
            await tx.execute(ADD, id_=number, text_="x")
            return before, (await tx.one(who))[0]

        return work

    scopes = [Tenant(f"t{number % 5}'; --") for number in range(60)]
    told = await asyncio.gather(
        *(database.write(asking(number), scope, changes(number)) for number, scope in enumerate(scopes))
    )
    assert told == [(scope.tenant_id, scope.tenant_id) for scope in scopes]


async def test_a_unit_that_awaits_anything_else_is_refused_and_the_others_are_done(database):
    async def sleeping(_tx):
        await asyncio.sleep(0)

    told = await together(database, [add(0), sleeping, add(2), add(3)], changes)
    assert [type(one) for one in told] == [int, RuntimeError, int, int] or told == [0, None, 2, 3]
    assert await database.read(everything, US) == [0, 2, 3]


async def test_units_that_say_nothing_of_what_they_touch_run_beside_the_others(database):
    units = [database.write(add(number), US, changes(number) if number % 2 else None) for number in range(60)]
    assert await asyncio.gather(*units) == list(range(60))
    assert await database.read(everything, US) == list(range(60))


async def test_rounds_hold_nothing_that_a_neighbour_changes_and_keep_the_order():
    async def nothing(_tx):
        return None

    def job(what, *, changed):
        return Job(nothing, "us", Touched((what,), changed=changed))

    jobs = [job("a", changed=False), job("a", changed=False), job("b", changed=True), job("a", changed=True)]
    jobs += [job("c", changed=True), job("a", changed=False), job("b", changed=False)]
    found = rounds(jobs)
    assert [job for some in found for job in some] == jobs
    assert [len(some) for some in found] == [3, 2, 2]


# --- the texts ---

TEXTS = Compiler(StatementDialect())


@pytest.mark.parametrize(
    "statement",
    [
        TAKE,
        ADD,
        CHANGE.values(text=select(notes.c.text).where(notes.c.id == bindparam("other_")).scalar_subquery()),
        update(notes).values(text=bindparam("text_")),
    ],
)
def test_what_can_not_be_joined_is_run_by_itself(statement):
    assert changing(TEXTS.text(statement)) is None


def test_a_batch_reads_its_parameters_from_arrays():
    assert "unnest($1::BIGINT[], $2::BIGINT[]) WITH ORDINALITY" in reading(TEXTS.text(UP_TO)).text
    assert "notes.id = batch.p2" in changing(TEXTS.text(CHANGE)).text
    assert changing(TEXTS.text(DROP)).text.startswith("WITH done AS (DELETE FROM notes USING unnest(")


def test_a_statement_without_typed_parameters_has_no_batch():
    assert reading("SELECT 1") is None
    with pytest.raises(ValueError, match="numbered"):
        reading("SELECT $2::BIGINT")


def test_only_an_insert_of_one_row_is_plain():
    assert is_plain_insert(TEXTS.text(ADD))
    assert not is_plain_insert("INSERT INTO notes (id) VALUES ($1::BIGINT) ON CONFLICT DO NOTHING")
    assert not is_plain_insert("INSERT INTO notes (id) VALUES ($1::BIGINT) RETURNING id")
    assert not is_plain_insert("INSERT INTO notes (id) SELECT 1")
