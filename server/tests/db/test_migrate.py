"""The schema: made once, refused where it is not this version's, whoever comes first."""

import asyncio
import sqlite3

import pytest

from mesh_server.db import migrate
from mesh_server.db.engine import Database
from mesh_server.errors import StartupError


def change(path, statement):
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


@pytest.fixture
async def file(tmp_path):
    path = tmp_path / "mesh.db"
    await (await Database.open(f"sqlite:///{path}")).close()
    return path


async def test_a_second_start_changes_nothing(file):
    before = file.read_bytes()
    database = await Database.open(f"sqlite:///{file}")
    assert database.revision == migrate.REVISIONS[-1]
    await database.close()
    assert file.read_bytes() == before


async def test_a_schema_newer_by_one_script_is_run_on(file):
    change(file, "INSERT INTO schema_migrations VALUES ('9998', 'x', 0)")
    database = await Database.open(f"sqlite:///{file}")
    assert database.revision == "9998"
    await database.close()


async def test_a_schema_newer_by_two_scripts_is_refused(file):
    change(file, "INSERT INTO schema_migrations VALUES ('9998', 'x', 0), ('9999', 'x', 0)")
    with pytest.raises(StartupError, match="newer Mesh"):
        await Database.open(f"sqlite:///{file}")


async def test_a_changed_script_is_refused(file):
    change(file, "UPDATE schema_migrations SET checksum = 'another'")
    with pytest.raises(StartupError, match="another script"):
        await Database.open(f"sqlite:///{file}")


async def test_starts_at_the_same_time_make_one_schema(tmp_path):
    url = f"sqlite:///{tmp_path / 'mesh.db'}"
    opened = await asyncio.gather(*(Database.open(url) for _ in range(4)))
    for database in opened:
        await database.close()
    with sqlite3.connect(tmp_path / "mesh.db") as connection:
        assert connection.execute("SELECT count(*) FROM schema_migrations").fetchone() == (len(migrate.REVISIONS),)
    connection.close()


async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    import mesh_server.db.versions.v0001 as first

    monkeypatch.setattr(first, "_vault", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await Database.open(f"sqlite:///{tmp_path / 'mesh.db'}")
    with sqlite3.connect(tmp_path / "mesh.db") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


async def test_the_schema_has_what_the_tables_of_the_code_name(file):
    import mesh_server.accounts.models
    import mesh_server.vault.models  # noqa: F401 - registers its tables
    from mesh_server.db.schema import metadata

    with sqlite3.connect(file) as connection:
        for table in metadata.tables.values():
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
            assert columns == set(table.columns.keys()), table.name
    connection.close()
