"""Usage of models, budgets with what processes have taken of them, and stored answers of chat."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, PrimaryKeyConstraint, String


def upgrade() -> None:
    """Create them."""
    _usage()
    _budgets()
    # A call with an `Idempotency-Key`: without an answer while it runs, and for ever where its process died.
    op.create_table(
        "chat_answers",
        Column("tenant_id", String(128), nullable=False),
        Column("account_id", String(36), nullable=False),
        Column("key_hash", String(64), nullable=False),
        Column("fingerprint", LargeBinary, nullable=False),
        Column("holder", String(36), nullable=False),
        Column("tenant_key_id", String(36)),
        Column("answer", LargeBinary),
        Column("created_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "account_id", "key_hash"),
    )
    op.create_index("chat_answers_expires", "chat_answers", ["expires_at"])


def _usage() -> None:
    op.create_table(
        "usage_events",
        Column("tenant_id", String(128), nullable=False),
        Column("id", String(36), nullable=False),
        Column("account_id", String(36), nullable=False),
        Column("token_id", String(36)),
        Column("at", BigInteger, nullable=False),
        Column("surface", String(32), nullable=False),
        Column("provider", String(128), nullable=False),
        Column("model_asked", String(256), nullable=False),
        Column("model", String(256), nullable=False),
        Column("key_owner", String(36)),
        Column("key_name", String(256)),
        Column("key_version", Integer),
        Column("input", BigInteger, nullable=False),
        Column("cached", BigInteger, nullable=False),
        Column("cache_write", BigInteger, nullable=False),
        Column("output", BigInteger, nullable=False),
        Column("thinking", BigInteger, nullable=False),
        Column("cost_nano", BigInteger),
        Column("price_revision", String(64)),
        Column("latency_us", BigInteger, nullable=False),
        Column("first_us", BigInteger),
        Column("streamed", Boolean, nullable=False),
        Column("outcome", String(16), nullable=False),
        Column("error_code", String(64)),
        Column("estimated", Boolean, nullable=False),
        Column("request_id", String(64), nullable=False),
        Column("budget_id", String(36)),
        PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("usage_events_account", "usage_events", ["tenant_id", "account_id", "at"])
    op.create_index("usage_events_at", "usage_events", ["at"])


def _budgets() -> None:
    op.create_table(
        "budgets",
        Column("tenant_id", String(128), nullable=False),
        Column("id", String(36), nullable=False),
        Column("scope", String(16), nullable=False),
        Column("subject_id", String(36), nullable=False),
        Column("key_name", String(256), nullable=False),
        Column("unit", String(16), nullable=False),
        Column("period", String(16), nullable=False),
        Column("hard", Boolean, nullable=False),
        Column("amount", BigInteger, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(
        "budgets_subject",
        "budgets",
        ["tenant_id", "scope", "subject_id", "key_name", "unit", "period", "hard"],
        unique=True,
    )
    # `taken`: of the limit, by all processes, spent or not. `folded`: spent by processes that are gone.
    op.create_table(
        "budget_periods",
        Column("tenant_id", String(128), nullable=False),
        Column("budget_id", String(36), nullable=False),
        Column("starts_at", BigInteger, nullable=False),
        Column("taken", BigInteger, nullable=False),
        Column("folded", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "budget_id", "starts_at"),
    )
    op.create_index("budget_periods_starts", "budget_periods", ["starts_at"])
    # One row a process: what it took, and what of that it has spent. Only its process writes it.
    op.create_table(
        "reservations",
        Column("tenant_id", String(128), nullable=False),
        Column("budget_id", String(36), nullable=False),
        Column("starts_at", BigInteger, nullable=False),
        Column("holder", String(36), nullable=False),
        Column("taken", BigInteger, nullable=False),
        Column("spent", BigInteger, nullable=False),
        PrimaryKeyConstraint("tenant_id", "budget_id", "starts_at", "holder"),
    )
    op.create_index("reservations_holder", "reservations", ["holder"])
    op.create_table(
        "leases",
        Column("id", String(36), primary_key=True),
        Column("expires_at", BigInteger, nullable=False),
    )
