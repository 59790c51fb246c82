"""Whole tables, a page at a time, in the order of their primary keys."""

from collections.abc import AsyncIterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, Table, bindparam, select, tuple_
from sqlalchemy.sql import ColumnElement

from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import ServerWork


async def page(tx: Transaction, table: Table, after: Sequence[Any] | None, limit: int) -> list[Row]:
    """Return rows of a table, every column of it.

    Args:
        tx: in which to read.
        table: of the metadata.
        after: the primary key of the last row of the page before; None to begin.
        limit: how many at most.
    """
    if after is None:
        return await tx.all(_first(table), limit_=limit)
    return await tx.all(_next(table), limit_=limit, **{f"after_{index}": value for index, value in enumerate(after)})


def key_of(table: Table, row: Row) -> tuple[Any, ...]:
    """Return the primary key of a row of a table."""
    names = [column.name for column in table.columns]
    return tuple(row[names.index(column.name)] for column in table.primary_key)


@cache  # one text for each table
def _first(table: Table) -> Select[Any]:
    return select(*table.columns).order_by(*table.primary_key).limit(bindparam("limit_"))


@cache
def _next(table: Table) -> Select[Any]:
    columns: list[ColumnElement[Any]] = list(table.primary_key)
    after = [bindparam(f"after_{index}", type_=column.type) for index, column in enumerate(columns)]
    return select(*table.columns).where(tuple_(*columns) > tuple_(*after)).order_by(*columns).limit(bindparam("limit_"))


async def rows(database: Database, table: Table, step: int = 500) -> AsyncIterator[dict[str, Any]]:
    """Yield every row of a table by column name, while it is in use."""
    names = [column.name for column in table.columns]
    after: tuple[Any, ...] | None = None

    async def work(tx: Transaction) -> list[Row]:
        return await page(tx, table, after, step)

    while found := await database.read(work, ServerWork.VERIFY):
        for row in found:
            yield dict(zip(names, row, strict=True))
        after = key_of(table, found[-1])
