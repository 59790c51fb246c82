"""Proofs that accounts, logins and enrolled records are as the server wrote them.

The columns are nullable for the sake of rows that are older than they are; a row without one is named by `verify`.
"""

from alembic import op
from sqlalchemy import Column, LargeBinary


def upgrade() -> None:
    """Add them."""
    for table in ("users", "identities", "zk_records"):
        op.add_column(table, Column("mac", LargeBinary))
