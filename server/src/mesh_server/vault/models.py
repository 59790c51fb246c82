"""Tables and plain records of the vault."""

from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, String, Table, Text

from mesh_protocol.quiet import Quiet
from mesh_server.db.schema import metadata

DAY_US = 24 * 3600 * 1_000_000
#: Deleted keys can be restored for this long where nothing else is configured.
RESTORE_WINDOW_US = 30 * DAY_US
#: Versions of a key that are kept where nothing else is configured.
VERSIONS_KEPT = 10
#: More values of a key are never kept, and no more of its versions are listed.
MOST_VERSIONS = 1_000

#: What a grant can allow, and the scope that a token needs for it besides.
ACTIONS = {"read": "keys:read", "write": "keys:write", "verify": "verify", "chat": "chat"}

keks = Table(
    "keks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("canary", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
)

tenant_keys = Table(
    "tenant_keys",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("id", String(36), primary_key=True),
    Column("kek_id", String(32), nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", Integer, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("id", String(36), primary_key=True),
    Column("owner_id", String(36), nullable=False),
    Column("namespace", String(256), nullable=False),
    Column("name", String(256), nullable=False),
    Column("current_version", Integer, nullable=False),
    Column("rev", Integer, nullable=False),
    Column("note", Text),
    Column("created_at", Integer, nullable=False),
    Column("updated_at", Integer, nullable=False),
    Column("expires_at", Integer),
    Column("deleted_at", Integer),
    Column("mac", LargeBinary),
)

key_versions = Table(
    "key_versions",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("key_id", String(36), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("tenant_key_id", String(36), nullable=False),
    Column("is_text", Boolean, nullable=False),
    Column("wrapped_dek", LargeBinary),
    Column("blob", LargeBinary),
    Column("created_at", Integer, nullable=False),
    Column("destroyed_at", Integer),
    Column("mac", LargeBinary),
)

key_tags = Table(
    "key_tags",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("key_id", String(36), primary_key=True),
    Column("tag", String(64), primary_key=True),
    Column("value", String(256), nullable=False),
)


grants = Table(
    "grants",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("id", String(36), primary_key=True),
    Column("owner_id", String(36), nullable=False),
    Column("namespace", String(256), nullable=False),
    Column("pattern", String(257), nullable=False),
    Column("grantee_id", String(36), nullable=False),
    Column("grantee_kind", String(16), nullable=False),
    Column("actions", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("mac", LargeBinary, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("account_id", String(36), primary_key=True),
    Column("key_hash", String(64), primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("tenant_key_id", String(36), nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

chat_answers = Table(
    "chat_answers",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("account_id", String(36), primary_key=True),
    Column("key_hash", String(64), primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("holder", String(36), nullable=False),
    Column("tenant_key_id", String(36)),
    Column("answer", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

passphrase_parameters = Table(
    "passphrase_parameters",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("salt", LargeBinary, nullable=False),
    Column("memory_kib", BigInteger, nullable=False),
    Column("iterations", BigInteger, nullable=False),
    Column("lanes", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator may choose.

    Attributes:
        versions_kept: of each key, the current one included; older ones are destroyed when a new one is stored.
        restore_window_us: for how long a deletion can be taken back, in microseconds.
    """

    versions_kept: int = VERSIONS_KEPT
    restore_window_us: int = RESTORE_WINDOW_US


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key without opening it; times in microseconds since 1970.

    Attributes:
        provable: whether it can be verified without its value being shown; known in lists only.
    """

    id: str
    name: str
    namespace: str
    version: int
    rev: int
    tags: dict[str, str]
    note: str | None
    created_at: int
    updated_at: int
    expires_at: int | None
    provable: bool = False


class OpenedKey(Quiet, msgspec.Struct, frozen=True):
    """A key with its value in the clear; lives as long as the request. `repr` does not show the value."""

    record: KeyRecord
    value: bytes
    is_text: bool
    version: int

    def __repr__(self) -> str:
        """Return the name without the value."""
        return f"<OpenedKey {self.record.name!r} version {self.version}>"


class NewValue(Quiet, msgspec.Struct, frozen=True, kw_only=True):
    """A value to store, with what describes it. `repr` does not show the value.

    Attributes:
        value: the bytes; UTF-8 where `is_text`.
        tags, note: None leaves those of the key as they are.
        expires_at: microseconds since 1970, None for never.
        provable: whether an enrolment of this value is under way, so that it must not end with the old value's
            verifier: which one (16 bytes), or any (True).
    """

    value: bytes
    is_text: bool
    tags: dict[str, str] | None = None
    note: str | None = None
    expires_at: int | None = None
    provable: bool | bytes = False

    def __repr__(self) -> str:
        """Return the size alone."""
        return f"<NewValue of {len(self.value)} bytes>"


@dataclass(frozen=True, slots=True)
class Deleted:
    """A key that was soft-deleted; times in microseconds since 1970."""

    name: str
    deleted_at: int
    restorable_until: int


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version of a key without its value; times in microseconds since 1970."""

    version: int
    is_text: bool
    created_at: int
    destroyed_at: int | None
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRecord:
    """What one account lets another, or one token, do with some of its keys; times in microseconds since 1970.

    Attributes:
        pattern: a key's name, or the beginning of names and `*`.
        namespace: of the owner's keys.
        grantee_id: an account's id, or a token's.
        grantee_kind: `account` or `token`.
        actions: of `read`, `write`, `verify`, `chat`.
    """

    id: str
    owner_id: str
    namespace: str
    pattern: str
    grantee_id: str
    grantee_kind: str
    actions: frozenset[str]
    created_at: int
    expires_at: int | None


class ChatKey(NamedTuple):
    """A key opened for a call to a provider: whose it is, and which version. `repr` does not show its value."""

    name: str
    value: str
    owner_id: str
    version: int

    def __repr__(self) -> str:
        """Return everything but the value."""
        return f"ChatKey(name={self.name!r}, owner_id={self.owner_id!r}, version={self.version})"
