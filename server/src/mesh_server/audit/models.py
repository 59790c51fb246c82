"""Tables and plain records of the audit trail."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from sqlalchemy import BigInteger, Column, LargeBinary, String, Table, Text

from mesh_server.db.schema import metadata

#: The tenant of what belongs to the server itself, and the name of the chain of checkpoints.
SYSTEM = "-"
#: The event that takes the place of older ones: it says what they said that still matters.
CUT = "audit.cut"

audit = Table(
    "audit",
    metadata,
    Column("chain", String(36), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("id", String(36), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("tenant_id", String(128), nullable=False),
    Column("account_id", String(36), nullable=False),
    Column("actor_id", String(36), nullable=False),
    Column("token_id", String(36)),
    Column("action", String(64), nullable=False),
    Column("object", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("details", Text, nullable=False),
)

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("chain", String(36), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("chain", String(36), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("prev_mac", LargeBinary, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

#: Up to where a chain was removed because of its age; `-` for the checkpoints.
audit_cuts = Table(
    "audit_cuts",
    metadata,
    Column("chain", String(36), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

audit_probe = Table(
    "audit_probe",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
)


class Actor(Protocol):
    """Who does something: a caller with a verified credential, or the operator at the command line."""

    @property
    def tenant_id(self) -> str:
        """The tenant in which it is done."""

    @property
    def account_id(self) -> str:
        """The account on whose behalf it is done."""

    @property
    def actor_id(self) -> str:
        """The account that does it: another one where a service acts for a person."""

    @property
    def token_id(self) -> str | None:
        """The API token that was used."""

    @property
    def request_id(self) -> str:
        """The request in which it is done; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever runs the server, at its command line.

    Attributes:
        tenant_id, account_id: where and for whom it is done; `-` for the server as a whole.
    """

    tenant_id: str = SYSTEM
    account_id: str = SYSTEM
    actor_id: str = "operator"
    token_id: None = None
    request_id: str = ""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the trail without its place in a chain.

    Attributes:
        id: UUIDv7; events are listed by it, newest first.
        at: microseconds since 1970.
        account_id: whose things it is about.
        actor_id, token_id: who did it, by which token; None for a login.
        action: what was done: `key.read`, `token.revoked`, …
        object: the name or id of what it was done to.
        outcome: `ok` or `denied`.
        details: JSON, deterministic; never a secret.
    """

    id: str
    at: int
    tenant_id: str
    account_id: str
    actor_id: str
    token_id: str | None
    action: str
    object: str
    outcome: str
    request_id: str
    details: str


def event_of(row: Sequence[Any]) -> Event:
    """Return an event from the columns `statements.EVENT`."""
    return Event(**dict(zip(Event.__struct_fields__, row, strict=True)))
