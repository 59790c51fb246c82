"""Backups: every table in one file, the same for every database.

    "MESHBAK1" | frame | frame | …           frame = length (4 bytes, little-endian) | MessagePack

The first frame is the manifest, each next one rows of one table, the last one the counts, the SHA-256 of all that
stands before it, and a MAC of that hash under a key derived from the server's root key. Values, data keys and tenant
keys are in it as they are in the database: sealed. The master key and the root of the proofs are not.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

import msgspec
from sqlalchemy import Boolean, Insert, Select, Table, bindparam, insert, select
from sqlalchemy.sql.dml import Delete
from sqlalchemy.sql.expression import delete

from mesh_server import __version__
from mesh_server.audit.models import audit_probe
from mesh_server.db import scan
from mesh_server.db.changes import bump
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction, change_counter, metadata, schema_migrations
from mesh_server.db.scope import ServerWork
from mesh_server.errors import StartupError
from mesh_server.ids import now_us

MAGIC = b"MESHBAK1"
_STEP = 500
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_MAX_FRAME = 256 * 1024 * 1024
#: What belongs to the machinery of one database and not to its content.
_LEFT_OUT = {change_counter.name, schema_migrations.name, audit_probe.name}
#: What a database has before anybody uses it.
_SETUP = {"keks", "tenant_keys", "passphrase_parameters", "audit", "audit_heads", "audit_checkpoints", "audit_cuts"}
#: What tells whether a master key fits.
KEY_TABLES = frozenset({"keks", "tenant_keys", "passphrase_parameters"})


class Manifest(msgspec.Struct):
    """What a backup is. Times in microseconds since 1970."""

    format: str
    version: int
    server: str
    revision: str
    created_at: int
    tables: dict[str, list[str]]


class Rows(msgspec.Struct, array_like=True):
    """Some rows of one table, by the manifest's columns."""

    table: str
    rows: list[list[Any]]


class End(msgspec.Struct):
    """How many rows each table has, and what proves that the file is whole."""

    counts: dict[str, int]
    sha256: bytes
    mac: bytes


@dataclass(slots=True)
class Summary:
    """What is in a backup."""

    manifest: Manifest
    counts: dict[str, int] = field(default_factory=dict)
    sha256: bytes = b""
    mac: bytes = b""


def tables() -> list[Table]:
    """Return the tables that a backup holds."""
    return [table for table in metadata.sorted_tables if table.name not in _LEFT_OUT]


# --- making one ---


async def write(database: Database, path: Path, sign: Callable[[bytes], bytes]) -> Summary:
    """Write a backup of one moment, while the database is in use.

    Args:
        database: what to back up.
        path: of the file, which is there whole or not at all.
        sign: a keyed hash under a key derived from the root key.

    Raises:
        StartupError: if the file can't be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    manifest = Manifest(
        "mesh-backup",
        1,
        __version__,
        database.revision,
        now_us(),
        {str(t.name): [str(c.name) for c in t.columns] for t in tables()},
    )

    async def work(tx: Transaction) -> Summary:
        with partial.open("wb") as file:  # anew each time: a unit of work may run more than once
            partial.chmod(0o600)
            summary = await _write(tx, file, manifest, sign)
            file.flush()
            os.fsync(file.fileno())
        return summary

    try:
        partial.touch(mode=0o600)
        summary = await database.read(work, ServerWork.BACKUP)
        partial.replace(path)
    except OSError as problem:
        raise StartupError(f"The backup can't be written to {path}: {problem.strerror}.") from problem
    finally:
        partial.unlink(missing_ok=True)
    return summary


async def _write(tx: Transaction, file: IO[bytes], manifest: Manifest, sign: Callable[[bytes], bytes]) -> Summary:
    digest = hashlib.sha256()

    def put(content: bytes) -> None:
        digest.update(content)
        file.write(content)

    put(MAGIC + _frame(manifest))
    counts: dict[str, int] = {}
    for table in tables():
        name, after = str(table.name), None
        counts[name] = 0
        while rows := await scan.page(tx, table, after, _STEP):
            put(_frame(Rows(name, [list(row) for row in rows])))
            counts[name] += len(rows)
            after = scan.key_of(table, rows[-1])
    sha256 = digest.digest()
    end = End(counts, sha256, sign(sha256))
    file.write(_frame(end))
    return Summary(manifest, counts, sha256, end.mac)


def _frame(value: object) -> bytes:
    content = msgspec.msgpack.encode(value)
    return len(content).to_bytes(4, "little") + content


# --- reading one ---


def examine(path: Path) -> Summary:
    """Return what a backup holds, after reading all of it.

    Raises:
        StartupError: if it is no backup, not whole, or of a newer version.
    """
    with _opened(path) as file:
        summary = Summary(_manifest(file, path))
        counts = dict.fromkeys(summary.manifest.tables, 0)
        for frame in _frames(file, path):
            if isinstance(frame, End):
                summary.counts, summary.sha256, summary.mac = frame.counts, frame.sha256, frame.mac
            elif frame.table in counts:
                counts[frame.table] += len(frame.rows)
        if counts != summary.counts:
            raise _broken(path)
    return summary


def rows_of(path: Path, wanted: frozenset[str] | None = None) -> Iterator[tuple[Table, dict[str, Any]]]:
    """Yield each row of a backup that was examined, by its columns.

    Args:
        path: of the file.
        wanted: names of tables; None for all.
    """
    known = {table.name: table for table in tables()}
    with _opened(path) as file:
        columns = _manifest(file, path).tables
        for frame in _frames(file, path):
            if isinstance(frame, End) or frame.table not in known or (wanted and frame.table not in wanted):
                continue
            table = known[frame.table]
            for row in frame.rows:
                named = dict(zip(columns[frame.table], row, strict=True))
                yield table, {column.name: _typed(column, named.get(column.name)) for column in table.columns}


def _typed(column: Any, value: Any) -> Any:
    # One database gives 0 and 1 where the other insists on truth values.
    return bool(value) if isinstance(column.type, Boolean) and value is not None else value


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as problem:
        raise StartupError(f"The backup {path} can't be read: {problem.strerror}.", exit_status=4) from problem


def _manifest(file: IO[bytes], path: Path) -> Manifest:
    if file.read(len(MAGIC)) != MAGIC:
        raise StartupError(f"{path} is no backup of a Mesh server.")
    try:
        manifest = msgspec.msgpack.decode(_next_frame(file, path), type=Manifest)
    except _UNREADABLE:
        raise _broken(path) from None
    if manifest.format != "mesh-backup" or manifest.version != 1:
        raise StartupError(f"The backup {path} is of a newer Mesh (format {manifest.version}): use that version.")
    return manifest


def _frames(file: IO[bytes], path: Path) -> Iterator[Rows | End]:
    """Yield the frames after the manifest; the last is the end, and it proves all before it."""
    digest = hashlib.sha256()
    begin = file.tell()
    file.seek(0)
    digest.update(file.read(begin))
    while True:
        content = _next_frame(file, path)
        try:
            frame = _decode(content)
        except _UNREADABLE:
            raise _broken(path) from None
        if isinstance(frame, End):
            if frame.sha256 != digest.digest() or file.read(1):
                raise _broken(path)
            yield frame
            return
        digest.update(len(content).to_bytes(4, "little") + content)
        yield frame


def _decode(content: bytes) -> Rows | End:
    # Rows are an array, the end is a map: MessagePack tells them apart by the first byte.
    if content[:1] and content[0] & 0xF0 == 0x80:
        return msgspec.msgpack.decode(content, type=End)
    return msgspec.msgpack.decode(content, type=Rows)


def _next_frame(file: IO[bytes], path: Path) -> bytes:
    header = file.read(4)
    length = int.from_bytes(header, "little")
    content = file.read(length) if len(header) == 4 and length <= _MAX_FRAME else b""
    if len(content) != length or not content:
        raise _broken(path)
    return content


def _broken(path: Path) -> StartupError:
    return StartupError(f"The backup {path} is not whole or was changed: use another copy.")


# --- putting one back ---


async def fill(database: Database, path: Path, *, wanted: frozenset[str] | None = None, force: bool = False) -> int:
    """Put a backup into a database in one transaction: all of it, or nothing.

    Args:
        database: at this version's schema.
        path: of a backup that was examined.
        wanted: names of tables; None for all.
        force: replace what is there.

    Returns:
        How many rows that were.

    Raises:
        StartupError: if the database is in use already and `force` is not given.
    """

    async def work(tx: Transaction) -> int:
        await _make_room(tx, force=force)
        count = 0
        for table, row in rows_of(path, wanted):
            await tx.execute(_insert(table), **{f"{name}_": value for name, value in row.items()})
            count += 1
        await bump(tx)
        return count

    return await database.write(work, ServerWork.RESTORE)


async def _make_room(tx: Transaction, *, force: bool) -> None:
    for table in tables():
        if table.name not in _SETUP and not force and await tx.one(_any(table)) is not None:
            raise StartupError(
                f"The database is in use: {table.name} has rows. Name an empty one, or replace all of it with --force."
            )
    for table in tables():
        await tx.execute(_clear(table))


@cache
def _insert(table: Table) -> Insert:
    return insert(table).values({column.name: bindparam(f"{column.name}_") for column in table.columns})


@cache
def _any(table: Table) -> Select[Any]:
    return select(*table.primary_key).limit(1)


@cache
def _clear(table: Table) -> Delete:
    return delete(table)
