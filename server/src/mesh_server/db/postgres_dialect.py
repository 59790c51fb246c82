"""How the one SQL text is written for PostgreSQL.

Two differences to SQLite are settled here, so that no table and no statement has to know of them: every integer has 64
bits, and text is compared byte by byte, whatever the locale of the database is. Ranges over names and the cursors of
lists rely on that order.
"""

from typing import Any

from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.dialects.postgresql.base import PGTypeCompiler


class _Types(PGTypeCompiler):
    def visit_INTEGER(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002, N802 - SQLAlchemy's signature
        return "BIGINT"


class _ColumnTypes(_Types):
    def visit_VARCHAR(self, type_: Any, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        return f'{super().visit_VARCHAR(type_, **kw)} COLLATE "C"'

    def visit_TEXT(self, type_: Any, **kw: Any) -> str:  # noqa: N802 - SQLAlchemy's name
        return f'{super().visit_TEXT(type_, **kw)} COLLATE "C"'


class StatementDialect(asyncpg.dialect):
    """Writes statements: numbered parameters with their types."""

    supports_statement_cache = True
    type_compiler_cls = _Types


class SchemaDialect(asyncpg.dialect):
    """Writes tables."""

    supports_statement_cache = True
    type_compiler_cls = _ColumnTypes
