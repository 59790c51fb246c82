"""Proofs: enrolled records, challenges and enrolments under way, and the buckets that limit attempts."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, PrimaryKeyConstraint, String


def upgrade() -> None:
    """Create the tables of the proofs."""
    op.create_table(
        "zk_records",
        Column("tenant_id", String(128), nullable=False),
        Column("id", String(64), nullable=False),
        Column("owner_id", String(36), nullable=False),
        Column("namespace", String(256), nullable=False),
        Column("name", String(256), nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("root_id", String(16)),
        Column("ksf", LargeBinary),
        Column("record", LargeBinary),
        Column("created_at", BigInteger, nullable=False),
        Column("removed_at", BigInteger),
        PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("zk_records_name", "zk_records", ["tenant_id", "owner_id", "namespace", "name"], unique=True)
    op.create_table(
        "zk_challenges",
        Column("tenant_id", String(128), nullable=False),
        Column("id", String(32), nullable=False),
        Column("owner_id", String(36), nullable=False),
        Column("bind", LargeBinary, nullable=False),
        Column("record_id", String(64), nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("digest", LargeBinary, nullable=False),
        Column("public_key", LargeBinary, nullable=False),
        Column("address", String(64), nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_table(
        "zk_enrollments",
        Column("tenant_id", String(128), nullable=False),
        Column("id", String(32), nullable=False),
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
        PrimaryKeyConstraint("tenant_id", "id"),
    )
    for table in ("zk_challenges", "zk_enrollments"):
        op.create_index(f"{table}_record", table, ["tenant_id", "record_id"])
        op.create_index(f"{table}_expires", table, ["expires_at"])
    op.create_table(
        "zk_limits",
        Column("tenant_id", String(128), nullable=False),
        Column("bucket", String(72), nullable=False),
        Column("full_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "bucket"),
    )
    op.create_index("zk_limits_full", "zk_limits", ["full_at"])
