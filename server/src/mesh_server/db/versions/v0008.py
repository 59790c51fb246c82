"""Up to where each chain of the audit trail was removed because of its age."""

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, String


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "audit_cuts",
        Column("chain", String(36), primary_key=True),
        Column("seq", BigInteger, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("mac", LargeBinary, nullable=False),
    )
