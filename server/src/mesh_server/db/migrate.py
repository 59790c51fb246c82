"""Brings a database to this version's schema: forward only, each script once, each with its checksum.

Alembic is loaded only where there is something to do: a start at the newest revision costs one query.
"""

import hashlib
import importlib
import io
import sqlite3
from importlib.resources import files
from pathlib import Path

from mesh_server.errors import StartupError
from mesh_server.ids import now_us

#: The revisions in their order; a script `versions/NAME.py` for each.
REVISIONS = ("0001", "0004")


def to_head(connection: sqlite3.Connection, path: Path) -> str:
    """Apply what is missing and return the newest revision.

    Args:
        connection: in autocommit mode; left that way.
        path: of the database, for the messages.

    Raises:
        StartupError: if the schema is newer than this server, or an applied script was changed.
    """
    if applied(connection) != checksums():
        connection.execute("BEGIN IMMEDIATE")  # two servers that start at once: the second finds the work done
        try:
            _apply(connection, path)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return REVISIONS[-1]


def applied(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the checksums of the scripts that were applied, by revision."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'").fetchone()
    if not known:
        return {}
    return dict(connection.execute("SELECT revision, checksum FROM schema_migrations"))


def checksums() -> dict[str, str]:
    """Return the SHA-256 of each script of this version, by revision."""
    folder = files("mesh_server.db") / "versions"
    # Line endings are normalised: the same script is the same on every system.
    return {
        revision: hashlib.sha256((folder / f"v{revision}.py").read_text("utf-8").encode()).hexdigest()
        for revision in REVISIONS
    }


def _apply(connection: sqlite3.Connection, path: Path) -> None:
    present, wanted = applied(connection), checksums()
    newer = sorted(set(present) - set(wanted))
    if newer:
        raise StartupError(
            f"The database {path} was made by a newer Mesh (revision {newer[-1]}): install that version again."
        )
    changed = [revision for revision, checksum in present.items() if wanted[revision] != checksum]
    if changed:
        raise StartupError(
            f"The database {path} was migrated by another script {changed[0]} than this version has: "
            "it comes from a changed or unreleased Mesh."
        )
    missing = [revision for revision in REVISIONS if revision not in present]
    if missing:
        _run_alembic(connection, missing)
        connection.executemany(
            "INSERT INTO schema_migrations (revision, checksum, applied_at) VALUES (?, ?, ?)",
            [(revision, wanted[revision], now_us()) for revision in missing],
        )


def _run_alembic(connection: sqlite3.Connection, revisions: list[str]) -> None:
    # Alembic writes the SQL text of a dialect and never sees the connection: what runs is plain statements, in the
    # transaction that holds the lock.
    from alembic.migration import MigrationContext  # noqa: PLC0415 - only where there is something to migrate
    from alembic.operations import Operations  # noqa: PLC0415 - as above

    for revision in revisions:
        statements = _Statements()
        context = MigrationContext.configure(dialect_name="sqlite", opts={"as_sql": True, "output_buffer": statements})
        with Operations.context(context):
            importlib.import_module(f"mesh_server.db.versions.v{revision}").upgrade()
        for statement in statements.texts:
            connection.execute(statement)


class _Statements(io.TextIOBase):
    """Collects what Alembic writes, which is one statement at a time."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def write(self, text: str) -> int:
        if text.strip():
            self.texts.append(text.strip())
        return len(text)
