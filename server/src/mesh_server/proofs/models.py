"""Tables and plain records of the proofs."""

import hashlib
from dataclasses import dataclass, field

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, String, Table

from mesh_protocol.zkp import Subject
from mesh_server.db.schema import metadata

#: A row of an enrolled value; after a removal it stays without its record, so that versions never restart.
zk_records = Table(
    "zk_records",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("owner_id", String(36), nullable=False),
    Column("namespace", String(256), nullable=False),
    Column("name", String(256), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("root_id", String(16)),
    Column("ksf", LargeBinary),
    Column("record", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
    Column("mac", LargeBinary),
)

zk_challenges = Table(
    "zk_challenges",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("id", String(32), primary_key=True),
    Column("owner_id", String(36), nullable=False),
    Column("bind", LargeBinary, nullable=False),
    Column("record_id", String(64), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("address", String(64), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

zk_enrollments = Table(
    "zk_enrollments",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("id", String(32), primary_key=True),
    Column("owner_id", String(36), nullable=False),
    Column("namespace", String(256), nullable=False),
    Column("name", String(256), nullable=False),
    Column("bind", LargeBinary, nullable=False),
    Column("record_id", String(64), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("root_id", String(16), nullable=False),
    Column("blinded", LargeBinary, nullable=False),
    Column("answered", LargeBinary, nullable=False),
    Column("challenge", LargeBinary, nullable=False),
    Column("overwrite", Boolean, nullable=False),
    Column("address", String(64), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

#: Token buckets: by when each would be full again (the theoretical arrival time of the generic cell rate algorithm).
zk_limits = Table(
    "zk_limits",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("bucket", String(72), primary_key=True),
    Column("full_at", BigInteger, nullable=False),
)

#: Of the old scheme: `user_id` and `name` are as the client sent them.
legacy_commitments = Table(
    "legacy_commitments",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("owner_id", String(36), primary_key=True),
    Column("user_id", String(256), primary_key=True),
    Column("name", String(520), primary_key=True),
    Column("commitment", String(64), nullable=False),
    Column("stored_at", BigInteger, nullable=False),
)

#: Of the old scheme: the id is the challenge itself.
legacy_challenges = Table(
    "legacy_challenges",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("owner_id", String(36), nullable=False),
    Column("address", String(64), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something may be done: so many at once, and then so many an hour.

    Attributes:
        per_hour: what comes back in an hour.
        burst: what a bucket holds.
    """

    per_hour: int
    burst: int

    @property
    def interval_us(self) -> int:
        """Microseconds in which one comes back."""
        return 3_600_000_000 // self.per_hour


@dataclass(frozen=True, slots=True)
class Rates:
    """The limits of the proofs. A success gives back what it took, so these are limits of failures."""

    record: Rate = Rate(10, 20)
    user: Rate = Rate(600, 300)
    address: Rate = Rate(1_200, 600)


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about: the subject, and the namespace and name that it is made of."""

    subject: Subject
    namespace: str
    name: str

    @property
    def record_id(self) -> str:
        """The row's id."""
        return self.subject.record_id.hex()


@dataclass(frozen=True, slots=True)
class OldName:
    """What a commitment of the old scheme is stored under, inside the caller's own account.

    Both are part of the row's key, as keyed hashes of what was sent. So whether a commitment may be told depends on the
    row alone, and nobody moves it to the other kind by asking under another `userId`.

    Attributes:
        user_id: the `userId` of the request.
        name: its `keyName`; one client puts the `userId` and `_` before it, the other does not.
    """

    user_id: str
    name: str

    @property
    def bare(self) -> str | None:
        """The name without the user's id before it; None where that is not there."""
        prefix = f"{self.user_id}_"
        return self.name.removeprefix(prefix) if self.name.startswith(prefix) else None

    def within(self, account_id: str) -> str:
        """Return the namespace of the vault that is meant: none where the user's id is the account's own."""
        return "" if self.user_id == account_id else self.user_id

    def id_for(self, account_id: str) -> str:
        """Return what the limits know it by, 64 characters; no part can hold the byte that separates them."""
        return hashlib.sha256("\0".join(("legacy", account_id, self.user_id, self.name)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request says of its sender beside the principal. `repr` shows nothing.

    Attributes:
        bind: SHA-256 of the credential (SPEC step 1).
        address: the network that it comes from; empty where that is not known.
    """

    bind: bytes = field(repr=False)
    address: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenChallenge:
    """A challenge that was asked for; times in microseconds since 1970."""

    id: bytes
    challenge: bytes = field(repr=False)
    ksf: bytes
    response: bytes = field(repr=False)
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEnrollment:
    """An enrolment that was begun; times in microseconds since 1970."""

    id: bytes
    evaluated: bytes = field(repr=False)
    server_public_key: bytes
    challenge: bytes = field(repr=False)
    version: int
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledRecord:
    """What is known of a record without opening it; times in microseconds since 1970."""

    name: str
    namespace: str
    version: int
    created_at: int
