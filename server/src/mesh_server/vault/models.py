"""Tables and plain records of the vault."""

from dataclasses import dataclass

from sqlalchemy import Boolean, Column, Integer, LargeBinary, String, Table, Text

from mesh_server.db.schema import metadata

#: Deleted keys can be restored for this long.
RESTORE_WINDOW_US = 30 * 24 * 3600 * 1_000_000
#: Versions of a key that are kept; older ones are destroyed when a new one is stored.
VERSIONS_KEPT = 10

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
)

key_tags = Table(
    "key_tags",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("key_id", String(36), primary_key=True),
    Column("tag", String(64), primary_key=True),
    Column("value", String(256), nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
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


@dataclass(frozen=True, slots=True)
class OpenedKey:
    """A key with its value in the clear; lives as long as the request. `repr` does not show the value."""

    record: KeyRecord
    value: bytes
    is_text: bool

    def __repr__(self) -> str:
        """Return the name without the value."""
        return f"<OpenedKey {self.record.name!r} version {self.record.version}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewValue:
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
