"""SQLite: a unit of work is driven to its end inside the database's thread, where its awaits never suspend.

Writes are committed in groups: the writer takes every closure that is waiting, runs each in a savepoint of its own, and
makes one commit, one fsync, for all. Nobody is answered before that commit.
"""

import asyncio
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from sqlalchemy.dialects import sqlite

from mesh_server.db import sqlite_schema
from mesh_server.db.engine import LONG_READS, Database, Load, T, Touched, Turns, Work
from mesh_server.db.schema import Compiler
from mesh_server.db.scope import Scope
from mesh_server.db.sqlite_writer import FULL, Job, SQLiteTransaction, Writer, drive, translate
from mesh_server.errors import DatabaseUnavailable, StartupError

READERS = 4
#: Seconds that a statement waits for another process's lock.
BUSY_S = 10.0
#: Up to this size in bytes a start reads the whole file to see that it is sound; larger ones are left to `doctor`.
CHECK_BYTES = 64 * 1024 * 1024


class SQLiteDatabase(Database):
    """One SQLite file: a writer thread and a few readers."""

    def __init__(self, path: Path, revision: str) -> None:
        self.revision = revision
        self._path = path
        self._compile = Compiler(sqlite.dialect(paramstyle="named"))
        self._closed = False
        self._local = threading.local()
        self._reader_connections: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(READERS, "mesh-db-read")
        self._long_reads = Turns(LONG_READS)
        self._long_readers = ThreadPoolExecutor(LONG_READS, "mesh-db-report")
        self._writer = Writer(lambda: _connect(path), self._compile)

    @classmethod
    async def at(cls, path: Path) -> Self:
        """Open a file, making and migrating it as needed.

        Raises:
            StartupError: one sentence: what is wrong with the file or its folder.
        """
        revision = await asyncio.to_thread(_prepare, path)
        return cls(path, revision)

    async def read(
        self,
        work: Work[T],
        on_behalf_of: Scope,  # noqa: ARG002 - SQLite has no row policies
        *,
        long: bool = False,
    ) -> T:
        """Run a unit of work that only reads, on one snapshot; as `Database.read`."""
        loop = asyncio.get_running_loop()
        if not long:
            return await loop.run_in_executor(self._readers, self._read, work)
        # In threads of their own: one that was given up has its turn no longer, and its thread as long as it takes.
        async with self._long_reads.turn():
            return await loop.run_in_executor(self._long_readers, self._read, work)

    async def write(
        self,
        work: Work[T],
        on_behalf_of: Scope,  # noqa: ARG002 - as above
        touched: Touched | None = None,  # noqa: ARG002 - one after the other: a statement costs no round trip
    ) -> T:
        """Run a unit of work and return its result after the commit; as `Database.write`."""
        if self._closed:
            raise DatabaseUnavailable("The server is stopping.", retry_after=5)
        job = Job(work)
        self._writer.put(job)
        # A caller that goes away gives up the answer, and takes nothing back.
        result: T = await job.future
        return result

    def load(self) -> Load:
        """Return how much there is to write; as `Database.load`."""
        return self._writer.load()

    async def close(self) -> None:
        """Finish what waits to be written, then close. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.close()
        self._readers.shutdown()
        self._long_readers.shutdown()
        for connection in self._reader_connections:
            connection.close()

    # --- in a reader's thread ---

    def _connection(self) -> sqlite3.Connection:
        """Return the thread's own connection; where it can't be opened, the next read tries again."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = _connect(self._path)
            connection.execute("PRAGMA query_only=ON")
            self._local.connection = connection
            self._reader_connections.append(connection)
        return connection

    def _read(self, work: Work[T]) -> T:
        try:
            connection = self._connection()
            connection.execute("BEGIN")
            try:
                return drive(work(SQLiteTransaction(connection, self._compile)))
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as problem:
            raise translate(problem) from problem


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
    if code in FULL | {sqlite3.SQLITE_CANTOPEN}:
        return StartupError(f"The data folder {path.parent} can't be written, or its disk is full: {problem}.")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StartupError(f"The database {path} is locked by another program: stop that one.", exit_status=5)
    return StartupError(f"The database {path} can't be used: {problem}.")
