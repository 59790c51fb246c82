"""Accounts with API tokens, and the vault.

tenant_id leads every primary key; ids are UUIDv7 as text; times are integer microseconds since 1970.
"""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, PrimaryKeyConstraint, String, Text


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "schema_migrations",
        Column("revision", String(16), primary_key=True),
        Column("checksum", String(64), nullable=False),
        Column("applied_at", BigInteger, nullable=False),
    )
    op.create_table(
        "change_counter",
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("changes", BigInteger, nullable=False),
    )
    op.execute("INSERT INTO change_counter (id, changes) VALUES (1, 0)")
    _accounts()
    _vault()


def _accounts() -> None:
    op.create_table(
        "tenants",
        Column("tenant_id", String(128), primary_key=True),
        Column("created_at", BigInteger, nullable=False),
    )
    op.create_table(
        "users",
        Column("tenant_id", String(128), nullable=False),
        Column("id", String(36), nullable=False),
        Column("name", String(256)),
        Column("email", String(320)),
        Column("created_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "id"),
    )
    # The operator's name for an account that has no identity of an issuer: one account a name.
    op.create_index("users_name", "users", ["tenant_id", "name"], unique=True)
    op.create_table(
        "api_tokens",
        Column("tenant_id", String(128), nullable=False),
        Column("id", String(36), nullable=False),
        Column("user_id", String(36), nullable=False),
        Column("hash", LargeBinary, nullable=False),
        Column("name", String(256), nullable=False),
        Column("hint", String(16), nullable=False),
        Column("scopes", Text, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger),
        Column("revoked_at", BigInteger),
        PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("api_tokens_hash", "api_tokens", ["hash"], unique=True)
    op.create_index("api_tokens_user", "api_tokens", ["tenant_id", "user_id"])


def _vault() -> None:
    op.create_table(
        "keks",
        Column("id", String(32), primary_key=True),
        Column("canary", LargeBinary, nullable=False),
        Column("created_at", BigInteger, nullable=False),
    )
    op.create_table(
        "tenant_keys",
        Column("tenant_id", String(128), nullable=False),
        Column("id", String(36), nullable=False),
        Column("kek_id", String(32), nullable=False),
        Column("wrapped", LargeBinary, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_table(
        "keys",
        Column("tenant_id", String(128), nullable=False),
        Column("id", String(36), nullable=False),
        Column("owner_id", String(36), nullable=False),
        Column("namespace", String(256), nullable=False),
        Column("name", String(256), nullable=False),
        Column("current_version", BigInteger, nullable=False),
        Column("rev", BigInteger, nullable=False),
        Column("note", Text),
        Column("created_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger),
        Column("deleted_at", BigInteger),
        PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("keys_name", "keys", ["tenant_id", "owner_id", "namespace", "name"], unique=True)
    op.create_table(
        "key_versions",
        Column("tenant_id", String(128), nullable=False),
        Column("key_id", String(36), nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("tenant_key_id", String(36), nullable=False),
        Column("is_text", Boolean, nullable=False),
        Column("wrapped_dek", LargeBinary),
        Column("blob", LargeBinary),
        Column("created_at", BigInteger, nullable=False),
        Column("destroyed_at", BigInteger),
        PrimaryKeyConstraint("tenant_id", "key_id", "version"),
    )
    op.create_table(
        "key_tags",
        Column("tenant_id", String(128), nullable=False),
        Column("key_id", String(36), nullable=False),
        Column("tag", String(64), nullable=False),
        Column("value", String(256), nullable=False),
        PrimaryKeyConstraint("tenant_id", "key_id", "tag"),
    )
    op.create_index("key_tags_value", "key_tags", ["tenant_id", "tag", "value"])
