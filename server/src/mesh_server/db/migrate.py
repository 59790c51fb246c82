"""What a database's schema must be: forward only, each script once, each with its checksum.

A script may not break the release before it (docs/adr/0043), so a server also runs on a schema that is one script
newer than itself: that is what a rolling upgrade passes through.
"""

import hashlib
import importlib
import io
from collections.abc import Mapping
from importlib.resources import files

from sqlalchemy import Dialect

from mesh_server.errors import StartupError

#: The revisions in their order; a script `versions/NAME.py` for each.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
#: Scripts that this version does not know and may still run on.
NEWER_TOLERATED = 1


def checksums() -> dict[str, str]:
    """Return the SHA-256 of each script of this version, by revision."""
    folder = files("mesh_server.db") / "versions"
    # Line endings are normalised: the same script is the same on every system.
    return {
        revision: hashlib.sha256((folder / f"v{revision}.py").read_text("utf-8").encode()).hexdigest()
        for revision in REVISIONS
    }


def missing(present: Mapping[str, str], where: str) -> list[str]:
    """Return the revisions that are still to be applied, in their order.

    Args:
        present: checksums of what was applied, by revision.
        where: the database, for the messages.

    Raises:
        StartupError: if the schema is too new for this version, or an applied script is another than ours.
    """
    wanted = checksums()
    newer = sorted(set(present) - set(wanted))
    lacking = [revision for revision in REVISIONS if revision not in present]
    if len(newer) > NEWER_TOLERATED or (newer and (lacking or newer[0] < REVISIONS[-1])):
        raise StartupError(
            f"The database {where} was made by a newer Mesh (revision {newer[-1]}): install that version again."
        )
    changed = [revision for revision, checksum in present.items() if wanted.get(revision, checksum) != checksum]
    if changed:
        raise StartupError(
            f"The database {where} was migrated by another script {changed[0]} than this version has: "
            "it comes from a changed or unreleased Mesh."
        )
    return lacking


def statements(revisions: list[str], dialect: Dialect) -> list[str]:
    """Return the SQL of scripts for one dialect, statement by statement.

    Alembic writes the SQL text and never sees the connection: what runs is plain statements, in the transaction that
    holds the lock. It is loaded only where there is something to do.
    """
    from alembic.migration import MigrationContext  # noqa: PLC0415 - only where there is something to migrate
    from alembic.operations import Operations  # noqa: PLC0415 - as above

    written = _Statements()
    for revision in revisions:
        context = MigrationContext.configure(dialect=dialect, opts={"as_sql": True, "output_buffer": written})
        with Operations.context(context):
            importlib.import_module(f"mesh_server.db.versions.v{revision}").upgrade()
    return written.texts


class _Statements(io.TextIOBase):
    """Collects what Alembic writes, which is one statement at a time."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def write(self, text: str) -> int:
        if text.strip():
            self.texts.append(text.strip())
        return len(text)
