"""The audit trail, grants, stored answers, and proofs that a row is as the server wrote it.

`mac` columns are nullable for the sake of rows that are older than they are; a row without one is named by `verify`.
"""

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, PrimaryKeyConstraint, String, Text


def upgrade() -> None:
    """Create them."""
    _audit()
    for table in ("keys", "key_versions", "api_tokens"):
        op.add_column(table, Column("mac", LargeBinary))
    op.create_table(
        "grants",
        Column("tenant_id", String(128), nullable=False),
        Column("id", String(36), nullable=False),
        Column("owner_id", String(36), nullable=False),
        Column("namespace", String(256), nullable=False),
        Column("pattern", String(257), nullable=False),
        Column("grantee_id", String(36), nullable=False),
        Column("grantee_kind", String(16), nullable=False),
        Column("actions", String(64), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger),
        Column("mac", LargeBinary, nullable=False),
        PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("grants_grantee", "grants", ["tenant_id", "grantee_id", "owner_id"])
    op.create_index("grants_owner", "grants", ["tenant_id", "owner_id"])
    op.create_table(
        "idempotency",
        Column("tenant_id", String(128), nullable=False),
        Column("account_id", String(36), nullable=False),
        Column("key_hash", String(64), nullable=False),
        Column("fingerprint", LargeBinary, nullable=False),
        Column("tenant_key_id", String(36), nullable=False),
        Column("answer", LargeBinary, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "account_id", "key_hash"),
    )
    op.create_index("idempotency_created", "idempotency", ["created_at"])
    # How a passphrase becomes the master key; nothing of it is secret.
    op.create_table(
        "passphrase_parameters",
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("salt", LargeBinary, nullable=False),
        Column("memory_kib", BigInteger, nullable=False),
        Column("iterations", BigInteger, nullable=False),
        Column("lanes", BigInteger, nullable=False),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        Column("chain", String(36), nullable=False),
        Column("seq", BigInteger, nullable=False),
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
        PrimaryKeyConstraint("chain", "seq"),
    )
    op.create_index("audit_tenant", "audit", ["tenant_id", "id"])
    op.create_index("audit_account", "audit", ["tenant_id", "account_id", "id"])
    op.create_index("audit_actor", "audit", ["tenant_id", "actor_id", "id"])
    # Where each chain stands: one row that its writer locks. The chain of checkpoints is named `-`.
    op.create_table(
        "audit_heads",
        Column("chain", String(36), primary_key=True),
        Column("seq", BigInteger, nullable=False),
        Column("hash", LargeBinary, nullable=False),
    )
    # Written by readiness checks: a database that can't be written is seen by nothing less than a write.
    op.create_table(
        "audit_probe",
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("at", BigInteger, nullable=False),
    )
    op.execute("INSERT INTO audit_probe (id, at) VALUES (1, 0)")
    op.execute("INSERT INTO audit_heads (chain, seq, hash) VALUES ('-', 0, '')")
    op.create_table(
        "audit_checkpoints",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("chain", String(36), nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("head", LargeBinary, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("prev_mac", LargeBinary, nullable=False),
        Column("mac", LargeBinary, nullable=False),
    )
