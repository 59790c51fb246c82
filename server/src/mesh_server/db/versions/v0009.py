"""Indexes, so that what is looked for often is found among few, however much there is beside it.

Versions whose values are kept: those that a new one destroys. Deleted keys: those whose window is over. Checkpoints of
a chain: its last one.
"""

from alembic import op
from sqlalchemy import text


def upgrade() -> None:
    """Create the indexes."""
    kept, deleted = text("destroyed_at IS NULL"), text("deleted_at IS NOT NULL")
    op.create_index(
        "key_versions_kept",
        "key_versions",
        ["tenant_id", "key_id", "version"],
        sqlite_where=kept,
        postgresql_where=kept,
    )
    op.create_index("keys_deleted", "keys", ["deleted_at"], sqlite_where=deleted, postgresql_where=deleted)
    op.create_index("audit_checkpoints_chain", "audit_checkpoints", ["chain", "number"])
