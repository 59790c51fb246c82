"""The metadata that every capability's tables register with, and statements compiled once per dialect."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import BigInteger, Column, Dialect, MetaData, String, Table
from sqlalchemy.sql import ClauseElement

if TYPE_CHECKING:
    from mesh_server.db.endings import Ending

metadata = MetaData()

#: One row that counts changes to what processes keep warm in memory (see changes.py).
change_counter = Table(
    "change_counter",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("changes", BigInteger, nullable=False),
)

#: What was applied: revision and the SHA-256 of the script that was run.
schema_migrations = Table(
    "schema_migrations",
    metadata,
    Column("revision", String(16), primary_key=True),
    Column("checksum", String(64), nullable=False),
    Column("applied_at", BigInteger, nullable=False),
)

Row = Sequence[Any]


class ConstraintBroken(Exception):
    """A statement broke a constraint of the schema: a defect, or something the capability that ran it expects.

    The message names the constraint, never a value.
    """


class StatementFailed(Exception):
    """The database refused a statement itself: a defect of this program, told apart from an outage."""


class Transaction(Protocol):
    """What a unit of work may do; one implementation a driver."""

    async def one(self, statement: ClauseElement, **parameters: object) -> Row | None:
        """Return the first row, or None."""

    async def all(self, statement: ClauseElement, **parameters: object) -> list[Row]:
        """Return every row."""

    async def execute(self, statement: ClauseElement, **parameters: object) -> int:
        """Run a statement that changes rows and return how many it changed."""

    async def many(self, statement: ClauseElement, rows: Sequence[Mapping[str, object]]) -> None:
        """Run a statement that changes rows once for each set of parameters."""

    def at_end(self, ending: "Ending", item: object, tenant_id: str) -> None:
        """Leave something to the end of the transaction, unless this unit of work fails (see endings.py).

        Args:
            ending: does it.
            item: what is left.
            tenant_id: whose it is: as with rows, no other than the one that the unit of work is done for.
        """


class Compiler:
    """Compiles statements for one dialect and remembers the text.

    Statements are module-level constants, so the memory is bounded by the code.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._texts: dict[ClauseElement, tuple[str, dict[str, Any], tuple[str, ...]]] = {}

    def __call__(self, statement: ClauseElement, parameters: Mapping[str, object]) -> tuple[str, Mapping[str, Any]]:
        """Return the SQL text and all its parameters by name: those given, and the literals of the statement."""
        text, literals, _ = self._known(statement)
        return text, {**literals, **parameters} if literals else parameters

    def positional(self, statement: ClauseElement, parameters: Mapping[str, object]) -> tuple[Any, ...]:
        """Return the SQL text and all its parameters in their order, for a driver that takes them so."""
        text, literals, order = self._known(statement)
        given = {**literals, **parameters}
        return (text, *[given[name] for name in order])

    def text(self, statement: ClauseElement) -> str:
        """Return the SQL text alone."""
        return self._known(statement)[0]

    def _known(self, statement: ClauseElement) -> tuple[str, dict[str, Any], tuple[str, ...]]:
        known = self._texts.get(statement)
        if known is None:
            compiled = statement.compile(dialect=self._dialect)
            literals = {name: value for name, value in compiled.params.items() if value is not None}
            order = tuple(getattr(compiled, "positiontup", None) or ())
            known = self._texts[statement] = (str(compiled), literals, order)
        return known
