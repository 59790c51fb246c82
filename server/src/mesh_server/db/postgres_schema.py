"""Brings a database of PostgreSQL to this version's schema, and puts a policy on every table that has tenants."""

import re
import ssl
from typing import Any

import asyncpg

from mesh_server.db import address, migrate
from mesh_server.db.postgres_dialect import SchemaDialect
from mesh_server.db.postgres_errors import DRIVER_ERRORS
from mesh_server.db.postgres_session import set_tenant
from mesh_server.db.postgres_writer import STATEMENT_S
from mesh_server.db.scope import ServerWork, setting
from mesh_server.errors import StartupError
from mesh_server.ids import now_us

#: Seconds for making a connection.
CONNECT_S = 5.0
#: Seconds that a second migration waits for the first.
MIGRATION_LOCK_S = 300

#: Tables of the machinery itself. `schema_lock` has one row, which whoever migrates locks: no advisory locks, which
#: PostgreSQL's distributed kin lack. `commit_markers`: postgres_writer.py.
_BOOKKEEPING = (
    "CREATE TABLE IF NOT EXISTS schema_lock (id BIGINT NOT NULL PRIMARY KEY)",
    "INSERT INTO schema_lock (id) VALUES (1) ON CONFLICT (id) DO NOTHING",
    """CREATE TABLE IF NOT EXISTS commit_markers (
        id VARCHAR(32) NOT NULL PRIMARY KEY, made_at BIGINT NOT NULL, abandoned BOOLEAN NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS commit_markers_made_at ON commit_markers (made_at)",
)
_TENANT_TABLES = """
    SELECT table_name FROM information_schema.columns
    WHERE column_name = 'tenant_id' AND table_schema = current_schema() ORDER BY table_name
"""
_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY table_name"
_SECURED = """
    SELECT c.relname FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid
    WHERE p.polname = 'mesh_tenant' AND c.relrowsecurity AND c.relforcerowsecurity
    AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
"""
#: Without the setting there is no row; with a tenant's name there are its rows; `*` begins the server's own work.
_VISIBLE = "tenant_id = current_setting('mesh.tenant', true) OR left(current_setting('mesh.tenant', true), 1) = '*'"
#: What to say where PostgreSQL refuses, by how its SQLSTATE begins, and the command's exit status.
_REFUSED = {
    "28": (
        "The database {where} refuses the user name or the password of MESH_DATABASE_URL, or a connection without TLS.",
        3,
    ),
    "3D000": ("There is no database {where}: make it with `createdb` first.", 4),
    "42704": ("The role that --grant-to names is not there: make it with `createuser` first.", 1),
    "42501": (
        "The role of MESH_DATABASE_URL lacks rights on {where}: run `mesh-server migrate --grant-to ROLE`.",
        3,
    ),
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,62}")


def connect_options(*, prepared: bool) -> dict[str, Any]:
    """Return how the driver connects.

    Args:
        prepared: whether statements stay prepared between transactions, which a pooler may not allow.
    """
    return {
        "timeout": CONNECT_S,
        # Longer than PostgreSQL's own limit: it ends only what PostgreSQL does not answer to at all.
        "command_timeout": STATEMENT_S + 5.0,
        "statement_cache_size": 256 if prepared else 0,
    }


async def check(url: str) -> str:
    """Return the revision of a database that this version can work with.

    Raises:
        StartupError: if it can't be reached or its schema does not fit.
    """
    connection = await _connect(url)
    try:
        lacking = migrate.missing(await _applied(connection), address.shown(url))
        if lacking:
            raise StartupError(
                f"The database {address.shown(url)} is not at this version's schema ({lacking[-1]}): "
                "run `mesh-server migrate` first."
            )
        return max(await _applied(connection))
    except DRIVER_ERRORS as problem:
        raise _startup_problem(problem, url) from None
    finally:
        await connection.close()


async def to_head(url: str, *, grant_to: str | None) -> str:
    """Apply what is missing, secure every table, and return the newest revision.

    Raises:
        StartupError: in one sentence.
    """
    if grant_to is not None and not _NAME.fullmatch(grant_to):
        raise StartupError("--grant-to must be the name of a role: letters, digits and _.")
    connection = await _connect(url)
    try:
        await _keep_books(connection)
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{MIGRATION_LOCK_S}s'")
            await connection.execute("SELECT id FROM schema_lock WHERE id = 1 FOR UPDATE", timeout=MIGRATION_LOCK_S)
            await connection.execute(set_tenant(setting(ServerWork.MIGRATION)))
            await _apply(connection, url)
            await _secure(connection)
            if grant_to is not None:
                await _grant(connection, grant_to)
        return max(await _applied(connection))
    except DRIVER_ERRORS as problem:
        raise _startup_problem(problem, url) from None
    finally:
        await connection.close()


async def _connect(url: str) -> Any:
    dsn, prepared = address.driver_url(url)
    try:
        return await asyncpg.connect(dsn, **connect_options(prepared=prepared))
    except (*DRIVER_ERRORS, ValueError) as problem:
        raise _startup_problem(problem, url) from None


async def _keep_books(connection: Any) -> None:
    for statement in _BOOKKEEPING:
        try:
            await connection.execute(statement)
        except (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError):
            # Two at once: IF NOT EXISTS does not lock. The other one made it in between.
            await connection.execute(statement)


async def _applied(connection: Any) -> dict[str, str]:
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return {}
    return {row[0]: row[1] for row in await connection.fetch("SELECT revision, checksum FROM schema_migrations")}


async def _apply(connection: Any, url: str) -> None:
    revisions = migrate.missing(await _applied(connection), address.shown(url))
    wanted = migrate.checksums()
    dialect = SchemaDialect()  # type: ignore[no-untyped-call]
    for statement in migrate.statements(revisions, dialect) if revisions else []:
        await connection.execute(statement, timeout=None)
    for revision in revisions:
        await connection.execute(
            "INSERT INTO schema_migrations (revision, checksum, applied_at) VALUES ($1, $2, $3)",
            revision,
            wanted[revision],
            now_us(),
        )


async def _secure(connection: Any) -> None:
    """Put the policy on every table with tenants that lacks it: no script has to think of it."""
    secured = {row[0] for row in await connection.fetch(_SECURED)}
    for (table,) in await connection.fetch(_TENANT_TABLES):
        if table in secured:
            continue
        await connection.execute(
            f'DROP POLICY IF EXISTS mesh_tenant ON "{table}"; '
            f'CREATE POLICY mesh_tenant ON "{table}" USING ({_VISIBLE}) WITH CHECK ({_VISIBLE}); '
            f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY; '
            # FORCE: also where the server logs in as the owner of the tables
            f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY'
        )


async def _grant(connection: Any, role: str) -> None:
    tables = [row[0] for row in await connection.fetch(_TABLES)]
    schema = await connection.fetchval("SELECT current_schema()")
    await connection.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO "{role}"')
    for table in tables:
        rights = "SELECT" if table in {"schema_migrations", "schema_lock"} else "SELECT, INSERT, UPDATE, DELETE"
        await connection.execute(f'GRANT {rights} ON "{table}" TO "{role}"')


def _startup_problem(problem: BaseException, url: str) -> StartupError:
    where = address.shown(url)
    state = getattr(problem, "sqlstate", None) or ""
    for begin, (sentence, exit_status) in _REFUSED.items():
        if state.startswith(begin):
            return StartupError(sentence.format(where=where), exit_status=exit_status)
    if isinstance(problem, ssl.SSLError):  # an OSError and, where a certificate is wrong, a ValueError, too
        reason = getattr(problem, "verify_message", None) or problem.reason or "TLS failed"
        return StartupError(
            f"The database {where} can't be trusted: {reason.rstrip('.')}. Check sslmode and sslrootcert."
        )
    if isinstance(problem, asyncpg.exceptions.ClientConfigurationError | ValueError):
        return StartupError("MESH_DATABASE_URL has a parameter that can't be used: check sslmode and its files.")
    if isinstance(problem, TimeoutError):
        reason = "nobody answers"
    elif isinstance(problem, OSError):
        reason = (problem.strerror or type(problem).__name__).rstrip(".")
    else:
        reason = f"{type(problem).__name__}{f', SQLSTATE {state}' if state else ''}"
    return StartupError(f"The database {where} can't be used: {reason}.", exit_status=5)
