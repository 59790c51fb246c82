"""Writes to PostgreSQL: closures that wait together share a transaction, and each is done exactly once or not at all.

A transaction's last statement before its commit leaves a marker, a random id, in `commit_markers`. Where the connection
is lost while the commit is under way, a second connection claims that id: if it is taken, the commit happened; if it is
not, the claim itself makes sure that it never will (docs/adr/0041).
"""

import asyncio
import os
import random
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from mesh_server.db.endings import Endings
from mesh_server.db.engine import Load
from mesh_server.db.postgres_errors import DRIVER_ERRORS, CommitLost, Kind, Outcome, kind, translate
from mesh_server.db.postgres_session import Job, Session, set_tenant
from mesh_server.db.postgres_step import Apart, Stepper, rounds
from mesh_server.db.schema import Compiler, Transaction
from mesh_server.db.scope import ServerWork, setting
from mesh_server.errors import DatabaseUnavailable, MeshError, OutcomeUnknown
from mesh_server.ids import now_us
from mesh_server.telemetry import logger

#: Closures waiting before callers are told to come back.
QUEUE_LIMIT = 10_000
#: Closures of one transaction: bounds how long the first of them waits for the last.
GROUP_LIMIT = 64
#: Seconds that a statement, a wait for another's lock, and a silent connection may take.
STATEMENT_S, LOCK_S = 10, 5
#: Times that a closure is run when it loses against others, and when its connection is lost before the commit.
CONFLICT_TRIES, LOST_TRIES = 12, 4
#: Seconds for finding out whether a commit happened.
RESOLVE_S = 10.0
#: How long markers are kept, far longer than RESOLVE_S, and how often the old ones are removed.
MARKER_AGE_S, SWEEP_S = 3600.0, 600.0

#: Not SERIALIZABLE: it takes neighbours in an index for conflicts, and ids that sort by time are always neighbours
#: (docs/adr/0040 has the numbers, and the rule that this asks of a unit of work).
BEGIN_WRITE = "BEGIN ISOLATION LEVEL REPEATABLE READ"
#: Sees what others have committed while it waited.
_BEGIN_CLAIM = "BEGIN ISOLATION LEVEL READ COMMITTED"
_CLAIM = "INSERT INTO commit_markers (id, made_at, abandoned) VALUES ($1, $2, true) ON CONFLICT (id) DO NOTHING"
_IS_ABANDONED = "SELECT abandoned FROM commit_markers WHERE id = $1"
_SWEEP = "DELETE FROM commit_markers WHERE made_at < $1"

_log = logger("mesh.database")

Connect = Callable[[], AbstractAsyncContextManager[Any]]


class Own(Protocol):
    """The connection that a writer keeps while it has something to write."""

    def connection(self) -> AbstractAsyncContextManager[Any]:
        """Lend it for a transaction."""

    async def give_back(self) -> None:
        """Let others have it."""


#: A connection as the transaction of one closure, or of the writer itself.
Open = Callable[[Any, Job | None], Transaction]


def begin_with(begin: str, value: str) -> str:
    """Return the SQL that begins a transaction with its limits of time and its tenant: one round trip."""
    return (
        f"{begin}; SET LOCAL statement_timeout = '{STATEMENT_S}s'; SET LOCAL lock_timeout = '{LOCK_S}s'; "
        f"SET LOCAL idle_in_transaction_session_timeout = '{2 * STATEMENT_S}s'; {set_tenant(value)}"
    )


def _commit(marker: str) -> str:
    """Return the SQL that leaves the marker and commits: one round trip; `marker` is hexadecimal of our own making."""
    return (
        f"INSERT INTO commit_markers (id, made_at, abandoned) VALUES ('{marker}', {now_us()}, false); "  # noqa: S608
        "COMMIT"
    )


class Writer:
    """Writes one transaction at a time, a group of the closures that wait.

    Args:
        number: which of the database's writers it is.
        own: lends the connection that it writes on.
        connect: lends another one.
        transaction: makes transactions of it.
        compile_: writes statements.
    """

    def __init__(self, number: int, own: Own, connect: Connect, transaction: Open, compile_: Compiler) -> None:
        self._number = number
        self._own = own
        self._connect = connect
        self._transaction = transaction
        self._stepper = Stepper(compile_, lambda connection: transaction(connection, None))
        self._waiting: deque[Job] = deque()
        self._task: asyncio.Task[None] | None = None
        self._swept = time.monotonic()
        self._commits = self._writes = 0

    def load(self) -> Load:
        """Return how much waits, and how much was written."""
        return Load(len(self._waiting), self._commits, self._writes)

    def put(self, job: Job) -> None:
        """Take a closure.

        Raises:
            DatabaseUnavailable: if too many wait already.
        """
        if len(self._waiting) >= QUEUE_LIMIT:
            raise DatabaseUnavailable("The database has more to write than it can.", retry_after=1)
        self._waiting.append(job)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write_waiting())

    async def close(self) -> None:
        """Finish what waits."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                await self._write_group()
                if not self._waiting:
                    await self._own.give_back()
                if time.monotonic() - self._swept > SWEEP_S:
                    self._swept = time.monotonic()
                    await self._sweep()
        finally:
            self._task = None  # nothing is awaited since the look: whatever comes from now on starts one of its own

    async def _write_group(self) -> None:
        jobs = [self._waiting.popleft() for _ in range(min(len(self._waiting), GROUP_LIMIT))]
        try:
            await self._write(jobs)
        except Exception as problem:  # noqa: BLE001 - handed to the callers who wait
            _fail(jobs, problem)

    async def _write(self, jobs: list[Job]) -> None:
        """Run closures in one transaction until it is committed, or they can't be."""
        conflicts = losses = 0
        while True:
            marker = os.urandom(16).hex()
            try:
                outcomes = await self._attempt(jobs, marker)
            except CommitLost as lost:
                if not await self._committed(marker):
                    losses += 1
                    if losses >= LOST_TRIES:
                        raise DatabaseUnavailable("The database can't be reached now.", retry_after=2) from None
                    continue
                outcomes = lost.outcomes
            except Apart:
                await self._write_apart(jobs)
                return
            except DRIVER_ERRORS as problem:
                what = kind(problem)
                if what is Kind.LOST:
                    losses += 1
                else:
                    conflicts += 1
                if len(jobs) > 1 and what is not Kind.LOST:
                    # Whoever it was that lost: alone, each is in nobody's way but its own.
                    await self._write_apart(jobs)
                    return
                if _final(what, conflicts, losses):
                    raise translate(problem) from None
                await _back_off(conflicts + losses)
                continue
            self._commits += 1
            self._writes += len(jobs)
            _answer(jobs, outcomes)
            return

    async def _write_apart(self, jobs: list[Job]) -> None:
        for job in jobs:
            try:
                await self._write([job])
            except Exception as problem:  # noqa: BLE001 - handed to the caller who waits
                _fail([job], problem)

    async def _attempt(self, jobs: list[Job], marker: str) -> list[Outcome]:
        """Run the closures once and commit.

        Raises:
            CommitLost: if the commit may have happened.
            asyncpg's errors: if it did not.
        """
        endings, committed = Endings(self._number), False
        try:
            async with self._own.connection() as connection:
                outcomes = await self._run(connection, jobs, endings)
                if all(outcome.error is not None for outcome in outcomes):
                    return outcomes  # nothing to commit: it is rolled back with the connection's return
                try:
                    await connection.execute(_commit(marker))
                except DRIVER_ERRORS as problem:
                    if kind(problem) is not Kind.LOST:
                        raise  # PostgreSQL itself says that it did not happen
                    raise CommitLost(outcomes) from None
            committed = True
        finally:
            endings.settle(committed=committed)
        return outcomes

    async def _run(self, connection: Any, jobs: list[Job], endings: Endings) -> list[Outcome]:
        """Begin a transaction, run each closure, in step where that can be, and write what they left to the end."""
        session = Session(connection, jobs[0].tenant)
        await connection.execute(begin_with(BEGIN_WRITE, session.tenant))
        found: dict[Job, Outcome] = {}
        if len(jobs) > 1:
            for some in rounds(job for job in jobs if job.touched is not None):
                found.update(zip(some, await self._stepper.run(session, some), strict=True))
        await self._one_by_one(session, [job for job in jobs if job not in found], found)
        done = [job for job in jobs if found[job].error is None]
        for job in done:
            endings.take(job.left)
        if endings:
            tenants = {job.tenant for job in done if job.left}
            # Each was checked when it was left: here one statement writes what is several tenants'.
            await session.become(tenants.pop() if len(tenants) == 1 else setting(ServerWork.AUDIT))
            await endings.write(self._transaction(connection, None))
        return [found[job] for job in jobs]

    async def _one_by_one(self, session: Session, jobs: list[Job], found: dict[Job, Outcome]) -> None:
        """Run closures one after the other, each in a savepoint of its own where the transaction holds others."""
        alone = len(jobs) == 1 and not found
        undo = ""
        for job in jobs:
            if not alone:
                # One round trip: the last closure's savepoint ends, the next one's begins, for the next one's tenant.
                change = f"{set_tenant(job.tenant)}; " if job.tenant != session.tenant else ""
                await session.connection.execute(f"{undo}{change}SAVEPOINT job")
                session.tenant = job.tenant
            job.left = []
            outcome = found[job] = await self._outcome(self._transaction(session.connection, job), job)
            undo = "ROLLBACK TO job; RELEASE job; " if outcome.error is not None else "RELEASE job; "
        if jobs and not alone and found[jobs[-1]].error is not None:
            await session.connection.execute("ROLLBACK TO job")

    async def _outcome(self, tx: Transaction, job: Job) -> Outcome:
        try:
            return Outcome(await job.work(tx))
        except DRIVER_ERRORS as problem:
            what = kind(problem)
            # A constraint that looks broken may be another transaction's doing which this one's snapshot can't see.
            if what is not Kind.OTHER:
                raise
            return Outcome(error=_untraced(translate(problem)))
        except Exception as problem:  # noqa: BLE001 - handed to the caller who waits for this closure
            return Outcome(error=problem)

    async def _committed(self, marker: str) -> bool:
        """Return whether the transaction with this marker was committed; if not, it never will be.

        Raises:
            OutcomeUnknown: if it can't be found out in time.
        """
        until = time.monotonic() + RESOLVE_S
        tries = 0
        while time.monotonic() < until:
            tries += 1
            try:
                return not await self._claim(marker)
            except (*DRIVER_ERRORS, MeshError):
                await _back_off(tries + 3)
        _log.error("a commit's outcome could not be found out", marker=marker)
        raise OutcomeUnknown("The connection to the database was lost at the commit, and it did not come back in time.")

    async def _claim(self, marker: str) -> bool:
        """Take a marker where it is free; return whether it was, now or in an earlier try."""
        async with self._connect() as connection:
            await connection.execute(begin_with(_BEGIN_CLAIM, setting(ServerWork.OUTCOME)))
            # Waits here while the lost transaction is still at work.
            await connection.execute(_CLAIM, marker, now_us())
            abandoned: bool = await connection.fetchval(_IS_ABANDONED, marker)
            await connection.execute("COMMIT")
            return abandoned

    async def _sweep(self) -> None:
        """Remove markers that nobody can ask for any more."""
        before = now_us() - int(MARKER_AGE_S * 1_000_000)
        try:
            async with self._connect() as connection:
                await connection.execute(begin_with(_BEGIN_CLAIM, setting(ServerWork.PURGE)))
                await connection.execute(_SWEEP, before)
                await connection.execute("COMMIT")
        except (*DRIVER_ERRORS, MeshError) as problem:
            _log.warning("old commit markers can't be removed now", kind=type(problem).__name__)


def _final(what: Kind, conflicts: int, losses: int) -> bool:
    if what is Kind.BROKEN_CONSTRAINT:
        return conflicts > 1  # a second, fresh snapshot saw everything that was committed: it is broken indeed
    return conflicts >= CONFLICT_TRIES or losses >= LOST_TRIES or what is Kind.OTHER


def _answer(jobs: list[Job], outcomes: list[Outcome]) -> None:
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.future.done():
            continue
        if outcome.error is None:
            job.future.set_result(outcome.result)
        else:
            job.future.set_exception(outcome.error)


def _fail(jobs: list[Job], problem: Exception) -> None:
    for job in jobs:
        if not job.future.done():
            job.future.set_exception(problem)


def _untraced(problem: Exception) -> Exception:
    problem.__suppress_context__ = True
    return problem


async def _back_off(times: int) -> None:
    """Wait a little, longer each time and never as long as another does."""
    await asyncio.sleep(min(0.4, 0.002 * 2**times) * (0.5 + random.random()))  # noqa: S311 - not a secret
