"""What is SQLite's own: one file, one writer, one sentence for each thing that can be wrong with the file."""

import asyncio
import sqlite3

import pytest
from sqlalchemy.dialects import sqlite

from mesh_server.db import sqlite as sqlite_module
from mesh_server.db.engine import Database
from mesh_server.db.schema import Compiler
from mesh_server.db.sqlite_writer import SQLiteTransaction
from mesh_server.errors import DatabaseUnavailable, StartupError

from .conftest import _CREATE, ADD, ALL, US, add, everything


@pytest.fixture
def database_url(tmp_path):
    return f"sqlite:///{tmp_path / 'mesh.db'}"


async def test_writes_that_wait_together_are_committed_together(database, tmp_path):
    commits = []
    await database.write(add(0), US)
    before = (tmp_path / "mesh.db-wal").stat().st_size
    await asyncio.gather(*(database.write(add(number), US) for number in range(1, 200)))
    commits.append((tmp_path / "mesh.db-wal").stat().st_size - before)
    # a page and its header for each commit at the least: 200 commits could not fit
    assert commits[0] < 200 * 4096


async def test_few_statements_are_kept_prepared_for_whatever_number_of_rows():
    made = set()

    class Watched(sqlite3.Connection):
        def execute(self, text, *parameters):
            made.add(text)
            return super().execute(text, *parameters)

    connection = sqlite3.connect(":memory:", factory=Watched)
    connection.execute(_CREATE)
    tx = SQLiteTransaction(connection, Compiler(sqlite.dialect(paramstyle="named")))
    for count in range(1, 130):
        await tx.many(ADD, [{"id_": 1000 * count + number, "text_": "x"} for number in range(count)])
    assert len(await tx.all(ALL)) == sum(range(1, 130))
    assert len(made) < 12
    connection.close()


async def test_a_reader_that_can_not_be_opened_is_opened_by_the_next_read(database, monkeypatch):
    def none_left(_):
        raise sqlite3.OperationalError("unable to open database file")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_module, "_connect", none_left)
        for long in (False, True):
            with pytest.raises(DatabaseUnavailable):
                await database.read(everything, US, long=long)
    for long in (False, True):
        assert await database.read(everything, US, long=long) == []


async def test_a_unit_that_awaits_anything_else_is_refused(database):
    async def sleeping(tx):
        await tx.execute(ADD, id_=1, text_="x")
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="other than its transaction"):
        await database.write(sleeping, US)
    assert await database.read(everything, US) == []


async def test_a_read_sees_one_moment(database):
    seen = []

    async def slow(tx):
        first = await tx.all(ALL)
        ready.set()
        written.wait(5)
        return len(first), len(await tx.all(ALL))

    import threading

    ready, written = threading.Event(), threading.Event()
    reading = asyncio.ensure_future(database.read(slow, US))
    await asyncio.to_thread(ready.wait, 5)
    await database.write(add(1), US)
    written.set()
    seen.append(await reading)
    assert seen == [(0, 0)]


async def test_another_writers_lock_is_waited_for(database, tmp_path):
    other = sqlite3.connect(tmp_path / "mesh.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.ensure_future(database.write(add(1), US))
    await asyncio.sleep(0.05)
    assert not writing.done()
    other.execute("COMMIT")
    other.close()
    assert await writing == 1


async def test_a_file_that_is_no_database_is_one_sentence(tmp_path):
    (tmp_path / "mesh.db").write_bytes(b"no database" * 500)
    with pytest.raises(StartupError, match="damaged"):
        await Database.open(f"sqlite:///{tmp_path / 'mesh.db'}")


async def test_a_damaged_page_is_found_at_the_start(tmp_path):
    database = await Database.open(f"sqlite:///{tmp_path / 'mesh.db'}")
    await database.close()
    file = tmp_path / "mesh.db"
    content = bytearray(file.read_bytes())
    content[4096 : 4096 * 3] = b"\xff" * 8192
    file.write_bytes(content)
    with pytest.raises(StartupError, match="damaged"):
        await Database.open(f"sqlite:///{file}")


async def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(StartupError, match="data folder"):
        await Database.open(f"sqlite:///{tmp_path / 'missing' / 'mesh.db'}")
