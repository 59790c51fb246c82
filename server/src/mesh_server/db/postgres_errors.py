"""What a failure of PostgreSQL or of the way to it means: who may try again, and what the caller is told.

Texts of the driver and of the server can hold values (a key's name in a DETAIL line, a parameter of the wrong type), so
none of them is passed on: an SQLSTATE and the names of constraints are.
"""

from dataclasses import dataclass
from enum import Enum, auto

import asyncpg

from mesh_server.db.schema import ConstraintBroken, StatementFailed
from mesh_server.errors import DatabaseUnavailable, InvalidRequest, StorageReadOnly

#: What the driver raises, beside PostgreSQL's own errors, when a connection can't be made or used any more.
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

#: SQLSTATE classes (PostgreSQL, appendix A).
_CONFLICTS = {"40001", "40P01"}
_LOST = {"57P01", "57P02", "57P03", "57P05", "25P03"}
_READ_ONLY = {"25006", "53100"}
_BUSY = {"55P03": "waited too long for another's lock", "57014": "took too long", "53300": "has no free connection"}


class Kind(Enum):
    """What may be done about a failure."""

    CONFLICT = auto()  # the transaction lost against another: run it again
    LOST = auto()  # the connection is gone, or of no use
    BROKEN_CONSTRAINT = auto()
    OTHER = auto()  # told to the caller


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a closure returned or raised; told to its caller once the transaction is committed."""

    result: object = None
    error: Exception | None = None


class CommitLost(Exception):
    """The connection was lost while the commit was under way; what the closures returned is told if it happened."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        super().__init__("the connection was lost at the commit")
        self.outcomes = outcomes


def kind(problem: BaseException) -> Kind:
    """Return what may be done about a failure of the driver."""
    state = getattr(problem, "sqlstate", None)
    if isinstance(problem, asyncpg.PostgresError) and state:
        if state in _CONFLICTS or isinstance(problem, asyncpg.InvalidCachedStatementError):
            return Kind.CONFLICT  # the latter: somebody migrated just now, and the driver has forgotten the statement
        if state in _LOST or state.startswith("08"):
            return Kind.LOST
        if state.startswith("23"):
            return Kind.BROKEN_CONSTRAINT
        return Kind.OTHER
    if isinstance(problem, asyncpg.exceptions.ClientConfigurationError | asyncpg.exceptions.DataError):
        return Kind.OTHER
    return Kind.LOST


def translate(problem: BaseException) -> Exception:
    """Return what the caller is told; raise it `from None`, since the original's text may hold values."""
    state = getattr(problem, "sqlstate", None) or ""
    match kind(problem):
        case Kind.CONFLICT:
            return DatabaseUnavailable("Too many changes of the same data at the same time.", retry_after=1)
        case Kind.LOST:
            return DatabaseUnavailable("The database can't be reached now.", retry_after=2)
        case Kind.BROKEN_CONSTRAINT:
            return ConstraintBroken(f"constraint {getattr(problem, 'constraint_name', None)} (SQLSTATE {state})")
        case Kind.OTHER:
            return _other(problem, state)


def _other(problem: BaseException, state: str) -> Exception:
    if state in _READ_ONLY:
        return StorageReadOnly("The database can't be written: its disk is full or it is read-only.", retry_after=30)
    if state in _BUSY:
        return DatabaseUnavailable(f"The database {_BUSY[state]}.", retry_after=2)
    if state[:2] in {"53", "58", "XX"}:
        return DatabaseUnavailable("The database can't be used now.", retry_after=5)
    if state in {"22021", "22P05"}:
        return InvalidRequest("A text holds a character that can't be stored, such as U+0000.")
    return StatementFailed(f"{type(problem).__name__} (SQLSTATE {state or 'none'})")
