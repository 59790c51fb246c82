"""Brings a file of SQLite to this version's schema; a start at the newest revision costs one query."""

import sqlite3
from pathlib import Path

from sqlalchemy.dialects import sqlite

from mesh_server.db import migrate
from mesh_server.ids import now_us


def to_head(connection: sqlite3.Connection, path: Path) -> str:
    """Apply what is missing and return the newest revision.

    Args:
        connection: in autocommit mode; left that way.
        path: of the database, for the messages.

    Raises:
        StartupError: if the schema is too new for this server, or an applied script was changed.
    """
    if migrate.missing(applied(connection), str(path)):
        connection.execute("BEGIN IMMEDIATE")  # two servers that start at once: the second finds the work done
        try:
            _apply(connection, path)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return max(applied(connection))


def applied(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the checksums of the scripts that were applied, by revision."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'").fetchone()
    if not known:
        return {}
    return dict(connection.execute("SELECT revision, checksum FROM schema_migrations"))


def _apply(connection: sqlite3.Connection, path: Path) -> None:
    revisions = migrate.missing(applied(connection), str(path))
    for statement in migrate.statements(revisions, sqlite.dialect()):
        connection.execute(statement)
    wanted = migrate.checksums()
    connection.executemany(
        "INSERT INTO schema_migrations (revision, checksum, applied_at) VALUES (?, ?, ?)",
        [(revision, wanted[revision], now_us()) for revision in revisions],
    )
