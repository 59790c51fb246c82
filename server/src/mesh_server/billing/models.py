"""Tables and plain records of usage and budgets. Money is whole nano-dollars, times are microseconds since 1970."""

from dataclasses import dataclass
from typing import Literal

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Integer, String, Table

from mesh_server.db.schema import metadata

#: What a budget is for: everything of a tenant, an account, an API token, or what is called with one key.
BudgetScope = Literal["tenant", "account", "token", "key"]
#: What is counted: nano-dollars, calls, or tokens of every kind.
Unit = Literal["usd", "requests", "tokens"]
Period = Literal["minute", "day", "month", "total"]
#: How a call ended. `lost`: nobody knows, because its process died.
CallOutcome = Literal["ok", "failed", "cancelled", "lost"]

#: Nano-dollars of a dollar.
DOLLAR = 1_000_000_000

usage_events = Table(
    "usage_events",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("id", String(36), primary_key=True),
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
)

budgets = Table(
    "budgets",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("id", String(36), primary_key=True),
    Column("scope", String(16), nullable=False),
    Column("subject_id", String(36), nullable=False),
    Column("key_name", String(256), nullable=False),
    Column("unit", String(16), nullable=False),
    Column("period", String(16), nullable=False),
    Column("hard", Boolean, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

budget_periods = Table(
    "budget_periods",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("budget_id", String(36), primary_key=True),
    Column("starts_at", BigInteger, primary_key=True),
    Column("taken", BigInteger, nullable=False),
    Column("folded", BigInteger, nullable=False),
)

reservations = Table(
    "reservations",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("budget_id", String(36), primary_key=True),
    Column("starts_at", BigInteger, primary_key=True),
    Column("holder", String(36), primary_key=True),
    Column("taken", BigInteger, nullable=False),
    Column("spent", BigInteger, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("expires_at", BigInteger, nullable=False),
)


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One call of one surface, however it ended.

    Attributes:
        tenant_id, account_id, token_id: whose call it was, and with which API token; None for a login.
        at: when it began.
        surface: the wire format that was spoken: `mesh`, `openai_chat`, `openai_responses`, `anthropic`, `embeddings`,
            `legacy`.
        provider: who answered, or was asked last.
        model_asked: as the caller named it; empty where the choice was left to the server.
        model: what answered, by the provider's own word where it gave one.
        key_owner, key_name, key_version: the key of the vault that the call was made with; None for the server's own.
        input: tokens, those read from and written to the provider's cache included.
        cached: of them, read from the cache.
        cache_write: of them, written to the cache.
        output: tokens, those of thinking included.
        thinking: of them, thought.
        cost_nano: nano-dollars; None where no price is known.
        price_revision: which prices it was computed with.
        latency_us: from the call's arrival to its end.
        first_us: to the first piece of a stream; None for a whole answer.
        estimated: the provider gave no figure: tokens and cost are Mesh's estimate.
        error_code: of the failure that ended it.
        budget_id: of a budget, where this is what a dead process left unsettled of it; else None. Then `cost_nano` has
            the amount of one of money, and `input` that of calls or tokens.
    """

    tenant_id: str
    id: str
    account_id: str
    token_id: str | None
    at: int
    surface: str
    provider: str
    model_asked: str
    model: str
    key_owner: str | None = None
    key_name: str | None = None
    key_version: int | None = None
    input: int = 0
    cached: int = 0
    cache_write: int = 0
    output: int = 0
    thinking: int = 0
    cost_nano: int | None = None
    price_revision: str | None = None
    latency_us: int = 0
    first_us: int | None = None
    streamed: bool = False
    outcome: CallOutcome = "ok"
    error_code: str | None = None
    estimated: bool = False
    request_id: str = ""
    budget_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit. `amount` is nano-dollars, calls or tokens, as `unit` says.

    Attributes:
        subject_id: the account, the API token, or the owner of the key; empty for a tenant's.
        key_name: of a key's budget; else empty.
        hard: calls that could pass it are refused; else their answers only say so.
    """

    tenant_id: str
    id: str
    scope: BudgetScope
    subject_id: str
    key_name: str
    unit: Unit
    period: Period
    hard: bool
    amount: int
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a budget stands in its running period; amounts as of the budget.

    Attributes:
        used: spent, what dead processes left unsettled included.
        held: taken by running processes for calls under way or to come.
        starts_at, ends_at: of the period; `ends_at` is None for one that never ends.
        subject: the name of the key or the API token, where it is one's.
    """

    budget: Budget
    used: int
    held: int
    starts_at: int
    ends_at: int | None
    subject: str | None = None

    @property
    def left(self) -> int:
        """What is neither spent nor held."""
        return max(self.budget.amount - self.used - self.held, 0)
