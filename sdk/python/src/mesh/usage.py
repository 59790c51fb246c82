"""What `get_usage` and `get_budget` return: what was spent, and what may be."""

from typing import Literal

from mesh.results import Member, Result

#: By what the server adds up what was spent.
Dimension = Literal["day", "provider", "model", "key", "surface", "outcome"]


class UsageCounts(Member):
    """Calls, their tokens, and what they cost.

    Attributes:
        calls: how many.
        failed: of these, those that ended in an error.
        estimated: of these, those of broken or cancelled streams: the provider told no tokens, and Mesh estimated them.
        unpriced: of these, those of models without a known price; their cost is not in the sum.
        input_tokens: of prompts, cached ones among them.
        cached_tokens: read from the provider's cache.
        cache_write_tokens: written to it.
        output_tokens: of answers, thinking among them.
        thinking_tokens: of reasoning.
        total_tokens: of both.
        cost_usd: US dollars.
        cost_nano: the same exactly, in billionths of a dollar.
    """

    calls: int
    failed: int
    estimated: int
    unpriced: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    thinking_tokens: int
    total_tokens: int
    cost_usd: float
    cost_nano: int


class UsageRow(UsageCounts):
    """What was spent on one day, with one model, …: it has those of these members that were asked for with `by`.

    Attributes:
        day: `2026-11-25`, of UTC.
        provider: who answered.
        service: the same, as older clients call it.
        model: that answered.
        key: the name of the key of yours that it was called with; None for the server's own.
        surface: the format that was spoken.
        outcome: how the calls ended.
    """

    day: str
    provider: str
    service: str
    model: str
    key: str | None
    surface: str
    outcome: str


class UsageReport(Result):
    """What you have spent, as the server counts it. Times are RFC 3339 text.

    Attributes:
        since: from when.
        until: to when, itself not counted.
        by: what the rows are by.
        total: of everything in that time.
        usage: the rows, the newest day first, then the dearest.
        truncated: there are more rows than the server tells at once; the total has them all.
    """

    since: str
    until: str
    by: list[str]
    total: UsageCounts
    usage: list[UsageRow]
    truncated: bool

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows of a success."""
        from mesh._display import usage_report  # noqa: PLC0415 - only in notebooks

        return usage_report(self) if self.get("success") else None


class BudgetLimit(Member):
    """One limit. Amounts of `usd` are US dollars, of `requests` and `tokens` whole numbers.

    Attributes:
        id: by which the operator knows it.
        scope: what it is for: `account`, `token`, `key` or `tenant`.
        subject: the name of the key or the token; else None.
        unit: `usd`, `requests` or `tokens`.
        period: `minute`, `day`, `month` or `total`.
        hard: whether calls are refused beyond it.
        limit: what may be spent in a period.
        used: of it, spent.
        held: of it, set aside for calls that are running.
        left: of it, free.
        resets_at: RFC 3339 text; None where it never does.
    """

    id: str
    scope: str
    subject: str | None
    unit: str
    period: str
    hard: bool
    limit: float
    used: float
    held: float
    left: float
    resets_at: str | None


class Budget(Result):
    """What you may spend, and what is left.

    Attributes:
        left_usd: what the tightest hard budget in US dollars leaves; None where there is none.
        budgets: every limit that your calls count for.
    """

    left_usd: float | None
    budgets: list[BudgetLimit]

    def _repr_html_(self) -> str | None:
        """Return what a notebook shows of a success."""
        from mesh._display import budget  # noqa: PLC0415 - only in notebooks

        return budget(self) if self.get("success") else None
