"""Writes to SQLite: one thread that commits what waits together, once for all of it.

Each unit of work that changes something has a savepoint of its own, so that one that fails undoes itself alone. One
that only reads, and leaves an event to the end of the transaction, needs none. Nobody is answered before the commit.
"""

import asyncio
import queue
import re
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.selectable import SelectBase

from mesh_server.db.endings import Ending, Endings, Left
from mesh_server.db.engine import Load, T, Work
from mesh_server.db.schema import Compiler, ConstraintBroken, Row
from mesh_server.errors import DatabaseUnavailable, StorageReadOnly

#: Closures waiting for the writer before callers are told to come back.
QUEUE_LIMIT = 10_000
#: Closures of one commit: bounds how long the first of them waits for the last.
GROUP_LIMIT = 256

#: An insertion of one row by named parameters alone: many rows of it go into one statement, since the interpreter's
#: lock changes hands with each statement, which costs more than the row.
_INSERT = re.compile(r"(?P<into>INSERT INTO \w+ \([^)]*\) VALUES )\((?P<names>:\w+(?:, :\w+)*)\)")
#: The rows that such a statement may have: few sizes, since a connection keeps what it prepared, and one statement for
#: each number of rows up to 100 took 17 MB.
_ROWS = (256, 64, 32, 16, 8, 4, 2, 1)

FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR}


@cache
def _insertion(text: str) -> tuple[list[str], list[tuple[int, str]]] | None:
    """Return the parameters of an insertion and its text for each of _ROWS; None for any other statement."""
    found = _INSERT.fullmatch(text)
    if found is None:
        return None
    names = [name.removeprefix(":") for name in found["names"].split(", ")]
    row = f"({', '.join('?' * len(names))})"
    return names, [(size, found["into"] + ", ".join([row] * size)) for size in _ROWS]


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
        return self._connection.execute(*self._compile(statement, parameters)).fetchall()

    async def execute(self, statement: ClauseElement, **parameters: object) -> int:
        """Run a statement that changes rows and return how many it changed."""
        return self._connection.execute(*self._compile(statement, parameters)).rowcount

    async def many(self, statement: ClauseElement, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a statement that changes rows once for each set of parameters."""
        if not rows:
            return
        text, literals = self._compile(statement, {})
        insertion = None if literals else _insertion(text)
        if insertion is None:
            self._connection.executemany(text, [{**literals, **row} for row in rows] if literals else rows)
            return
        names, texts = insertion
        start = 0
        for size, sized in texts:
            while len(rows) - start >= size:
                values = [row[name] for row in rows[start : start + size] for name in names]
                self._connection.execute(sized, values)
                start += size

    def at_end(self, ending: Ending, item: object, tenant_id: str) -> None:  # noqa: ARG002 - a reader has no end
        """Refuse: a reading transaction writes nothing at its end."""
        raise RuntimeError("a reading transaction can leave nothing to its end")


class _Unit(SQLiteTransaction):
    """The part of one unit of work in a group's transaction.

    Attributes:
        changed: whether it has, or may have, changed something, and so a savepoint.
        left: what it left to the end.
    """

    __slots__ = ("changed", "left")

    def __init__(self, connection: sqlite3.Connection, compile_: Compiler) -> None:
        super().__init__(connection, compile_)
        self.changed = False
        self.left: list[Left] = []

    async def one(self, statement: ClauseElement, **parameters: object) -> Row | None:
        """Return the first row, or None."""
        self._before(statement)
        return await super().one(statement, **parameters)

    async def all(self, statement: ClauseElement, **parameters: object) -> list[Row]:
        """Return every row."""
        self._before(statement)
        return await super().all(statement, **parameters)

    async def execute(self, statement: ClauseElement, **parameters: object) -> int:
        """Run a statement that changes rows and return how many it changed."""
        self._before(statement)
        return await super().execute(statement, **parameters)

    async def many(self, statement: ClauseElement, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a statement that changes rows once for each set of parameters."""
        self._before(statement)
        await super().many(statement, rows)

    def at_end(self, ending: Ending, item: object, tenant_id: str) -> None:  # noqa: ARG002 - no row policies
        """Leave something to the end of the transaction."""
        self.left.append((ending, item))

    def undo(self) -> None:
        """Take back what it changed, where the transaction still stands."""
        if self.changed and self._connection.in_transaction:
            self._connection.execute("ROLLBACK TO unit")
            self._connection.execute("RELEASE unit")

    def keep(self) -> None:
        """End its savepoint, where it has one."""
        if self.changed:
            self._connection.execute("RELEASE unit")

    def _before(self, statement: ClauseElement) -> None:
        if not self.changed and not isinstance(statement, SelectBase):
            self._connection.execute("SAVEPOINT unit")
            self.changed = True


class Job:
    """One closure that waits for the writer."""

    __slots__ = ("future", "loop", "work")

    def __init__(self, work: Work[Any]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()


#: What became of a closure: its result, or what it raised.
_Outcome = tuple[Job, object, BaseException | None]


class Writer:
    """The thread that writes.

    Args:
        connect: opens its connection, in the thread.
        compile_: writes statements.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], compile_: Compiler) -> None:
        self._connect = connect
        self._compile = compile_
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._commits = self._writes = 0
        self._thread = threading.Thread(target=self._run, name="mesh-db-write", daemon=True)
        self._thread.start()

    def load(self) -> Load:
        """Return how much waits, and how much was written."""
        return Load(self._jobs.qsize(), self._commits, self._writes)

    def put(self, job: Job) -> None:
        """Take a closure.

        Raises:
            DatabaseUnavailable: if too many wait already.
        """
        if self._jobs.qsize() >= QUEUE_LIMIT:
            raise DatabaseUnavailable("The database has more to write than it can.", retry_after=1)
        self._jobs.put(job)

    def close(self) -> None:
        """Finish what waits."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection = self._connect()
        try:
            while (job := self._jobs.get()) is not None:
                jobs, last = self._waiting(job)
                _tell(self._write(connection, jobs))
                if last:
                    break
        finally:
            connection.close()

    def _waiting(self, first: Job) -> tuple[list[Job], bool]:
        """Return the jobs of the next commit, and whether the writer shall stop after it."""
        jobs = [first]
        while len(jobs) < GROUP_LIMIT:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return jobs, True
            jobs.append(job)
        return jobs, False

    def _write(self, connection: sqlite3.Connection, jobs: list[Job]) -> list[_Outcome]:
        """Run closures in one transaction, and return what became of each once it is committed."""
        endings = Endings(0)
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._outcome(connection, job, endings) for job in jobs]
            if endings:
                drive(endings.write(SQLiteTransaction(connection, self._compile)))
            connection.execute("COMMIT")
        except Exception as problem:  # noqa: BLE001 - handed to the callers who wait
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            endings.settle(committed=False)
            failure = translate(problem) if isinstance(problem, sqlite3.Error) else problem
            return [(job, None, failure) for job in jobs]
        endings.settle(committed=True)
        self._commits += 1
        self._writes += len(jobs)
        return outcomes

    def _outcome(self, connection: sqlite3.Connection, job: Job, endings: Endings) -> _Outcome:
        unit = _Unit(connection, self._compile)
        try:
            result = drive(job.work(unit))
            unit.keep()
        except Exception as problem:
            unit.undo()
            if not isinstance(problem, sqlite3.Error):
                return job, None, problem
            if not connection.in_transaction:
                raise  # the failure took the whole transaction with it: nobody's change is there
            return job, None, translate(problem)
        endings.take(unit.left)
        return job, result, None


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its result."""
    try:
        work.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    work.close()
    raise RuntimeError("a unit of work awaited something other than its transaction")


def translate(problem: sqlite3.Error) -> Exception:
    """Return what the caller is told of a failure of SQLite."""
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    if code in FULL:
        return StorageReadOnly("The database can't be written: its disk is full or read-only.", retry_after=30)
    if isinstance(problem, sqlite3.IntegrityError):
        return ConstraintBroken(str(problem))  # names columns, never values
    if isinstance(problem, sqlite3.ProgrammingError):
        return problem  # a defect in a statement, told apart from an outage
    return DatabaseUnavailable("The database can't be used now.", retry_after=2)


def _tell(outcomes: list[_Outcome]) -> None:
    """Hand each outcome to the loop of the one who waits for it: one call for all of one loop."""
    loops: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for outcome in outcomes:
        loops.setdefault(outcome[0].loop, []).append(outcome)
    for loop, those in loops.items():
        if not loop.is_closed():  # then nobody waits any more
            loop.call_soon_threadsafe(_answer, those)


def _answer(outcomes: list[_Outcome]) -> None:
    for job, result, error in outcomes:
        if job.future.done():
            continue  # its caller went away
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)
