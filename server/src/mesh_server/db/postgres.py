"""PostgreSQL: a bounded pool of connections, one transaction a read, and the writer of groups.

Every transaction says itself what it needs (isolation, limits of time, the tenant whose rows it sees), and leaves
nothing behind in its connection: so a pooler between us and PostgreSQL may lend it to another between transactions.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

import asyncpg
from sqlalchemy.sql import ClauseElement

from mesh_server.db import address, postgres_schema
from mesh_server.db.endings import Ending
from mesh_server.db.engine import LONG_READS, Database, Load, T, Touched, Turns, Work
from mesh_server.db.postgres_dialect import StatementDialect
from mesh_server.db.postgres_errors import DRIVER_ERRORS, CommitLost, Kind, kind, translate
from mesh_server.db.postgres_session import Job
from mesh_server.db.postgres_writer import Writer, begin_with
from mesh_server.db.schema import Compiler, Row
from mesh_server.db.scope import Scope, setting
from mesh_server.errors import DatabaseUnavailable

#: Seconds that a caller waits for a free connection before it is told to come back.
ACQUIRE_S = 5.0
#: Seconds that a roll-back may take before its connection is closed instead.
ROLLBACK_S = 2.0
#: Seconds after which an idle connection is closed.
IDLE_S = 300.0
#: Times that a read is run when its connection turns out to be gone: once for each stale connection would be too many.
READ_TRIES = 3
#: Transactions of one process that are written at once: while PostgreSQL works on one, the process prepares another.
#: Each writer has an audit chain of its own, and the units of work that touch the same are one writer's (ADR 40).
WRITERS = 2
#: So many connections are there at the least beside each writer's.
READERS = 1

_BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresTransaction:
    """A transaction on one connection.

    Args:
        connection: it.
        compile_: writes statements.
        job: whose part of the transaction it is; None for a reader's, and for the writer's own part.
    """

    __slots__ = ("_compile", "_connection", "_job")

    def __init__(self, connection: Any, compile_: Compiler, job: Job | None = None) -> None:
        self._connection = connection
        self._compile = compile_
        self._job = job

    async def one(self, statement: ClauseElement, **parameters: object) -> Row | None:
        """Return the first row, or None."""
        row: Row | None = await self._connection.fetchrow(*self._compile.positional(statement, parameters))
        return row

    async def all(self, statement: ClauseElement, **parameters: object) -> list[Row]:
        """Return every row."""
        rows: list[Row] = await self._connection.fetch(*self._compile.positional(statement, parameters))
        return rows

    async def execute(self, statement: ClauseElement, **parameters: object) -> int:
        """Run a statement that changes rows and return how many it changed."""
        status: str = await self._connection.execute(*self._compile.positional(statement, parameters))
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def many(self, statement: ClauseElement, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a statement that changes rows once for each set of parameters, in one round trip."""
        positional = [self._compile.positional(statement, row) for row in rows]
        if positional:
            await self._connection.executemany(positional[0][0], [row[1:] for row in positional])

    def at_end(self, ending: Ending, item: object, tenant_id: str) -> None:
        """Leave something to the end of the transaction."""
        if self._job is None:
            raise RuntimeError("a reading transaction can leave nothing to its end")
        self._job.leave(ending, item, tenant_id)


class Pool:
    """Connections, and what is done about those that are gone."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, url: str, connections: int) -> Self:
        """Make the pool; the first connection is made when it is needed."""
        dsn, prepared = address.driver_url(url)
        pool = await asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=connections,
            max_inactive_connection_lifetime=IDLE_S,
            reset=_nothing,  # a transaction leaves nothing behind; the driver's own reset costs a round trip
            **postgres_schema.connect_options(prepared=prepared),
        )
        return cls(pool)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend a connection; what was begun on it and not committed is undone when it comes back.

        Raises:
            DatabaseUnavailable: if none is free in time or none can be made.
        """
        connection = await self.take()
        try:
            async with _in_use(connection):
                yield connection
        finally:
            await self.give_back(connection)

    async def take(self) -> Any:
        """Return a connection that is the caller's until it is given back; as `connection`."""
        try:
            return await self._pool.acquire(timeout=ACQUIRE_S)
        except DRIVER_ERRORS as problem:
            raise translate(problem) from None

    async def give_back(self, connection: Any) -> None:
        """Take a connection back."""
        await self._pool.release(connection)

    async def close(self) -> None:
        """Close every connection, those in use within a few seconds."""
        try:
            async with asyncio.timeout(ACQUIRE_S):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()


class Held:
    """The connection of one writer, which keeps it from one transaction to the next as long as there are more."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connection: Any = None

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend it for a transaction; as `Pool.connection`."""
        connection = self._connection
        if connection is None:
            connection = self._connection = await self._pool.take()
        try:
            async with _in_use(connection):
                yield connection
        finally:
            if _is_gone(connection):
                await self.give_back()

    async def give_back(self) -> None:
        """Give it back: there is nothing more to write now."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.give_back(connection)


@contextlib.asynccontextmanager
async def _in_use(connection: Any) -> AsyncIterator[None]:
    """Undo afterwards what was begun and not committed, or close the connection where that can't be."""
    try:
        yield
    except (asyncio.CancelledError, CommitLost):
        _close(connection)  # in the middle of something: PostgreSQL undoes what was begun
        raise
    except DRIVER_ERRORS as problem:
        if kind(problem) is Kind.LOST:
            _close(connection)
        raise
    finally:
        await _undo(connection)


class PostgresDatabase(Database):
    """One database of PostgreSQL, or of what speaks like it."""

    def __init__(self, pool: Pool, revision: str, writers: int, long_reads: int) -> None:
        self.revision = revision
        self.writers = writers
        self._pool = pool
        self._compile = Compiler(StatementDialect())  # type: ignore[no-untyped-call]
        self._writers = [
            Writer(number, Held(pool), pool.connection, self._transaction, self._compile) for number in range(writers)
        ]
        self._long_reads = Turns(long_reads)
        self._closed = False

    @classmethod
    async def connect(cls, url: str, connections: int) -> Self:
        """Connect to a database whose schema fits this version.

        Raises:
            StartupError: one sentence: it can't be reached, refuses us, or must be migrated first.
        """
        revision = await postgres_schema.check(url)
        pool = await Pool.open(url, connections)
        writers = max(1, min(WRITERS, connections - READERS))
        # One connection stays for short reads, where there are enough.
        return cls(pool, revision, writers, max(1, min(LONG_READS, connections - writers - 1)))

    def _transaction(self, connection: Any, job: Job | None) -> PostgresTransaction:
        return PostgresTransaction(connection, self._compile, job)

    async def read(self, work: Work[T], on_behalf_of: Scope, *, long: bool = False) -> T:
        """Run a unit of work that only reads, on one snapshot; as `Database.read`."""
        if not long:
            return await self._read(work, on_behalf_of)
        async with self._long_reads.turn():
            return await self._read(work, on_behalf_of)

    async def _read(self, work: Work[T], on_behalf_of: Scope) -> T:
        begin = begin_with(_BEGIN_READ, setting(on_behalf_of))
        for tries_left in reversed(range(READ_TRIES)):
            try:
                async with self._pool.connection() as connection:
                    return await self._read_on(connection, begin, work)
            except DRIVER_ERRORS as problem:
                if not tries_left or kind(problem) not in {Kind.LOST, Kind.CONFLICT}:
                    raise translate(problem) from None
        raise DatabaseUnavailable("The database can't be reached now.", retry_after=2)  # READ_TRIES is none

    async def _read_on(self, connection: Any, begin: str, work: Work[T]) -> T:
        await connection.execute(begin)
        result = await work(PostgresTransaction(connection, self._compile))
        await connection.execute("COMMIT")
        return result

    async def write(self, work: Work[T], on_behalf_of: Scope, touched: Touched | None = None) -> T:
        """Run a unit of work and return its result after the commit; as `Database.write`."""
        if self._closed:
            raise DatabaseUnavailable("The server is stopping.", retry_after=5)
        job = Job(work, setting(on_behalf_of), touched)
        # Of units that touch the same, both would lose time if they met in two transactions. What says nothing of what
        # it touches is all one writer's.
        self._writers[hash(touched.what) % self.writers if touched is not None else 0].put(job)
        # A caller that goes away gives up the answer, and takes nothing back.
        result: T = await job.future
        return result

    def load(self) -> Load:
        """Return how much there is to write; as `Database.load`."""
        loads = [writer.load() for writer in self._writers]
        return Load(
            sum(load.waiting for load in loads),
            sum(load.commits for load in loads),
            sum(load.writes for load in loads),
        )

    async def close(self) -> None:
        """Finish what waits to be written, then close; as `Database.close`."""
        if self._closed:
            return
        self._closed = True
        await asyncio.gather(*(writer.close() for writer in self._writers))
        await self._pool.close()


async def _nothing(_connection: Any) -> None:
    """Take the place of the driver's reset."""


def _is_gone(connection: Any) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True  # closed, which gave it back to the pool


async def _undo(connection: Any) -> None:
    """Roll back what is open, or close the connection where that fails."""
    try:
        if not connection.is_closed() and connection.is_in_transaction():
            await connection.execute("ROLLBACK", timeout=ROLLBACK_S)
    except asyncpg.InterfaceError:
        return  # whoever used it has closed it, which gave it back to the pool
    except DRIVER_ERRORS:
        _close(connection)


def _close(connection: Any) -> None:
    """Close a connection that may be closed already, at once and without a word to the other side."""
    with contextlib.suppress(asyncpg.InterfaceError):  # it is: then the pool has it back
        connection.terminate()
