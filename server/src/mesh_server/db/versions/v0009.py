"""An index of the versions whose values are kept: those that a new one destroys are found among few, always."""

from alembic import op
from sqlalchemy import text


def upgrade() -> None:
    """Create the index."""
    kept = text("destroyed_at IS NULL")
    op.create_index(
        "key_versions_kept",
        "key_versions",
        ["tenant_id", "key_id", "version"],
        sqlite_where=kept,
        postgresql_where=kept,
    )
