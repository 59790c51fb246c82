"""The published clients' old scheme of proofs: their commitments, and the challenges that are under way."""

from alembic import op
from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, String


def upgrade() -> None:
    """Create the two tables."""
    op.create_table(
        "legacy_commitments",
        Column("tenant_id", String(128), nullable=False),
        Column("owner_id", String(36), nullable=False),
        Column("user_id", String(256), nullable=False),
        Column("name", String(520), nullable=False),
        Column("commitment", String(64), nullable=False),
        Column("stored_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "owner_id", "user_id", "name"),
    )
    op.create_table(
        "legacy_challenges",
        Column("tenant_id", String(128), nullable=False),
        Column("id", String(64), nullable=False),
        Column("owner_id", String(36), nullable=False),
        Column("address", String(64), nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("legacy_challenges_owner", "legacy_challenges", ["tenant_id", "owner_id"])
    op.create_index("legacy_challenges_expires", "legacy_challenges", ["expires_at"])
