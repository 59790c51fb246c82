"""PostgreSQL's own: connections that break, commits whose answer is lost, transactions that meet."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import update

from mesh_server.db import postgres_writer
from mesh_server.db.engine import Database
from mesh_server.db.scope import Tenant
from mesh_server.errors import DatabaseUnavailable, InvalidRequest, OutcomeUnknown, StartupError

from .conftest import ADD, ALL, US, add, everything, make_notes, notes


@pytest.fixture
def database_url(postgres_url):
    return postgres_url


def owner_of(url):
    return url.replace("//mesh_app:", "//postgres:")


async def break_connections(url):
    """End every connection to the database but this one, as its restart would."""
    owner = await asyncpg.connect(owner_of(url))
    await owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await owner.close()


async def texts(tx):
    return [tuple(row) for row in await tx.all(ALL)]


# --- connections ---


async def test_a_broken_connection_is_replaced_without_anybody_noticing(database, database_url):
    await database.write(add(1), US)
    for number in range(2, 5):
        await break_connections(database_url)
        await database.write(add(number), US)
        await break_connections(database_url)
        assert await database.read(everything, US) == list(range(1, number + 1))


async def test_a_unit_whose_connection_breaks_before_the_commit_is_run_again_and_done_once(database, database_url):
    runs = []

    async def work(tx):
        await tx.execute(ADD, id_=1, text_="x")
        runs.append(1)
        if len(runs) == 1:
            await break_connections(database_url)
            await tx.all(ALL)

    await database.write(work, US)
    assert len(runs) == 2
    assert await database.read(everything, US) == [1]


async def test_when_every_connection_is_taken_a_reader_is_told_to_come_back(database_url, monkeypatch):
    monkeypatch.setattr("mesh_server.db.postgres.ACQUIRE_S", 0.2)
    database = await Database.open(database_url, connections=2)
    release = asyncio.Event()

    async def slow(tx):
        await release.wait()

    busy = [asyncio.ensure_future(database.read(slow, US)) for _ in range(2)]
    await asyncio.sleep(0.05)
    with pytest.raises(DatabaseUnavailable) as told:
        await database.read(everything, US)
    assert told.value.retry_after
    release.set()
    await asyncio.gather(*busy)
    await database.close()


async def test_a_reader_that_goes_away_leaves_a_usable_pool(database_url):
    database = await Database.open(database_url, connections=2)
    await make_notes(database_url)

    async def slow(tx):
        await tx.all(ALL)
        await asyncio.sleep(60)

    for _ in range(6):
        reading = asyncio.ensure_future(database.read(slow, US))
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert await database.read(everything, US) == []
    await database.close()


async def test_one_writer_that_is_asked_again_the_moment_it_is_done_never_sleeps(database_url):
    database = await Database.open(database_url, connections=2)
    await make_notes(database_url)
    async with asyncio.timeout(20):
        for number in range(100):
            await database.write(add(number), US)
    assert len(await database.read(everything, US)) == 100
    await database.close()


# --- a commit whose answer is lost ---


class Lost:
    """Breaks the connection at a commit: before it reaches PostgreSQL, or after it was done."""

    def __init__(self, monkeypatch, *, done: bool) -> None:
        self.times = 0
        real = asyncpg.Connection.execute

        async def execute(connection, query, *args, **kwargs):
            if query.endswith("COMMIT") and "commit_markers" in query and not self.times:
                self.times += 1
                if done:
                    await real(connection, query)
                connection.terminate()
                raise ConnectionResetError
            return await real(connection, query, *args, **kwargs)

        monkeypatch.setattr(asyncpg.Connection, "execute", execute)


def counted(runs):
    async def work(tx):
        runs.append(1)
        await tx.execute(ADD, id_=len(runs), text_="x")
        return len(runs)

    return work


async def test_a_commit_that_happened_though_its_answer_was_lost_is_a_success_and_not_repeated(database, monkeypatch):
    lost, runs = Lost(monkeypatch, done=True), []
    assert await database.write(counted(runs), US) == 1
    assert (lost.times, runs) == (1, [1])
    assert await database.read(everything, US) == [1]


async def test_a_commit_that_did_not_happen_is_run_again(database, monkeypatch):
    lost, runs = Lost(monkeypatch, done=False), []
    assert await database.write(counted(runs), US) == 2
    assert lost.times == 1
    assert await database.read(everything, US) == [2]


async def test_a_commit_that_can_not_be_looked_up_is_told_as_unknown(database, monkeypatch):
    monkeypatch.setattr(postgres_writer, "RESOLVE_S", 0.3)
    Lost(monkeypatch, done=True)

    async def away(_marker):
        raise ConnectionRefusedError

    monkeypatch.setattr(database._writers[0], "_claim", away)
    with pytest.raises(OutcomeUnknown):
        await database.write(add(1), US)


async def test_what_was_given_up_can_not_be_committed_later(database, database_url):
    """The lost transaction is still at work when its marker is claimed: then it is the one that fails."""
    late = await asyncpg.connect(database_url)
    await late.execute(postgres_writer.begin_with(postgres_writer.BEGIN_WRITE, "us"))
    await late.execute("INSERT INTO notes (id, text) VALUES (1, 'late')")
    assert not await database._writers[0]._committed("ab" * 16)
    with pytest.raises(asyncpg.UniqueViolationError):
        await late.execute(postgres_writer._commit("ab" * 16))
    await late.close()
    assert await database.read(everything, US) == []


async def test_claiming_waits_for_a_commit_that_is_under_way(database, database_url):
    late = await asyncpg.connect(database_url)
    await late.execute(postgres_writer.begin_with(postgres_writer.BEGIN_WRITE, "us"))
    await late.execute("INSERT INTO notes (id, text) VALUES (1, 'late')")
    await late.execute(postgres_writer._commit("cd" * 16).removesuffix("; COMMIT"))
    asking = asyncio.ensure_future(database._writers[0]._committed("cd" * 16))
    await asyncio.sleep(0.2)
    assert not asking.done()
    await late.execute("COMMIT")
    assert await asking
    await late.close()


async def test_old_markers_are_removed_and_young_ones_kept(database, monkeypatch):
    from mesh_server.ids import now_us

    async def markers():
        async with database._pool.connection() as connection:
            return await connection.fetchval("SELECT count(*) FROM commit_markers")

    await database.write(add(1), US)
    await database._writers[0]._sweep()
    assert await markers() == 1
    monkeypatch.setattr(postgres_writer, "now_us", lambda: now_us() + 3601 * 1_000_000)
    await database._writers[0]._sweep()
    assert await markers() == 0


# --- transactions that meet ---


async def test_of_many_who_change_the_same_row_none_is_lost(database):
    await database.write(add(1, "0"), US)

    async def count(tx):
        (row,) = await tx.all(ALL)
        await tx.execute(update(notes).values(text=str(int(row[1]) + 1)))

    await asyncio.gather(*(database.write(count, US) for _ in range(40)))
    assert await database.read(texts, US) == [(1, "40")]


async def test_two_processes_that_change_the_same_row_lose_nothing(database, database_url):
    other = await Database.open(database_url)
    await database.write(add(1, "0"), US)

    async def count(tx):
        (row,) = await tx.all(ALL)
        await tx.execute(update(notes).values(text=str(int(row[1]) + 1)))

    await asyncio.gather(*(each.write(count, US) for _ in range(15) for each in (database, other)))
    assert await database.read(texts, US) == [(1, "30")]
    await other.close()


async def test_a_deadlock_is_resolved_by_running_again(database, database_url):
    other = await Database.open(database_url)
    for number in (1, 2):
        await database.write(add(number, "0"), US)
    met = asyncio.Barrier(2)
    first = [True, True]

    def crossing(mine, theirs, place):
        async def work(tx):
            await tx.execute(update(notes).where(notes.c.id == mine).values(text=notes.c.text + "x"))
            if first[place]:
                first[place] = False
                await met.wait()
            await tx.execute(update(notes).where(notes.c.id == theirs).values(text=notes.c.text + "x"))

        return work

    await asyncio.gather(database.write(crossing(1, 2, 0), US), other.write(crossing(2, 1, 1), US))
    assert await database.read(texts, US) == [(1, "0xx"), (2, "0xx")]
    await other.close()


async def test_somebody_who_never_ends_his_transaction_blocks_no_one_for_ever(database, database_url, monkeypatch):
    monkeypatch.setattr(postgres_writer, "LOCK_S", 1)
    await database.write(add(1), US)
    stuck = await asyncpg.connect(owner_of(database_url))
    await stuck.execute("BEGIN; UPDATE notes SET text = 'stuck'")

    async def change(tx):
        await tx.execute(update(notes).values(text="new"))

    with pytest.raises(DatabaseUnavailable, match="lock"):
        await database.write(change, US)
    await stuck.close()
    await database.write(change, US)


async def test_a_statement_that_takes_too_long_is_ended(database, database_url, monkeypatch):
    from sqlalchemy import func, select

    monkeypatch.setattr(postgres_writer, "STATEMENT_S", 1)
    sleep = select(func.pg_sleep(30))
    with pytest.raises(DatabaseUnavailable, match="too long"):
        await database.read(lambda tx: tx.all(sleep), US)


async def test_many_tenants_of_one_group_are_kept_apart(database):
    """Closures that share a transaction see each its own tenant, whoever failed before them."""
    from sqlalchemy import func, select

    who = select(func.current_setting("mesh.tenant"))

    def asking(number):
        async def work(tx):
            await tx.execute(ADD, id_=number, text_="x")
            if number % 7 == 0:
                raise LookupError(number)
            return (await tx.one(who))[0]

        return work

    scopes = [Tenant(f"t{number % 5}'; --") for number in range(1, 60)]
    told = await asyncio.gather(
        *(database.write(asking(number), scope) for number, scope in enumerate(scopes, 1)), return_exceptions=True
    )
    for number, (scope, answer) in enumerate(zip(scopes, told, strict=True), 1):
        assert isinstance(answer, LookupError) if number % 7 == 0 else answer == scope.tenant_id
    assert await database.read(everything, US) == [number for number in range(1, 60) if number % 7]


# --- what the caller is told ---


async def test_a_text_that_postgresql_can_not_hold_is_the_callers_error(database):
    with pytest.raises(InvalidRequest, match=r"U\+0000"):
        await database.write(add(1, "a\0b"), US)


async def test_no_value_is_in_the_text_of_a_failure(database):
    needle = "needle-in-the-haystack"
    await database.write(add(1, needle), US)
    for work in (add(1, needle), add(needle, "x"), add(2, [needle])):
        with pytest.raises(Exception) as told:  # noqa: PT011 - whatever it is, it shows nothing
            await database.write(work, US)
        shown: BaseException | None = told.value
        while shown is not None:
            assert needle not in f"{shown} {shown!r}"
            shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda url: url.replace("@/mesh_", "@/absent_"), "There is no database"),
        (lambda url: url.replace("//mesh_app:", "//nobody:"), "refuses the user name"),
        (lambda url: url + "-absent", "can't be used"),
        (lambda url: "postgresql://u:pass@word@127.0.0.1/x", "percent-encoded"),
        (lambda url: "postgresql://u:pa/ss@word:x/y", "percent-encoded"),
        (lambda url: "postgresql://u:password@127.0.0.1:1/x", "can't be used"),
        (lambda url: "postgresql://u:password@127.0.0.1/x?sslmode=perhaps", "sslmode"),
        (lambda url: "postgresql://u:password@127.0.0.1/x?sslmode=verify-full&sslrootcert=/absent", "sslmode|used"),
        (lambda url: url + "&prepared_statements=perhaps", "on or off"),
    ],
)
async def test_a_database_that_can_not_be_used_is_one_sentence_without_its_password(database_url, change, sentence):
    with pytest.raises(StartupError, match=sentence) as told:
        await Database.open(change(database_url))
    assert "pass" not in told.value.message.replace("PASSWORD", "").replace("password of", "").replace("a password", "")
    assert told.value.__cause__ is None


async def test_statements_need_not_stay_prepared(database_url):
    database = await Database.open(database_url + "&prepared_statements=off")
    await make_notes(database_url)
    await asyncio.gather(*(database.write(add(number), US) for number in range(20)))
    assert await database.read(everything, US) == list(range(20))
    await database.close()


async def test_one_process_writes_one_transaction_at_a_time_and_runs_no_unit_twice(database):
    """All units of a process move the head of its audit chain: side by side they would lose against each other."""
    inside = peak = runs = 0

    async def move_the_head(tx):
        nonlocal inside, peak, runs
        inside, runs = inside + 1, runs + 1
        peak = max(peak, inside)
        await tx.execute(update(notes).where(notes.c.id == 1).values(text="moved"))
        inside -= 1

    await database.write(add(1), US)
    await asyncio.gather(*(database.write(move_the_head, US) for _ in range(300)))
    assert (peak, runs) == (1, 300)
