"""What chat does: finds provider and key for a request, calls, and tells what came of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.accounts.models import Principal
from mesh_server.billing.models import UsageEvent
from mesh_server.billing.service import Billing
from mesh_server.chat import ceilings, tokens
from mesh_server.chat.accounting import Accounting, CallAccount, Ending
from mesh_server.chat.answers import AnswerStream
from mesh_server.chat.attempts import Attempts
from mesh_server.chat.catalog.models import Model
from mesh_server.chat.catalog.prices import PriceList, Prices
from mesh_server.chat.formats import bridge
from mesh_server.chat.formats.common import MESSAGES, ChatRequest, Format, Outcome, Usage
from mesh_server.chat.key_tests import KeyTests
from mesh_server.chat.models import LOCAL, ChatSettings, Target
from mesh_server.chat.once import Once
from mesh_server.chat.providers import Providers
from mesh_server.chat.routing import Known, Route
from mesh_server.chat.state import ProviderState, model_name, states
from mesh_server.chat.upstream import anthropic, openai
from mesh_server.chat.upstream.calls import Calls, limits_of, usable_key
from mesh_server.chat.upstream.meanings import failure_of
from mesh_server.chat.upstream.pool import Pool
from mesh_server.errors import InvalidJSON, MeshError, ProviderFailed, ProviderRejected, UnsupportedFeature
from mesh_server.vault.answers import StoredAnswers
from mesh_server.vault.service import Vault

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model that a caller can use: `known` and `prices` are None where nothing is known."""

    id: str
    provider: str
    known: Model | None
    prices: Prices | None


class _EmbeddingUsage(msgspec.Struct):
    prompt_tokens: int = 0


class _Embeddings(Quiet, msgspec.Struct):
    data: msgspec.Raw
    model: str | None = None
    usage: _EmbeddingUsage | None = None


class _Call(Quiet, msgspec.Struct):
    """One call to a provider: where it goes, with which members, and what is known of its answer."""

    target: Target
    way: bridge.Way
    outcome: Outcome
    url: str
    headers: dict[str, str]
    fields: dict[str, Any]
    body: bytes = b""

    def __repr__(self) -> str:
        return f"<_Call of {self.target!r}>"


class Chat:
    """Chat with every provider that is configured.

    Args:
        settings: what is configured.
        vault: where the callers' keys are.
        billing: usage and budgets.
        answers: of calls that are made once.

    Attributes:
        once: calls with an `Idempotency-Key`.
        answers_kept_us: microseconds for which their answers are kept.
        trace_headers: returns the headers that tell a provider of a call's trace, where it is to be told.
        key_tests: tests the callers' keys with the same providers.

    Raises:
        StartupError: if the operator's prices can't be read.
    """

    def __init__(self, settings: ChatSettings, vault: Vault, billing: Billing, answers: StoredAnswers) -> None:
        self._settings = settings
        self._pool = Pool()
        self._calls = Calls(self._pool)
        self._providers = Providers(settings, vault, self._calls)
        self._attempts = Attempts()
        self._prices = PriceList(settings.prices_file)
        self._accounting = Accounting(billing, self._prices)
        self.once = Once(answers)
        self.answers_kept_us = settings.answers_kept_us
        self.trace_headers: Callable[[], dict[str, str]] = dict
        self.key_tests = KeyTests(settings.providers, vault, self._calls.models)

    def local_model(self) -> str | None:
        """Return the name of the model in use on this machine; None where its weights are not here."""
        local = self._providers.local
        if local is not None:
            return local.default if local.default in local.installed() else None
        provider = self._providers.get(LOCAL)
        return provider.models[0] if provider is not None and provider.models else None

    async def complete(self, principal: Principal, request: ChatRequest, ending: Ending) -> tuple[bytes, Outcome]:
        """Return the whole answer as its surface has it, accounted for, and what is known beside it.

        Raises:
            MeshError: whatever stands in the way, from an unknown model or a limit to the provider's own failure.
        """
        return await self._accounted(principal, request, ending, self._complete)

    async def stream(self, principal: Principal, request: ChatRequest, ending: Ending) -> AnswerStream:
        """Return the answer as a stream, which has to be closed, with its first piece at hand.

        Raises:
            MeshError: whatever stands in the way before the first piece.
        """
        account = await self._accounting.open(principal, request, ending)
        try:
            stream, _ = await self._first(request, partial(self._stream, account, principal, request), account)
        except BaseException as problem:
            account.fail(problem)
            raise
        return stream

    async def embed(self, principal: Principal, request: ChatRequest, ending: Ending) -> tuple[bytes, Outcome]:
        """Return embeddings as their provider gave them, and what is known beside them.

        Raises:
            MeshError: as `complete`; UnsupportedFeature where the provider has none.
        """
        return await self._accounted(principal, request, ending, self._embed)

    async def count(self, principal: Principal, request: ChatRequest) -> tuple[int, Outcome]:
        """Return how many tokens a request of Anthropic's format has, by the provider's word where it gives one.

        Raises:
            MeshError: as `complete`.
        """
        return await self._first(request, partial(self._count, principal, request))

    async def models(self, principal: Principal) -> list[Entry]:
        """Return the models that the caller can use, with what is known of them."""
        known = await self._providers.known()
        usable = await self._providers.usable(principal, known)
        entries = [self._entry(known, provider, name) for provider, names in usable.items() for name in names]
        made_up = [f for f in known.fallbacks if any(target.partition("/")[0] in usable for target in f.targets)]
        return [*entries, *(Entry(id=f.model, provider="mesh", known=None, prices=None) for f in made_up)]

    def states(self) -> dict[str, ProviderState]:
        """Return how each provider stands."""
        return states(self._settings.providers, self._pool.origins(), self._attempts.breaker.resting())

    def model_name(self, event: UsageEvent) -> str | None:
        """Return the name that a call's model is counted under; None where nobody here knows it."""
        return model_name(event, self._providers.names(event.provider))

    async def close(self) -> None:
        """Stop the local models and close every connection."""
        await self.once.close()
        if self._providers.local is not None:
            await self._providers.local.close()
        await self._pool.close()

    async def _accounted(
        self,
        principal: Principal,
        request: ChatRequest,
        ending: Ending,
        ask: Callable[[CallAccount, Principal, ChatRequest, Route], Awaitable[tuple[bytes, Outcome]]],
    ) -> tuple[bytes, Outcome]:
        """Return a whole answer, settled."""
        account = await self._accounting.open(principal, request, ending)
        try:
            body, outcome = await self._first(request, partial(ask, account, principal, request), account)
            account.price(outcome, len(body))
            answer = ending.render(body, outcome)
            await account.settle(outcome, answer)
        except BaseException as problem:
            account.fail(problem)
            raise
        return answer, outcome

    async def _first(
        self,
        request: ChatRequest,
        ask: Callable[[Route], Awaitable[tuple[T, Outcome]]],
        account: CallAccount | None = None,
    ) -> tuple[T, Outcome]:
        """Return what the first target gives that succeeds."""
        hops = await self._providers.routes(request)
        until = asyncio.get_running_loop().time() + request.timeout if request.timeout is not None else None
        try:
            passed_on = None if account is None else account.passed_on
            found, tried = await self._attempts.first(hops, ask, until=until, passed_on=passed_on)
        except RecursionError:  # what a surface leaves unread may be deeper than a translation can go
            raise InvalidJSON("The JSON body is nested too deeply.") from None
        found[1].route = tried
        return found

    async def _complete(
        self, account: CallAccount, principal: Principal, request: ChatRequest, route: Route
    ) -> tuple[bytes, Outcome]:
        call = await self._begin(account, principal, request, route, _chat)
        target, outcome = call.target, call.outcome
        try:
            content = await self._calls.complete(target, call.url, call.headers, call.body, outcome)
            return _read(lambda: call.way.answer(content, outcome), target), outcome
        finally:
            await target.release()

    async def _stream(
        self, account: CallAccount, principal: Principal, request: ChatRequest, route: Route
    ) -> tuple[AnswerStream, Outcome]:
        call = await self._begin(account, principal, request, route, _chat)
        target, outcome = call.target, call.outcome
        try:
            answer = await self._calls.stream(target, call.url, call.headers, call.body)
        except BaseException:  # the provider's failure, or a caller that went away; here as below only to release
            await target.release()
            raise
        outcome.limits = limits_of(target, answer)
        stream = AnswerStream(target, answer, call.way.relay(outcome), outcome, account)
        try:
            await stream.begin()
        except BaseException:  # no first piece, or nobody who waits for it
            await stream.release()
            raise
        return stream, outcome

    async def _embed(
        self, account: CallAccount, principal: Principal, request: ChatRequest, route: Route
    ) -> tuple[bytes, Outcome]:
        call = await self._begin(account, principal, request, route, _embeddings)
        target, outcome = call.target, call.outcome
        try:
            content = await self._calls.complete(target, call.url, call.headers, call.body, outcome)
            found = _read(lambda: msgspec.json.decode(content, type=_Embeddings), target)
            outcome.model, outcome.finished = found.model or outcome.model, True
            outcome.usage = Usage(input=found.usage.prompt_tokens) if found.usage is not None else None
            return content, outcome
        finally:
            await target.release()

    async def _count(self, principal: Principal, request: ChatRequest, route: Route) -> tuple[int, Outcome]:
        target = await self._providers.target(principal, request, route)
        try:
            way, outcome = _way(request, target), _outcome(route)
            call = self._counting(way, target, outcome)
            if call is None:
                return _estimate(way, outcome), outcome
            try:
                content = await self._calls.complete(
                    target, call.url, call.headers, _encoder.encode(call.fields), outcome
                )
            except ProviderRejected as problem:
                if (problem.details or {}).get("status") not in tokens.NO_SUCH_ENDPOINT:
                    raise
                return _estimate(way, outcome), outcome
            return _read(lambda: msgspec.json.decode(content, type=tokens.Count), target).input_tokens, outcome
        finally:
            await target.release()

    async def _begin(
        self,
        account: CallAccount,
        principal: Principal,
        request: ChatRequest,
        route: Route,
        prepare: Callable[[ChatRequest, Target, Outcome], _Call],
    ) -> _Call:
        """Return a call that costs something, admitted and ready to be sent; its target has to be released."""
        target = await self._providers.target(principal, request, route)
        try:
            call = prepare(request, target, _outcome(route))
            format_ = None if prepare is _embeddings else call.way.format
            call.body = await account.admit(target, call.outcome, format_, call.fields)
            if target.trace:
                call.headers.update(self.trace_headers())
        except BaseException:  # what can't be asked or is not admitted, or a caller that went away
            await target.release()
            raise
        return call

    def _counting(self, way: bridge.Way, target: Target, outcome: Outcome) -> _Call | None:
        """Return the call that asks a provider for a count; None where it has none."""
        if target.kind == "anthropic":
            return _prepare(way, target, outcome, counting=True)
        if target.responses:
            call = _prepare(way, target, outcome, counting=True)
            call.url += "/input_tokens"
            call.fields = {name: value for name, value in call.fields.items() if name in tokens.COUNTED}
            return call
        if target.provider == LOCAL and self._providers.local is not None:
            # llama.cpp's own server counts in this format, by the template of its model
            fields = {**way.request.fields, "model": target.model}
            headers = openai.headers(usable_key(target))
            return _Call(target, way, outcome, f"{target.base_url}/messages/count_tokens", headers, fields)
        return None

    def _entry(self, known: Known, provider: str, name: str) -> Entry:
        found = self._providers.get(provider)
        if found is None:
            return Entry(id=name, provider=provider, known=None, prices=Prices())
        prices = self._prices.of(found.price_address, provider, name, today=known.today)
        model = known.models.find(name) if provider == found.kind else None
        return Entry(id=name, provider=provider, known=model, prices=prices)


def _way(request: ChatRequest, target: Target) -> bridge.Way:
    format_: Format = MESSAGES if target.kind == "anthropic" else openai.format_for(request, target)
    return bridge.Way(
        request=request,
        format=format_,
        model=target.model,
        abilities=target.abilities,
        target=target.provider,
        adapt=target.substituted or request.is_mesh,
        shared_key=target.shared_key,
        created=int(time.time()),
    )


def _outcome(route: Route) -> Outcome:
    return Outcome(provider=route.provider, model=route.model, warnings=list(route.warnings))


def _chat(request: ChatRequest, target: Target, outcome: Outcome) -> _Call:
    call = _prepare(_way(request, target), target, outcome)
    ceilings.write_share(call.fields, call.way.format, target)
    return call


def _embeddings(request: ChatRequest, target: Target, outcome: Outcome) -> _Call:
    if target.kind != "openai":
        raise UnsupportedFeature(f"{target.provider} makes no embeddings; use a model that does.")
    fields = {**request.fields, "model": target.model}
    headers = openai.headers(usable_key(target))
    return _Call(target, _way(request, target), outcome, target.base_url + "/embeddings", headers, fields)


def _prepare(way: bridge.Way, target: Target, outcome: Outcome, *, counting: bool = False) -> _Call:
    """Return a call of the surface's request; what was left out is added to the warnings."""
    fields, warnings = way.body(counting=counting)
    outcome.warnings += warnings
    key = usable_key(target)
    if target.kind != "anthropic":
        return _Call(target, way, outcome, openai.path(target, way.format), openai.headers(key), fields)
    if counting:
        fields = {name: value for name, value in fields.items() if name not in {"max_tokens", "stream"}}
    betas = anthropic.betas_for(way.request)
    headers = anthropic.headers(key, anthropic.version_for(way.request, target, fields), betas)
    return _Call(target, way, outcome, anthropic.path(target, counting=counting), headers, fields)


def _estimate(way: bridge.Way, outcome: Outcome) -> int:
    outcome.warnings.append(f"{way.target} does not count tokens: this is an estimate.")
    return tokens.estimate(way.conversation())


def _read(read: Callable[[], T], target: Target) -> T:
    """Return what `read` makes of a provider's answer; its nonsense is its failure."""
    try:
        return read()
    except bridge.ProviderSaidError as problem:
        raise failure_of(target, 500, b'{"error":' + problem.error + b"}", None) from None
    except MeshError:
        raise
    except bridge.NONSENSE:
        raise ProviderFailed(f"{target.provider} answered with something that is no answer of its format.") from None
