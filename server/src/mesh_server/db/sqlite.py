"""SQLite: a unit of work is driven to its end inside the database's thread, where its awaits never suspend.

Writes are committed in groups: the writer takes every closure that is waiting, runs each in a savepoint of its own, and
makes one commit, one fsync, for all. Nobody is answered before that commit.
"""

import asyncio
import contextlib
import queue
import re
import sqlite3
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from mesh_server.db import sqlite_schema
from mesh_server.db.engine import Database, Load, T, Work
from mesh_server.db.schema import Compiler, ConstraintBroken, Row
from mesh_server.db.scope import Scope
from mesh_server.errors import DatabaseUnavailable, StartupError, StorageReadOnly

READERS = 4
#: Closures waiting for the writer before callers are told to come back.
QUEUE_LIMIT = 10_000
#: Closures of one commit: bounds how long the first of them waits for the last.
GROUP_LIMIT = 256
#: Seconds that a statement waits for another process's lock.
BUSY_S = 10.0
#: Up to this size in bytes a start reads the whole file to see that it is sound; larger ones are left to `doctor`.
CHECK_BYTES = 64 * 1024 * 1024

#: An insertion of one row by named parameters alone: many rows of it go into one statement, since the interpreter's
#: lock changes hands with each statement, which costs more than the row.
_INSERT = re.compile(r"(?P<into>INSERT INTO \w+ \([^)]*\) VALUES )\((?P<names>:\w+(?:, :\w+)*)\)")
_ROWS = 100

_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR}


class SQLiteTransaction:
    """A transaction on one connection, in the thread that owns it."""

    __slots__ = ("_compile", "_connection")

    def __init__(self, connection: sqlite3.Connection, compile_: Compiler) -> None:
        self._connection = connection
        self._compile = compile_

    async def one(self, statement: ClauseElement, **parameters: object) -> Row | None:
        """Return the first row, or None."""
        cursor = self._connection.execute(*self._compile(statement, parameters))
        row: Row | None = cursor.fetchone()
        cursor.close()
        return row

    async def all(self, statement: ClauseElement, **parameters: object) -> list[Row]:
        """Return every row."""
        cursor = self._connection.execute(*self._compile(statement, parameters))
        rows: list[Row] = cursor.fetchall()
        cursor.close()
        return rows

    async def execute(self, statement: ClauseElement, **parameters: object) -> int:
        """Run a statement that changes rows and return how many it changed."""
        cursor = self._connection.execute(*self._compile(statement, parameters))
        count = cursor.rowcount
        cursor.close()
        return count

    async def many(self, statement: ClauseElement, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a statement that changes rows once for each set of parameters."""
        if not rows:
            return
        text, literals = self._compile(statement, {})
        inserting = None if literals else _INSERT.fullmatch(text)
        if inserting is None:
            self._connection.executemany(text, [{**literals, **row} for row in rows]).close()
            return
        names = [name.removeprefix(":") for name in inserting["names"].split(", ")]
        row_text = f"({', '.join('?' * len(names))})"
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            values = [row[name] for row in part for name in names]
            self._connection.execute(inserting["into"] + ", ".join([row_text] * len(part)), values).close()


def _drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its result."""
    try:
        work.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    work.close()
    raise RuntimeError("a unit of work awaited something other than its transaction")


class _Job:
    """One closure that waits for the writer."""

    __slots__ = ("future", "work")

    def __init__(self, work: Work[Any]) -> None:
        self.work = work
        self.future: Future[Any] = Future()


class SQLiteDatabase(Database):
    """One SQLite file: a writer thread and a few readers."""

    def __init__(self, path: Path, revision: str) -> None:
        self.revision = revision
        self._path = path
        self._compile = Compiler(sqlite.dialect(paramstyle="named"))
        self._jobs: queue.Queue[_Job | None] = queue.Queue(QUEUE_LIMIT)
        self._closed = False
        self._commits = self._writes = 0
        self._local = threading.local()
        self._reader_connections: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, "mesh-db-read", initializer=self._open_reader)
        self._writer = threading.Thread(target=self._write_forever, name="mesh-db-write", daemon=True)
        self._writer.start()

    @classmethod
    async def at(cls, path: Path) -> Self:
        """Open a file, making and migrating it as needed.

        Raises:
            StartupError: one sentence: what is wrong with the file or its folder.
        """
        revision = await asyncio.to_thread(_prepare, path)
        return cls(path, revision)

    async def read(self, work: Work[T], on_behalf_of: Scope) -> T:  # noqa: ARG002 - SQLite has no row policies
        """Run a unit of work that only reads, on one snapshot; as `Database.read`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, work)

    async def write(self, work: Work[T], on_behalf_of: Scope) -> T:  # noqa: ARG002 - as above
        """Run a unit of work and return its result after the commit; as `Database.write`."""
        if self._closed:
            raise DatabaseUnavailable("The server is stopping.", retry_after=5)
        job = _Job(work)
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise DatabaseUnavailable("The database has more to write than it can.", retry_after=1) from None
        # Shielded: a caller that goes away must not take back a change that is about to be committed.
        result: T = await asyncio.shield(asyncio.wrap_future(job.future))
        return result

    def load(self) -> Load:
        """Return how much there is to write; as `Database.load`."""
        return Load(self._jobs.qsize(), self._commits, self._writes)

    async def close(self) -> None:
        """Finish what waits to be written, then close. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._jobs.put(None)
        self._writer.join()
        self._readers.shutdown()
        for connection in self._reader_connections:
            connection.close()

    # --- in a reader's thread ---

    def _open_reader(self) -> None:
        connection = _connect(self._path)
        connection.execute("PRAGMA query_only=ON")
        self._local.connection = connection
        self._reader_connections.append(connection)

    def _read(self, work: Work[T]) -> T:
        connection: sqlite3.Connection = self._local.connection
        try:
            connection.execute("BEGIN")
            try:
                return _drive(work(SQLiteTransaction(connection, self._compile)))
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as problem:
            raise _translate(problem) from problem

    # --- in the writer's thread ---

    def _write_forever(self) -> None:
        connection = _connect(self._path)
        try:
            while (job := self._jobs.get()) is not None:
                jobs, last = self._waiting(job)
                self._write_group(connection, jobs)
                if last:
                    break
        finally:
            connection.close()

    def _waiting(self, first: _Job) -> tuple[list[_Job], bool]:
        """Return the jobs of the next commit, and whether the writer shall stop after it."""
        jobs = [first]
        with contextlib.suppress(queue.Empty):
            while len(jobs) < GROUP_LIMIT:
                job = self._jobs.get_nowait()
                if job is None:
                    return jobs, True
                jobs.append(job)
        return jobs, False

    def _write_group(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        done: list[tuple[_Job, object]] = []
        failed: list[tuple[_Job, BaseException]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                try:
                    done.append((job, self._savepoint(connection, job)))
                except sqlite3.Error as problem:
                    if not connection.in_transaction:
                        raise  # the failure took the whole transaction with it: nobody's change is there
                    failed.append((job, _translate(problem)))
                except Exception as problem:  # noqa: BLE001 - handed to the caller who waits for this job
                    failed.append((job, problem))
            connection.execute("COMMIT")
        except sqlite3.Error as problem:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            failure = _translate(problem)
            for job in jobs:
                job.future.set_exception(failure)
            return
        self._commits += 1
        self._writes += len(jobs)
        for job, result in done:
            job.future.set_result(result)
        for job, error in failed:
            job.future.set_exception(error)

    def _savepoint(self, connection: sqlite3.Connection, job: _Job) -> object:
        connection.execute("SAVEPOINT job")
        try:
            result = _drive(job.work(SQLiteTransaction(connection, self._compile)))
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK TO job")
                connection.execute("RELEASE job")
            raise
        connection.execute("RELEASE job")
        return result


def _connect(path: Path) -> sqlite3.Connection:
    # Each connection stays in its thread; it is only closed from another one, after that thread has ended.
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")  # what was destroyed leaves no bytes in free pages
    return connection


def _prepare(path: Path) -> str:
    """Make the file, its journal mode and its schema; return the revision."""
    if not path.parent.is_dir():
        raise StartupError(f"The data folder {path.parent} is not there; make it or name another one.")
    connection: sqlite3.Connection | None = None
    try:
        if not path.exists():
            path.touch(mode=0o600)
        connection = _connect(path)
        _use_wal(connection)
        small = path.stat().st_size < CHECK_BYTES
        if small and connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise _corrupt(path)
        return sqlite_schema.to_head(connection, path)
    except sqlite3.DatabaseError as problem:
        raise _startup_problem(problem, path) from problem
    except OSError as problem:
        raise StartupError(f"The data folder {path.parent} can't be written: {problem.strerror}.") from problem
    finally:
        if connection is not None:
            connection.close()


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; SQLite does not wait by itself for another process that does the same."""
    until = time.monotonic() + BUSY_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _corrupt(path: Path) -> StartupError:
    return StartupError(
        f"The database {path} is damaged or is no database: put a copy of it back that is whole; "
        "to start anew, move it away together with its -wal and -shm files."
    )


def _startup_problem(problem: sqlite3.DatabaseError, path: Path) -> StartupError:
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return _corrupt(path)
    if code in _FULL | {sqlite3.SQLITE_CANTOPEN}:
        return StartupError(f"The data folder {path.parent} can't be written, or its disk is full: {problem}.")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StartupError(f"The database {path} is locked by another program: stop that one.", exit_status=5)
    return StartupError(f"The database {path} can't be used: {problem}.")


def _translate(problem: sqlite3.Error) -> Exception:
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    if code in _FULL:
        return StorageReadOnly("The database can't be written: its disk is full or read-only.", retry_after=30)
    if isinstance(problem, sqlite3.IntegrityError):
        return ConstraintBroken(str(problem))  # names columns, never values
    if isinstance(problem, sqlite3.ProgrammingError):
        return problem  # a defect in a statement, told apart from an outage
    return DatabaseUnavailable("The database can't be used now.", retry_after=2)
