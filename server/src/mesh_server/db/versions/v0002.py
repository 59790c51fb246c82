"""Identities: which account a login belongs to.

The account of an issuer's subject is made once, however many first requests come at the same time: the primary key
decides which of them makes it.
"""

from alembic import op
from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, String


def upgrade() -> None:
    """Create the table of identities."""
    op.create_table(
        "identities",
        Column("tenant_id", String(128), nullable=False),
        Column("issuer", String(512), nullable=False),
        Column("subject", String(255), nullable=False),
        Column("user_id", String(36), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "issuer", "subject"),
    )
    op.create_index("identities_user", "identities", ["tenant_id", "user_id"])
