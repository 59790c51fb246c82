"""HTTP endpoints of usage and budgets."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from mesh_server.asgi import Endpoint, Parameter, Request, Send, send_json
from mesh_server.billing.budgets import Budgets
from mesh_server.billing.models import DOLLAR, BudgetScope, Period, Standing, Unit
from mesh_server.billing.refusals import amount_of
from mesh_server.billing.usage import DIMENSIONS, Counters, Group, Question, Usage
from mesh_server.errors import InvalidRequest
from mesh_server.ids import microseconds, moment

#: Days that are summed up where nothing is said.
DAYS = 30
_FIRST_DAY = date(1970, 1, 1)
_BY = ("day", "provider", "model")

Amount = float | int


class UsageCounters(msgspec.Struct, kw_only=True):
    """Calls, tokens and money.

    `failed` calls ended in an error; of `estimated` ones the provider gave no figure, so that Mesh estimated; the cost
    of `unpriced` ones is not known, and not in the sum.
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


class UsageRow(UsageCounters, omit_defaults=True, kw_only=True):
    """What was spent on one combination of what was asked for. `service` is another word for the provider."""

    day: date | msgspec.UnsetType = msgspec.UNSET
    provider: str | msgspec.UnsetType = msgspec.UNSET
    service: str | msgspec.UnsetType = msgspec.UNSET
    model: str | msgspec.UnsetType = msgspec.UNSET
    key: str | msgspec.UnsetType | None = msgspec.UNSET
    surface: str | msgspec.UnsetType = msgspec.UNSET
    outcome: str | msgspec.UnsetType = msgspec.UNSET
    account: str | msgspec.UnsetType = msgspec.UNSET


class UsageAnswer(msgspec.Struct):
    """What was spent from `since` until just before `until`."""

    since: datetime
    until: datetime
    by: list[str]
    total: UsageCounters
    usage: list[UsageRow]
    truncated: bool
    success: bool = True


class BudgetShown(msgspec.Struct):
    """A limit and where it stands: dollars, calls or tokens, as `unit` says. `held` is set aside for calls."""

    id: str
    scope: BudgetScope
    subject: str | None
    unit: Unit
    period: Period
    hard: bool
    limit: Amount
    used: Amount
    held: Amount
    left: Amount
    resets_at: datetime | None


class BudgetAnswer(msgspec.Struct):
    """The limits that apply to the caller; `left_usd` is the least that any hard one of money leaves."""

    left_usd: float | None
    budgets: list[BudgetShown]
    success: bool = True


class BillingRoutes:
    """Handlers of the endpoints."""

    def __init__(self, usage: Usage, budgets: Budgets) -> None:
        self._usage = usage
        self._budgets = budgets

    async def usage(self, request: Request, send: Send) -> None:
        """Answer what the caller spent, or for an administrator the tenant."""
        query = request.query()
        unknown = sorted(query.keys() - {"since", "until", "by", "all"})
        if unknown:
            raise InvalidRequest(f"There is no parameter {unknown[0]!r} here.")
        everybody = query.get("all", "false")
        if everybody not in {"true", "false"}:
            raise InvalidRequest("`all` is `true` or `false`.")
        principal = request.principal
        if everybody == "true":
            principal.require("admin")
        since, until = span(query.get("since"), query.get("until"))
        by = dimensions(query.get("by"), everybody=everybody == "true")
        question = Question(
            since=microseconds(since),
            until=microseconds(until),
            by=by,
            tenant_id=principal.tenant_id,
            account_id=None if everybody == "true" else principal.account_id,
        )
        found = await self._usage.summary(question, principal)
        rows = [row_of(by, group) for group in found.groups]
        await send_json(
            send, UsageAnswer(since, until, list(by), UsageCounters(**counted(found.total)), rows, found.truncated)
        )

    async def budget(self, request: Request, send: Send) -> None:
        """Answer the limits that apply to the caller."""
        request.parameters()
        principal = request.principal
        found = await self._budgets.of_caller(principal.tenant_id, principal.account_id, principal.token_id)
        await send_json(send, BudgetAnswer(left_usd(found), [_shown(standing) for standing in found]))

    def endpoints(self) -> list[Endpoint]:
        """Return what this capability serves."""
        return [
            Endpoint(
                method="GET",
                path="/api/v1/usage",
                handler=self.usage,
                summary="What your calls of models came to",
                access="chat",
                answer=UsageAnswer,
                parameters=(
                    Parameter(name="since", description=f"A day or a moment; default {DAYS} days ago.", schema=str),
                    Parameter(name="until", description="The first day or moment after; default now.", schema=str),
                    Parameter(
                        name="by",
                        description=f"Sum up by, with commas: {', '.join(DIMENSIONS)}; by default {','.join(_BY)}.",
                        schema=str,
                    ),
                    Parameter(
                        name="all",
                        description="`true`: the whole tenant's; asks for the scope `admin`.",
                        schema=Literal["true", "false"],
                    ),
                ),
            ),
            Endpoint(
                method="GET",
                path="/api/v1/budget",
                handler=self.budget,
                summary="The limits that apply to you, and what is left of them",
                access="chat",
                answer=BudgetAnswer,
            ),
        ]


def endpoints(usage: Usage, budgets: Budgets) -> list[Endpoint]:
    """Return what this capability serves."""
    return BillingRoutes(usage, budgets).endpoints()


def span(since: str | None, until: str | None) -> tuple[datetime, datetime]:
    """Return the moments between which usage is asked for: by default whole days, today included.

    Raises:
        InvalidRequest: naming the one that is no day and no moment.
    """
    tomorrow = datetime.combine(datetime.now(UTC).date() + timedelta(days=1), datetime.min.time(), UTC)
    ends = _moment("until", until) if until else tomorrow
    begins = _moment("since", since) if since else ends - timedelta(days=DAYS)
    if begins >= ends:
        raise InvalidRequest("`since` must be before `until`.")
    return begins, ends


def dimensions(text: str | None, *, everybody: bool = True) -> tuple[str, ...]:
    """Return what to sum up by, in the order of `DIMENSIONS`.

    Raises:
        InvalidRequest: naming what is none of them.
    """
    named = set(_BY) if text is None else {word.strip() for word in text.split(",") if word.strip()}
    known = [name for name in DIMENSIONS if everybody or name != "account"]
    unknown = sorted(named - set(known))
    if unknown:
        raise InvalidRequest(f"`by` takes {', '.join(known)}; not {unknown[0][:64]!r}.")
    return tuple(name for name in known if name in named)


def left_usd(standings: list[Standing]) -> float | None:
    """Return the least that any hard limit of money leaves, in dollars; None without one."""
    lefts = [s.left for s in standings if s.budget.hard and s.budget.unit == "usd"]
    return min(lefts) / DOLLAR if lefts else None


def row_of(by: tuple[str, ...], group: Group) -> UsageRow:
    """Return a group as it is answered."""
    values: dict[str, Any] = dict(zip(by, group.values, strict=True))
    if "day" in values:
        values["day"] = _FIRST_DAY + timedelta(days=int(values["day"]))
    if "provider" in values:
        values["service"] = values["provider"]
    return UsageRow(**values, **counted(group.counters))


def counted(counters: Counters) -> dict[str, Any]:
    """Return counters by the names that are answered."""
    return {
        "calls": counters.calls,
        "failed": counters.failed,
        "estimated": counters.estimated,
        "unpriced": counters.unpriced,
        "input_tokens": counters.input,
        "cached_tokens": counters.cached,
        "cache_write_tokens": counters.cache_write,
        "output_tokens": counters.output,
        "thinking_tokens": counters.thinking,
        "total_tokens": counters.input + counters.output,
        "cost_usd": counters.cost_nano / DOLLAR,
        "cost_nano": counters.cost_nano,
    }


def _moment(name: str, text: str) -> datetime:
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            found = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        else:
            moment_: datetime = msgspec.convert(text, Annotated[datetime, msgspec.Meta(tz=True)])
            found = moment_.astimezone(UTC)
    except (ValueError, OverflowError, msgspec.ValidationError):
        raise InvalidRequest(
            f"`{name}` must be a day such as 2027-01-31, or a moment with its time zone such as 2027-01-31T00:00:00Z."
        ) from None
    if found.year < 1970:
        raise InvalidRequest(f"`{name}` is before 1970.")
    return found


def _shown(standing: Standing) -> BudgetShown:
    budget = standing.budget
    return BudgetShown(
        id=budget.id,
        scope=budget.scope,
        subject=standing.subject,
        unit=budget.unit,
        period=budget.period,
        hard=budget.hard,
        limit=amount_of(budget.unit, budget.amount),
        used=amount_of(budget.unit, standing.used),
        held=amount_of(budget.unit, standing.held),
        left=amount_of(budget.unit, standing.left),
        resets_at=None if standing.ends_at is None else moment(standing.ends_at),
    )
