"""Units of work that share nothing, run in step: what several of them ask next goes to PostgreSQL as one statement.

A unit of work awaits nothing but its transaction (docs/adr/0002), so it can be driven by hand: each is run until it
asks something, then equal statements are answered together. Thirty units of eight statements are eight round trips
then, not two hundred and forty.

There are no savepoints in between. Where a unit fails that may have changed something already, or a statement fails,
everything is undone and each unit is run in a transaction of its own.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.selectable import SelectBase

from mesh_server.db.endings import Ending
from mesh_server.db.postgres_batch import Batch, changing, is_plain_insert, reading
from mesh_server.db.postgres_errors import DRIVER_ERRORS, Outcome
from mesh_server.db.postgres_session import Job, Session
from mesh_server.db.schema import Compiler, Row, Transaction


class Apart(Exception):
    """Nothing of the transaction may stand: its units of work have to be run one by one."""


class _Asked:
    """What a unit of work waits for: a statement, and how it is answered (`one`, `all`, `execute` or `many`)."""

    __slots__ = ("how", "parameters", "statement")

    def __init__(self, how: str, statement: ClauseElement, parameters: Any) -> None:
        self.how = how
        self.statement = statement
        self.parameters = parameters

    def __await__(self) -> Generator["_Asked", Any, Any]:
        """Wait for the answer."""
        return (yield self)


class _StepTransaction:
    """The transaction as one unit of work sees it: it asks, and somebody else answers."""

    __slots__ = ("_job",)

    def __init__(self, job: Job) -> None:
        self._job = job

    async def one(self, statement: ClauseElement, **parameters: object) -> Row | None:
        """Return the first row, or None."""
        row: Row | None = await _Asked("one", statement, parameters)
        return row

    async def all(self, statement: ClauseElement, **parameters: object) -> list[Row]:
        """Return every row."""
        rows: list[Row] = await _Asked("all", statement, parameters)
        return rows

    async def execute(self, statement: ClauseElement, **parameters: object) -> int:
        """Run a statement that changes rows and return how many it changed."""
        count: int = await _Asked("execute", statement, parameters)
        return count

    async def many(self, statement: ClauseElement, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a statement that changes rows once for each set of parameters."""
        await _Asked("many", statement, rows)

    def at_end(self, ending: Ending, item: object, tenant_id: str) -> None:
        """Leave something to the end of the transaction."""
        self._job.leave(ending, item, tenant_id)


class _Unit:
    """One unit of work on its way: what it asks now, or what became of it."""

    __slots__ = ("_changed", "_coroutine", "asked", "job", "outcome")

    def __init__(self, job: Job) -> None:
        self.job = job
        job.left = []
        self.asked: _Asked | None = None
        self.outcome: Outcome | None = None
        self._changed = False
        self._coroutine = job.work(_StepTransaction(job))

    def go_on(self, answer: object = None) -> None:
        """Run until it asks something, or ends.

        Raises:
            Apart: if it failed and may have changed something.
        """
        self.asked = None
        try:
            asked = self._coroutine.send(answer)
        except StopIteration as finished:
            self.outcome = Outcome(finished.value)
            return
        except Exception as problem:  # noqa: BLE001 - handed to the caller who waits for this unit
            if self._changed:
                raise Apart from None
            self.outcome = Outcome(error=problem)
            return
        if not isinstance(asked, _Asked):
            self._coroutine.close()
            self.outcome = Outcome(error=RuntimeError("a unit of work awaited something other than its transaction"))
            return
        self.asked = asked
        self._changed = self._changed or not isinstance(asked.statement, SelectBase)

    def close(self) -> None:
        """Give it up where it has not ended."""
        self._coroutine.close()


def rounds(jobs: Iterable[Job]) -> list[list[Job]]:
    """Return jobs in rounds of such as may be run in step; those that touch the same keep their order."""
    found: list[list[Job]] = []
    changed: dict[tuple[str, ...], bool] = {}
    for job in jobs:
        if job.touched is None:
            raise ValueError("what a unit of work touches is not known")
        what = job.touched.what
        if not found or (what in changed and (changed[what] or job.touched.changed)):
            found.append([])
            changed = {}
        found[-1].append(job)
        changed[what] = job.touched.changed
    return found


class Stepper:
    """Runs units of work in step.

    Args:
        compile_: writes statements.
        transaction: what answers a statement that stands for itself, on a connection.
    """

    def __init__(self, compile_: Compiler, transaction: Any) -> None:
        self._compile = compile_
        self._transaction = transaction
        self._batches: dict[ClauseElement, Batch | None] = {}

    async def run(self, session: Session, jobs: Sequence[Job]) -> list[Outcome]:
        """Run them in an open transaction, and return what became of each.

        Raises:
            Apart: if they have to be run one by one.
            asyncpg's errors: if a statement failed.
        """
        units = [_Unit(job) for job in jobs]
        try:
            for unit in units:
                unit.go_on()
            while waiting := [unit for unit in units if unit.asked is not None]:
                await self._answer(session, waiting)
        except (Apart, *DRIVER_ERRORS):
            raise
        except Exception as problem:
            raise Apart from problem  # one of them asked what can't be asked: alone, it is told so
        finally:
            for unit in units:
                unit.close()
        return [unit.outcome for unit in units if unit.outcome is not None]

    async def _answer(self, session: Session, waiting: list[_Unit]) -> None:
        """Answer each unit once, and let it go on."""
        alike: dict[tuple[str, str, ClauseElement], list[_Unit]] = {}
        for unit in waiting:
            if unit.asked is not None:
                alike.setdefault((unit.job.tenant, unit.asked.how, unit.asked.statement), []).append(unit)
        for (tenant, how, statement), units in alike.items():
            await session.become(tenant)
            asked = [unit.asked.parameters for unit in units if unit.asked is not None]
            answers = await self._ask(session, how, statement, asked)
            for unit, answer in zip(units, answers, strict=True):
                unit.go_on(answer)

    async def _ask(self, session: Session, how: str, statement: ClauseElement, asked: list[Any]) -> Sequence[Any]:
        if how == "many":
            await self._transaction(session.connection).many(statement, [row for rows in asked for row in rows])
            return [None] * len(asked)
        batch = self._batch(statement) if len(asked) > 1 else None
        if batch is not None and (how != "execute") == isinstance(statement, SelectBase):
            sets = [self._compile.positional(statement, parameters)[1:] for parameters in asked]
            return [_as(how, rows) for rows in await _distinct(batch, session, sets)]
        tx: Transaction = self._transaction(session.connection)
        if how == "execute" and len(asked) > 1 and is_plain_insert(self._compile.text(statement)):
            await tx.many(statement, asked)
            return [1] * len(asked)
        return [await getattr(tx, how)(statement, **parameters) for parameters in asked]

    def _batch(self, statement: ClauseElement) -> Batch | None:
        if statement not in self._batches:
            text = self._compile.text(statement)
            self._batches[statement] = reading(text) if isinstance(statement, SelectBase) else changing(text)
        return self._batches[statement]


async def _distinct(batch: Batch, session: Session, sets: list[tuple[Any, ...]]) -> list[list[Row]]:
    """Run a batch, asking once what several ask."""
    places = {one: place for place, one in enumerate(dict.fromkeys(sets))}
    found = await batch.rows(session.connection, list(places))
    return [found[places[one]] for one in sets]


def _as(how: str, rows: list[Row]) -> Any:
    if how == "one":
        return rows[0] if rows else None
    return len(rows) if how == "execute" else rows
