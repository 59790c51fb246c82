"""The schema of PostgreSQL: by `migrate` alone, whoever comes first, with types that hold what SQLite holds."""

import asyncio
import re
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.dialects import sqlite

from mesh_server.db import migrate
from mesh_server.db.engine import Database
from mesh_server.db.postgres_dialect import SchemaDialect
from mesh_server.errors import StartupError

from ..postgres import OWNER, ROLE


@pytest.fixture
async def bare(cluster):
    """An empty database, its URL for the owner."""
    await cluster.drop(await cluster.create())  # the role is there
    name = f"bare_{uuid4().hex}"
    await execute(cluster.url("postgres", OWNER), f"CREATE DATABASE {name}")
    yield cluster.url(name, OWNER)
    await cluster.drop(name)


async def execute(url, statement):
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


async def test_a_start_does_not_migrate(bare):
    with pytest.raises(StartupError, match="mesh-server migrate"):
        await Database.open(bare)
    assert not await execute(bare, "SELECT 1 FROM information_schema.tables WHERE table_schema = 'public'")


async def test_migrations_at_the_same_time_make_one_schema(bare):
    done = await asyncio.gather(*(Database.migrate(bare, grant_to=ROLE) for _ in range(4)))
    assert set(done) == {migrate.REVISIONS[-1]}
    assert len(await execute(bare, "SELECT * FROM schema_migrations")) == len(migrate.REVISIONS)
    database = await Database.open(bare.replace(OWNER + ":", ROLE + ":"))
    await database.check()
    await database.close()


async def test_a_migration_that_fails_leaves_no_table_of_it(bare, monkeypatch):
    import mesh_server.db.versions.v0001 as first

    monkeypatch.setattr(first, "_vault", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await Database.migrate(bare)
    tables = await execute(bare, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    assert {row[0] for row in tables} <= {"schema_lock", "commit_markers"}


async def test_a_schema_newer_by_one_script_is_run_on_and_by_two_is_not(bare):
    await Database.migrate(bare)
    await execute(bare, "INSERT INTO schema_migrations VALUES ('9998', 'x', 0)")
    database = await Database.open(bare)
    assert database.revision == "9998"
    await database.check()
    await database.close()
    await execute(bare, "INSERT INTO schema_migrations VALUES ('9999', 'x', 0)")
    for use in (Database.open, Database.migrate):
        with pytest.raises(StartupError, match="newer Mesh"):
            await use(bare)


async def test_a_changed_script_is_refused(bare):
    await Database.migrate(bare)
    await execute(bare, "UPDATE schema_migrations SET checksum = 'another'")
    with pytest.raises(StartupError, match="another script"):
        await Database.open(bare)


@pytest.mark.parametrize("role", ['a"; DROP TABLE keys; --', "", "a b", "ü"])
async def test_what_is_no_role_gets_no_rights(bare, role):
    with pytest.raises(StartupError, match="--grant-to"):
        await Database.migrate(bare, grant_to=role)


async def test_a_role_that_is_not_there_is_told(bare):
    with pytest.raises(StartupError, match="createuser"):
        await Database.migrate(bare, grant_to="stranger")


async def test_a_role_without_rights_is_told(bare):
    await Database.migrate(bare)
    with pytest.raises(StartupError, match="lacks rights"):
        await Database.open(bare.replace(OWNER + ":", ROLE + ":"))


async def test_whole_numbers_have_64_bits_and_text_sorts_by_its_bytes(bare):
    await Database.migrate(bare)
    columns = await execute(
        bare,
        "SELECT table_name, column_name, data_type, collation_name, column_default FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name NOT IN ('commit_markers', 'schema_lock')",
    )
    assert len(columns) > 30
    for table, column, kind, collation, default in columns:
        assert kind not in {"integer", "smallint"}, (table, column)
        assert collation == ("C" if kind in {"character varying", "text"} else None), (table, column)
        assert default is None, f"{table}.{column} is filled by a sequence"


ADDITIVE = re.compile(r"CREATE TABLE |CREATE (UNIQUE )?INDEX |ALTER TABLE \S+ ADD COLUMN |INSERT INTO |UPDATE ")
#: No release needs an index to run.
TAKES_AWAY = {"DROP INDEX audit_actor;"}


@pytest.mark.parametrize("dialect", [sqlite.dialect(), SchemaDialect()], ids=["sqlite", "postgres"])
def test_every_script_only_adds(dialect):
    """The release before must go on running on it (docs/adr/0043); what only takes away is listed here by name."""
    for statement in migrate.statements(list(migrate.REVISIONS), dialect):
        assert ADDITIVE.match(statement) or statement in TAKES_AWAY, statement
        assert not re.search(r"\b(SERIAL|BIGSERIAL|TRIGGER)\b", statement)
        if "ADD COLUMN" in statement:
            assert "NOT NULL" not in statement or "DEFAULT" in statement
