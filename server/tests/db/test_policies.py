"""Row-level security: without the right tenant there are no rows, even for a statement that forgot to ask for one."""

import ast
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import func, insert, select, text, update

import mesh_server
from mesh_server.db.engine import Database
from mesh_server.db.schema import StatementFailed, metadata
from mesh_server.db.scope import ServerWork, Tenant, setting
from mesh_server.vault.models import NewValue, keys, tenant_keys

US, THEM = Tenant("us"), Tenant("them")


@pytest.fixture
async def database(postgres_url):
    opened = await Database.open(postgres_url)
    yield opened
    await opened.close()


def row(tenant, name="1"):
    async def work(tx):
        values = {"tenant_id": tenant, "id": name, "kek_id": "k", "wrapped": b"w", "created_at": 1}
        await tx.execute(insert(tenant_keys).values(**values))

    return work


async def tenants(tx):
    return sorted(found[0] for found in await tx.all(select(tenant_keys.c.tenant_id)))


async def test_a_statement_without_a_tenant_sees_its_own_alone(database):
    await database.write(row("us"), US)
    await database.write(row("them"), THEM)
    assert await database.read(tenants, US) == ["us"]
    assert await database.read(tenants, THEM) == ["them"]
    assert await database.read(tenants, Tenant("nobody")) == []


async def test_the_servers_named_work_sees_all(database):
    await database.write(row("us"), US)
    await database.write(row("them"), THEM)
    assert await database.read(tenants, ServerWork.PURGE) == ["them", "us"]


async def test_a_row_can_not_be_written_for_another_tenant(database):
    with pytest.raises(StatementFailed):
        await database.write(row("them"), US)
    assert await database.read(tenants, ServerWork.PURGE) == []


async def test_a_row_can_not_be_moved_to_another_tenant_or_taken_from_it(database):
    await database.write(row("us"), US)
    move = update(tenant_keys).values(tenant_id="them")
    with pytest.raises(StatementFailed):
        await database.write(lambda tx: tx.execute(move), US)
    assert await database.write(lambda tx: tx.execute(update(tenant_keys).values(kek_id="x")), THEM) == 0


async def test_a_connection_that_says_nothing_sees_nothing(database, postgres_url):
    await database.write(row("us"), US)
    connection = await asyncpg.connect(postgres_url)
    assert await connection.fetchval("SELECT count(*) FROM tenant_keys") == 0
    await connection.close()


async def test_the_tenant_does_not_outlive_its_transaction(database):
    await database.write(row("us"), US)
    async with database._pool.connection() as connection:
        for _ in range(3):
            assert await connection.fetchval("SELECT count(*) FROM tenant_keys") == 0


async def test_the_owner_of_the_tables_is_bound_too(database, postgres_url):
    await database.write(row("us"), US)
    admin = await asyncpg.connect(postgres_url.replace("//mesh_app:", "//postgres:"))
    await admin.execute("CREATE ROLE landlord NOBYPASSRLS; ALTER TABLE tenant_keys OWNER TO landlord")
    try:
        await admin.execute("SET ROLE landlord")
        assert await admin.fetchval("SELECT count(*) FROM tenant_keys") == 0
    finally:
        await admin.execute("RESET ROLE; REASSIGN OWNED BY landlord TO postgres; DROP OWNED BY landlord")
        await admin.execute("DROP ROLE landlord")
        await admin.close()


async def test_every_table_with_tenants_has_its_policy_and_the_role_can_not_change_it(postgres_url):
    connection = await asyncpg.connect(postgres_url)
    with_tenants = await connection.fetch(
        "SELECT table_name::text FROM information_schema.columns WHERE column_name = 'tenant_id' "
        "AND table_schema = 'public'"
    )
    secured = await connection.fetch(
        "SELECT c.relname::text FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid "
        "WHERE c.relrowsecurity AND c.relforcerowsecurity"
    )
    assert {r[0] for r in with_tenants} == {r[0] for r in secured}
    assert {table.name for table in metadata.tables.values() if "tenant_id" in table.c} <= {r[0] for r in secured}
    for statement in (
        "ALTER TABLE keys DISABLE ROW LEVEL SECURITY",
        "DROP POLICY mesh_tenant ON keys",
        "DROP TABLE keys",
        "CREATE TABLE mine (id BIGINT)",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_a_key_of_another_tenant_is_not_there_even_where_the_query_forgot_the_tenant(
    tmp_path, postgres_url, monkeypatch
):
    from mesh_server.accounts.models import SCOPES, Principal
    from mesh_server.errors import KeyNotFound
    from mesh_server.vault import statements

    from ..conftest import open_parts

    parts = await open_parts(tmp_path, postgres_url)
    ann, eve = Principal("us", "same-id", None, SCOPES), Principal("them", "same-id", None, SCOPES)
    await parts.vault.put(ann, "a", NewValue(value=b"secret", is_text=True))
    forgetful = statements.OPEN.with_only_columns(*statements.OPEN.selected_columns, maintain_column_froms=True)
    forgetful = forgetful.where(text("true"))
    forgetful._where_criteria = tuple(part for part in forgetful._where_criteria if "tenant_" not in str(part))
    monkeypatch.setattr(statements, "OPEN", forgetful)
    with pytest.raises(KeyNotFound):
        await parts.vault.get(eve, "a")
    assert await parts.database.read(lambda tx: tx.one(select(func.count()).select_from(keys)), eve)
    await parts.database.close()


# --- it can't be forgotten ---


@pytest.mark.parametrize("name", ["", "*", "*purge"])
def test_no_tenant_has_the_name_of_the_servers_work(name):
    with pytest.raises(ValueError, match="no tenant"):
        setting(Tenant(name))


def test_the_ways_around_the_policies_are_those_that_this_list_names():
    """A new way around is a decision: whoever makes one writes it here, too."""
    allowed = {
        "accounts/service.py": {"TOKEN_LOOKUP", "ANY_TOKEN"},
        "audit/retention.py": {"PURGE"},
        "audit/service.py": {"AUDIT", "READINESS"},
        "audit/verify.py": {"VERIFY"},
        "backup.py": {"BACKUP", "RESTORE"},
        "billing/lease.py": {"BILLING"},
        "billing/reaper.py": {"BILLING"},
        "billing/recorder.py": {"BILLING"},
        "billing/retention.py": {"PURGE"},
        "billing/usage.py": {"BILLING"},
        "billing/verify.py": {"VERIFY"},
        "cli/backup.py": {"BACKUP"},
        "cli/restore.py": {"RESTORE"},
        "db/changes.py": {"CHANGES"},
        "db/engine.py": {"READINESS"},
        "db/postgres_schema.py": {"MIGRATION"},
        "db/postgres_writer.py": {"AUDIT", "OUTCOME", "PURGE"},
        "db/scan.py": {"VERIFY"},
        "proofs/service.py": {"PURGE"},
        "vault/answers.py": {"PURGE"},
        "vault/keyring.py": {"MASTER_KEY"},
        "vault/rotation.py": {"MASTER_KEY"},
        "vault/service.py": {"PURGE"},
        "vault/verify.py": {"VERIFY"},
    }
    root = Path(mesh_server.__file__).parent
    found: dict[str, set[str]] = {}
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ServerWork":
                found.setdefault(file.relative_to(root).as_posix(), set()).add(node.attr)
    assert found == allowed
