"""The metadata that every capability's tables register with, and statements compiled once per dialect."""

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Column, Dialect, Integer, MetaData, String, Table
from sqlalchemy.sql import ClauseElement

metadata = MetaData()

#: One row that counts changes to what processes keep warm in memory (see changes.py).
change_counter = Table(
    "change_counter",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("changes", Integer, nullable=False),
)

#: What was applied: revision and the SHA-256 of the script that was run.
schema_migrations = Table(
    "schema_migrations",
    metadata,
    Column("revision", String(16), primary_key=True),
    Column("checksum", String(64), nullable=False),
    Column("applied_at", Integer, nullable=False),
)

Row = Sequence[Any]


class Transaction(Protocol):
    """What a unit of work may do; one implementation a driver."""

    async def one(self, statement: ClauseElement, **parameters: object) -> Row | None:
        """Return the first row, or None."""

    async def all(self, statement: ClauseElement, **parameters: object) -> list[Row]:
        """Return every row."""

    async def execute(self, statement: ClauseElement, **parameters: object) -> int:
        """Run a statement that changes rows and return how many it changed."""


class Compiler:
    """Compiles statements for one dialect and remembers the text.

    Statements are module-level constants, so the memory is bounded by the code.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._texts: dict[ClauseElement, tuple[str, dict[str, Any]]] = {}

    def __call__(self, statement: ClauseElement, parameters: dict[str, object]) -> tuple[str, dict[str, Any]]:
        """Return the SQL text and all its parameters: those given, and the literals of the statement."""
        known = self._texts.get(statement)
        if known is None:
            compiled = statement.compile(dialect=self._dialect)
            literals = {name: value for name, value in compiled.params.items() if value is not None}
            known = self._texts[statement] = (str(compiled), literals)
        text, literals = known
        return text, {**literals, **parameters}
