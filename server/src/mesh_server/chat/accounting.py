"""Accounts for calls: what one may come to is reserved before it is made, and what it came to is settled at its end."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from mesh_server.accounts.models import Principal
from mesh_server.billing.models import DOLLAR, CallOutcome, UsageEvent
from mesh_server.billing.refusals import amount_text, describe
from mesh_server.billing.service import Also, Billing, Meter
from mesh_server.chat import ceilings
from mesh_server.chat.catalog.prices import PriceList, cost
from mesh_server.chat.ceilings import Ceiling
from mesh_server.chat.formats.common import ChatRequest, Format, Outcome, Usage
from mesh_server.chat.models import LOCAL, Target
from mesh_server.errors import (
    BudgetExceeded,
    DeadlineExceeded,
    MeshError,
    ProviderFailed,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExceeded,
)
from mesh_server.ids import now_us, today, uuid7

#: Failures after which the provider may have done what was asked.
_MAY_HAVE_RUN = (ProviderFailed, ProviderTimeout, ProviderUnavailable, DeadlineExceeded)
#: Bytes of a token, on average: an estimate errs on the high side.
_BYTES_A_TOKEN = 3.5
#: More tokens than this are nothing that a provider means.
_MOST_TOKENS = 2**40
#: Times that the limit of an answer is lowered, where others take from the same budget at the same time.
_LOWERINGS = 4

_encoder = msgspec.json.Encoder()


def may_have_run(problem: BaseException) -> bool:
    """Return whether a provider may have done what was asked, though the call failed."""
    if isinstance(problem, MeshError):
        return problem.executed or (isinstance(problem, _MAY_HAVE_RUN) and not problem.unexecuted)
    return True


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """What a surface does at the end of a call.

    Attributes:
        surface: its name.
        render: returns what a whole answer becomes.
        last: returns the events that a complete stream ends with beside its format's own.
        keep: returns what stores an answer as it is sent, in the transaction of its usage; None where nothing does.
    """

    surface: str
    render: Callable[[bytes, Outcome], bytes] = lambda body, _outcome: body
    last: Callable[[Outcome], list[bytes]] = lambda _outcome: []
    keep: Callable[[bytes, Outcome], Also] | None = None


class Accounting:
    """Opens the account of each call.

    Args:
        billing: usage and budgets.
        prices: what tokens cost.
    """

    def __init__(self, billing: Billing, prices: PriceList) -> None:
        self._billing = billing
        self._prices = prices

    async def open(self, principal: Principal, request: ChatRequest, ending: "Ending") -> "CallAccount":
        """Open the account of a call.

        Raises:
            DatabaseUnavailable: if the caller's budgets can't be read, or usage can't be written now.
        """
        return CallAccount(await self._billing.meter(principal), self._prices, request, ending)


@dataclass(slots=True)
class _Sent:
    """How much of a stream has come: what its tokens are estimated by where the provider gave no figure."""

    events: int = 0
    size: int = 0
    least: int = 0

    def add(self, data: bytes) -> None:
        size = len(data)
        self.events += 1
        self.size += size
        self.least = min(self.least or size, size)

    def tokens(self) -> int:
        """Return about how many tokens came: what is in the events beside their frame, and one for each at least."""
        if not self.events:
            return 0
        return max(round((self.size - self.events * self.least) / _BYTES_A_TOKEN), self.events - 1)


class CallAccount:
    """The account of one call.

    Attributes:
        ending: what its surface does at its end.
        sent: how much of its stream has come.
        settled: its end was accounted for.
    """

    __slots__ = (
        "_asked", "_at", "_began", "_body", "_ceiling", "_first", "_meter", "_outcome", "_prices", "_ran", "_request",
        "_reserved", "_target", "_writes",
        "ending", "sent", "settled",
    )  # fmt: skip

    def __init__(self, meter: Meter, prices: PriceList, request: ChatRequest, ending: Ending) -> None:
        self._meter = meter
        self._prices = prices
        self._request = request
        self.ending = ending
        self.settled = False
        self._at = now_us()
        self._began = time.perf_counter_ns()
        self._asked = False
        self._first: int | None = None
        self._target: Target | None = None
        self._outcome: Outcome | None = None
        self._body = 0
        self._writes = True
        self._ceiling: Ceiling | None = None
        self._reserved: int | None = None
        self._ran = False
        self.sent = _Sent()

    @property
    def waits(self) -> bool:
        """Whether the end of the answer waits until its usage is written."""
        return self._meter.hard or self.ending.keep is not None

    async def admit(self, target: Target, outcome: Outcome, format_: Format | None, fields: dict[str, Any]) -> bytes:
        """Let one attempt through, and return the body that it is made with: with a lower limit where that must be.

        Args:
            target: where it goes.
            outcome: of the attempt; told of what was lowered.
            format_: the provider's format; None for embeddings.
            fields: the members of the body.

        Raises:
            BudgetExceeded, QuotaExceeded, PriceUnknown: if a hard limit does not admit it.
            DatabaseUnavailable: if more must be taken from a budget, and can't be now.
        """
        body = _encoder.encode(fields)
        self._target, self._outcome, self._body = target, outcome, len(body)
        self._asked, self._writes, self._ceiling, self._reserved = False, format_ is not None, None, None
        self.sent = _Sent()
        meter = self._meter
        if target.key_name is not None and target.key_owner is not None:
            await meter.with_key(target.key_owner, target.key_name)
        else:
            meter.without_key()
        if not meter.hard:
            self._asked = True
            return body
        body = await self._hold(target, outcome, format_, fields, body)
        self._asked = True
        return body

    async def _hold(
        self, target: Target, outcome: Outcome, format_: Format | None, fields: dict[str, Any], body: bytes
    ) -> bytes:
        """Reserve what the call may come to; where the answer has no limit of its own, one that fits is written."""
        found = ceilings.of_call(target, format_, fields, body, self._request)
        if not self._meter.bounds_answers:
            await self._reserve(target, found)
            return body
        for _ in range(_LOWERINGS):
            try:
                await self._reserve(target, found)
            except (BudgetExceeded, QuotaExceeded) as refused:
                less = None if found.asked or format_ is None else self._lower(target, found, refused, fields)
                if less is None:
                    raise
                found = less
            else:
                return body if format_ is None else self._limited(target, outcome, format_, fields, body, found)
        await self._reserve(target, found)
        return body if format_ is None else self._limited(target, outcome, format_, fields, body, found)

    async def _reserve(self, target: Target, found: Ceiling) -> None:
        nano = self._nano(target, found)
        await self._meter.hold(tokens=found.tokens, nano=nano)
        self._ceiling, self._reserved = found, nano

    def begin(self) -> None:
        """Note that the first piece of a stream has come."""
        if self._first is None:
            self._first = time.perf_counter_ns()

    def price(self, outcome: Outcome, size: int = 0) -> None:
        """Compute what an answer cost, by the model that answered or else the one that was asked.

        Args:
            outcome: told of it.
            size: bytes of a whole answer, which its tokens are estimated by where the provider gave no figure.
        """
        target = self._target
        if target is None:
            return
        outcome.price_revision = self._prices.revision
        if outcome.usage is not None:
            outcome.usage = _sane(outcome.usage)
        usage = outcome.usage or self._estimate(size)
        if target.provider == LOCAL:
            outcome.cost_nano = 0
        else:
            day = today()
            for model in dict.fromkeys((outcome.model, target.model)):
                found = self._prices.of(target.price_address, target.provider, model, today=day, tier=outcome.tier)
                if found is not None:
                    outcome.cost_nano = cost(found, usage)
                    break
        left = self._meter.left_nano(outcome.cost_nano or 0)
        outcome.budget_left_usd = None if left is None else left / DOLLAR
        for budget, used in self._meter.overrun(outcome.cost_nano or 0, usage.input + usage.output):
            text = describe(budget)
            outcome.warnings.append(f"{text[0].upper()}{text[1:]} is used up: {amount_text(budget.unit, used)}.")

    async def settle(self, outcome: Outcome, answer: bytes) -> None:
        """Account for a complete answer, whose cost is computed; where the call `waits`, until that is written.

        Args:
            outcome: what is known of it.
            answer: as it is sent, to be kept where somebody keeps it.

        Raises:
            OutcomeUnknown: if that takes too long; it will be written.
        """
        self.settled = True
        usage = outcome.usage or self._estimate(0 if self._request.stream else len(answer))
        event = self._event(outcome, usage, "ok", estimated=outcome.usage is None)
        keep = self.ending.keep
        await self._meter.settle(event, also=None if keep is None else keep(answer, outcome))

    def fail(self, problem: BaseException) -> None:
        """Account for a call that brought no complete answer; what it came to may be an estimate. Never waits."""
        if self.settled:
            return
        self.settled = True
        if isinstance(problem, asyncio.CancelledError) and self._out_of_time():
            problem = DeadlineExceeded("The caller's own time was over.")
        if self._outcome is None or not self._asked:
            self._meter.release()  # nobody was asked anything
        else:
            self._meter.settle_later(self._broken(self._outcome, problem))
        if self._ran and isinstance(problem, MeshError):
            problem.executed = True

    def _out_of_time(self) -> bool:
        limit = self._request.limit
        return limit is not None and limit.expired()

    def passed_on(self, problem: MeshError) -> None:
        """Account for an attempt after whose failure another target is asked: its provider may bill it, too."""
        if self._outcome is not None and self._asked and may_have_run(problem):
            self._meter.settle_attempt(self._broken(self._outcome, problem))
            self._ran, self._asked = True, False

    def _broken(self, outcome: Outcome, problem: BaseException) -> UsageEvent:
        """Return the usage of an attempt that brought no complete answer."""
        ended: CallOutcome = "failed" if isinstance(problem, Exception) else "cancelled"
        if outcome.usage is None and not may_have_run(problem):
            outcome.cost_nano = 0
            return self._event(outcome, Usage(), ended, problem)
        told = outcome.usage is not None and outcome.finished
        if not told:
            outcome.usage = self._estimate_broken(outcome, problem)
        self.price(outcome)
        if not told and self._reserved is not None and self._untold(problem):
            outcome.cost_nano = max(outcome.cost_nano or 0, self._reserved)
        return self._event(outcome, outcome.usage or Usage(), ended, problem, estimated=not told)

    def _estimate_broken(self, outcome: Outcome, problem: BaseException) -> Usage:
        known = outcome.usage or self._estimate()
        output = max(known.output, self.sent.tokens())
        if self._ceiling is not None and self._untold(problem):
            output = max(output, self._ceiling.output * self._ceiling.answers)
        return msgspec.structs.replace(known, output=output)

    def _untold(self, problem: BaseException) -> bool:
        """Return whether nothing tells how much of an answer was made: then under a hard limit all of it counts.

        A stream that broke has shown what it came to, and a provider bills nothing for the failures it answers with.
        """
        return not self.sent.events and not (isinstance(problem, MeshError) and problem.answered)

    def _nano(self, target: Target, found: Ceiling) -> int | None:
        return ceilings.nano(self._prices, target, found, today())

    def _lower(
        self, target: Target, found: Ceiling, refused: BudgetExceeded | QuotaExceeded, fields: dict[str, Any]
    ) -> Ceiling | None:
        """Return a ceiling that fits into what a limit leaves; None where there is none."""
        if isinstance(refused, BudgetExceeded):
            whole, reads = (self._nano(target, part) or 0 for part in (found, replace(found, output=0)))
        elif refused.unit == "tokens":
            whole, reads = found.tokens, replace(found, output=0).tokens
        else:
            return None
        tokens = ceilings.lowered(found, refused.left, whole, reads, ceilings.least(fields))
        return None if tokens is None else replace(found, output=tokens, written=True)

    def _limited(
        self,
        target: Target,
        outcome: Outcome,
        format_: Format,
        fields: dict[str, Any],
        body: bytes,
        found: Ceiling,
    ) -> bytes:
        if not found.written:
            return body
        ceilings.write_limit(fields, format_, target, found.output)
        outcome.warnings.append(f"The answer was limited to {found.output} tokens, so that a budget holds.")
        return _encoder.encode(fields)

    def _estimate(self, size: int = 0) -> Usage:
        output = max(self.sent.tokens(), round(size / _BYTES_A_TOKEN)) if self._writes else 0
        return Usage(input=max(round(self._body / _BYTES_A_TOKEN), 1), output=output)

    def _event(
        self,
        outcome: Outcome,
        usage: Usage,
        ended: CallOutcome,
        problem: BaseException | None = None,
        *,
        estimated: bool = False,
    ) -> UsageEvent:
        principal, target, now = self._meter.principal, self._target, time.perf_counter_ns()
        return UsageEvent(
            tenant_id=principal.tenant_id,
            id=uuid7(),
            account_id=principal.account_id,
            token_id=principal.token_id,
            at=self._at,
            surface=self.ending.surface,
            provider=outcome.provider,
            model_asked=_text(self._request.model or ""),
            model=_text(outcome.model),
            key_owner=target.key_owner if target is not None else None,
            key_name=target.key_name if target is not None else None,
            key_version=target.key_version if target is not None else None,
            input=usage.input,
            cached=usage.cached,
            cache_write=usage.cache_write,
            output=usage.output,
            thinking=usage.thinking,
            cost_nano=outcome.cost_nano,
            price_revision=outcome.price_revision,
            latency_us=(now - self._began) // 1000,
            first_us=None if self._first is None else (self._first - self._began) // 1000,
            streamed=self._request.stream,
            outcome=ended,
            error_code=problem.code if isinstance(problem, MeshError) else None,
            estimated=estimated,
            request_id=principal.request_id,
        )


def _sane(usage: Usage) -> Usage:
    """Return a provider's figures as far as they can be: what is below zero would be credited."""
    figures = msgspec.structs.astuple(usage)
    if min(figures) >= 0 and max(figures) <= _MOST_TOKENS:
        return usage
    return Usage(**{name: min(max(getattr(usage, name), 0), _MOST_TOKENS) for name in Usage.__struct_fields__})


def _text(name: str) -> str:
    """Return a name as both databases can store it: callers and providers may send anything."""
    return name.replace("\0", "")[:256]
