"""One way to read and one way to write, whatever the database is.

A unit of work is an `async def work(tx)` that awaits nothing but its transaction, may run more than once, and touches
nothing but `tx` (docs/adr/0002). Who it is done for is said with each call: on PostgreSQL a policy on every table shows
it the rows of that tenant and no others (docs/adr/0042).
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from mesh_server.db import address
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import Scope, ServerWork
from mesh_server.errors import DatabaseUnavailable, StartupError

T = TypeVar("T")
Work = Callable[[Transaction], Coroutine[Any, Any, T]]


@dataclass(frozen=True, slots=True)
class Touched:
    """The one thing that a unit of work reads or changes of what other units of work change, too.

    Two units that touch different things, or the same and only read it, may be run in step: the statements of one
    between those of the other, in one transaction.

    Attributes:
        what: its name; equal for equal things.
        changed: whether it is changed.
    """

    what: tuple[str, ...]
    changed: bool


#: Connections that one process opens to PostgreSQL at the most.
CONNECTIONS = 10
#: Long reads of one process at a time, and the seconds that others wait for their turn.
LONG_READS, LONG_WAIT_S = 2, 20.0


@dataclass(frozen=True, slots=True)
class Load:
    """How much a database of this process has to write.

    Attributes:
        waiting: units of work that wait.
        commits: transactions that were written since the start.
        writes: units of work in them.
    """

    waiting: int
    commits: int
    writes: int


class Turns:
    """Lets a few long reads run at once.

    Args:
        most: how many.
    """

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it.

        Raises:
            DatabaseUnavailable: if it does not come in time.
        """
        try:
            async with asyncio.timeout(LONG_WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise DatabaseUnavailable("Too many reports are being made at once.", retry_after=10) from None
        try:
            yield
        finally:
            self._free.release()


class Database(ABC):
    """What every database offers.

    Attributes:
        revision: the newest migration that was applied.
        writers: how many transactions can be written at once.
    """

    revision: str
    writers: int = 1

    @staticmethod
    async def open(url: str, *, connections: int = CONNECTIONS) -> "Database":
        """Open a database. SQLite is made and migrated as needed; PostgreSQL is migrated by `migrate` alone.

        Args:
            url: `sqlite:///` and an absolute path, or `postgresql://…`.
            connections: to PostgreSQL, at the most.

        Raises:
            StartupError: one sentence: what is wrong with the database and what to do; never its password.
        """
        if address.is_postgres(url):
            from mesh_server.db.postgres import PostgresDatabase  # noqa: PLC0415 - loads the driver

            return await PostgresDatabase.connect(url, connections)
        if address.is_sqlite(url):
            from mesh_server.db.sqlite import SQLiteDatabase  # noqa: PLC0415 - the one or the other

            return await SQLiteDatabase.at(address.sqlite_path(url))
        raise StartupError(
            "MESH_DATABASE_URL must be sqlite:/// and an absolute path, or postgresql://USER@HOST/DATABASE."
        )

    @staticmethod
    async def migrate(url: str, *, grant_to: str | None = None) -> str:
        """Apply the migrations that are missing and return the newest revision.

        Args:
            url: as for `open`; on PostgreSQL its role becomes the owner of the tables.
            grant_to: a role of PostgreSQL that may then read and change rows, and nothing else.

        Raises:
            StartupError: in one sentence.
        """
        if address.is_postgres(url):
            from mesh_server.db.postgres_schema import to_head  # noqa: PLC0415 - loads the driver

            return await to_head(url, grant_to=grant_to)
        if grant_to is not None:
            raise StartupError("--grant-to is for PostgreSQL; on SQLite there are no roles.")
        database = await Database.open(url)
        await database.close()
        return database.revision

    @abstractmethod
    async def read(self, work: Work[T], on_behalf_of: Scope, *, long: bool = False) -> T:
        """Run a unit of work that only reads, on one snapshot.

        Args:
            work: the unit of work.
            on_behalf_of: the principal whose tenant it is for, or the named work of the server itself.
            long: it may look at very many rows. Of these no more than `LONG_READS` run at once, the others wait for
                them: whoever asks for reports takes nothing away from those who look for a key.

        Raises:
            DatabaseUnavailable: if the database can't be read now, or too many long reads wait.
        """

    @abstractmethod
    async def write(self, work: Work[T], on_behalf_of: Scope, touched: Touched | None = None) -> T:
        """Run a unit of work and return its result after the commit.

        An exception of the work undoes its changes, and only its, and is raised here.

        Args:
            work: the unit of work.
            on_behalf_of: as for `read`.
            touched: what it reads or changes, where that is one thing that has a name; None to run it by itself.

        Raises:
            StorageReadOnly: if the disk is full or read-only.
            DatabaseUnavailable: if the database can't be written now; nothing was changed.
            OutcomeUnknown: if the connection was lost at the commit and whether it happened can't be found out.
        """

    @abstractmethod
    def load(self) -> Load:
        """Return how much there is to write, and how much was written."""

    async def check(self) -> None:
        """Raise where the database can't be read or written: for readiness."""

        async def nothing(_tx: Transaction) -> None:
            return None

        await self.read(nothing, ServerWork.READINESS)
        await self.write(nothing, ServerWork.READINESS)

    @abstractmethod
    async def close(self) -> None:
        """Finish what waits to be written, then close. Closing twice is fine."""
