"""What chat does: finds provider and key for a request, calls, and tells what came of it."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from mesh_protocol.events import DONE, EventReader, EventTooLarge
from mesh_server.accounts.models import Principal
from mesh_server.chat.formats import openai_chat
from mesh_server.chat.formats.common import ChatRequest, Outcome
from mesh_server.chat.key_tests import KeyTests
from mesh_server.chat.models import LOCAL, LocalSettings, Provider, Target
from mesh_server.chat.routing import Known, Route, route
from mesh_server.chat.upstream.failures import UpstreamFailure
from mesh_server.chat.upstream.local import LocalModels
from mesh_server.chat.upstream.openai import OpenAIFormat, failure_from_event, no_answer
from mesh_server.chat.upstream.pool import Pool, UpstreamAnswer
from mesh_server.errors import KeyNotFound, MeshError, ProviderFailed, ProviderKeyMissing, ProviderUnavailable
from mesh_server.vault.service import Vault

#: Seconds for which a provider's own list of models is believed.
_LIST_S = 60.0


class AnswerStream:
    """A provider's answer as it comes.

    Attributes:
        outcome: what is known of it so far; complete when the iteration is.
    """

    def __init__(self, target: Target, answer: UpstreamAnswer, outcome: Outcome) -> None:
        self.outcome = outcome
        self._target = target
        self._answer = answer

    async def pieces(self) -> AsyncIterator[tuple[bytes, openai_chat.Chunk]]:
        """Yield each piece as the provider wrote it, beside what must be known of it.

        Raises:
            MeshError: if the provider fails, stalls, or stops before its answer has come to an end.
        """
        reader = EventReader()
        try:
            async for content in self._answer.chunks():
                for data in reader.feed(content):
                    if data.strip() == DONE:
                        self.outcome.finished = True
                        return
                    yield data, self._read(data)
        except UpstreamFailure as problem:
            if not self.outcome.finished:
                raise no_answer(self._target, problem) from None
        except EventTooLarge:
            raise ProviderFailed(f"{self._target.provider} sent a piece that is larger than any answer.") from None
        if not self.outcome.finished:
            raise ProviderFailed(f"{self._target.provider} ended its stream before its answer was complete.")

    def _read(self, data: bytes) -> openai_chat.Chunk:
        try:
            chunk = openai_chat.read_chunk(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ProviderFailed(f"{self._target.provider} sent a piece that is not JSON.") from None
        if chunk.failed:
            raise failure_from_event(self._target, bytes(chunk.error))
        if chunk.spent is not None:
            self.outcome.usage = chunk.spent
        if chunk.model:
            self.outcome.model = chunk.model
        # Some servers end without [DONE]: the reason to finish says as much.
        self.outcome.finished = self.outcome.finished or chunk.finish
        return chunk


class Chat:
    """Chat with every provider that is configured.

    Args:
        providers: those reached by their address.
        local: the models on this machine; None where another server stands in their place.
        vault: where the callers' keys are.

    Attributes:
        key_tests: tests the callers' keys with the same providers.
    """

    def __init__(self, providers: Sequence[Provider], local: LocalSettings | None, vault: Vault) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._local = LocalModels(local) if local is not None else None
        self._vault = vault
        self._pool = Pool()
        self._format = OpenAIFormat(self._pool)
        self._lists: dict[str, tuple[float, list[str]]] = {}
        self.key_tests = KeyTests(self._providers, vault, self._format.models)

    def local_model(self) -> str | None:
        """Return the name of the model in use on this machine; None where its weights are not here."""
        if self._local is not None:
            return self._local.default if self._local.default in self._local.installed() else None
        provider = self._providers.get(LOCAL)
        return provider.models[0] if provider is not None and provider.models else None

    async def complete(self, principal: Principal, request: ChatRequest) -> tuple[bytes, Outcome]:
        """Return the provider's whole answer as it wrote it, and what is known beside it.

        Raises:
            MeshError: whatever stands in the way, from an unknown model to the provider's own failure.
        """
        async with self._call(principal, request) as (target, outcome):
            body = await self._format.complete(target, openai_chat.upstream_body(request, target.model))
        try:
            answer = openai_chat.read_chunk(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ProviderFailed(f"{target.provider} answered with something that is no chat completion.") from None
        if answer.choices is None:
            raise ProviderFailed(f"{target.provider} answered with something that is no chat completion.")
        outcome.usage, outcome.model, outcome.finished = answer.spent, answer.model or outcome.model, True
        return body, outcome

    @asynccontextmanager
    async def stream(self, principal: Principal, request: ChatRequest) -> AsyncIterator[AnswerStream]:
        """Open the provider's answer as a stream; leaving the context cancels the call.

        Raises:
            MeshError: whatever stands in the way before the first piece.
        """
        async with self._call(principal, request) as (target, outcome):
            body = openai_chat.upstream_body(request, target.model)
            async with self._format.stream(target, body) as answer:
                yield AnswerStream(target, answer, outcome)

    async def models(self, principal: Principal) -> dict[str, list[str]]:
        """Return the models that the caller can use, by provider."""
        known = await self._known()
        usable = {}
        for name in known.names():
            models = known.models_of(name)
            if models and (name == LOCAL or await self._has_key(principal, self._providers[name])):
                usable[name] = models
        return usable

    async def close(self) -> None:
        """Stop the local models and close every connection."""
        if self._local is not None:
            await self._local.close()
        await self._pool.close()

    @asynccontextmanager
    async def _call(self, principal: Principal, request: ChatRequest) -> AsyncIterator[tuple[Target, Outcome]]:
        found = route(await self._known(), request.model, request.provider)
        outcome = Outcome(provider=found.provider, model=found.model, warnings=list(found.warnings))
        async with AsyncExitStack() as stack:
            if found.provider == LOCAL and self._local is not None:
                outcome.cost_usd = 0.0
                base_url, key = await stack.enter_async_context(self._local.running(found.model))
                target = Target(provider=LOCAL, base_url=base_url, model=found.model, api_key=key, key_name=None)
            else:
                target = await self._target(principal, request, found)
            yield target, outcome

    async def _target(self, principal: Principal, request: ChatRequest, found: Route) -> Target:
        provider = self._providers[found.provider]
        names = [request.key_name] if request.key_name else list(provider.key_names)
        opened = await self._vault.open_for_chat(principal, names, owner=request.key_owner)
        if opened is None and request.key_name:
            whose = "That account shares no key" if request.key_owner else "You have no key"
            raise KeyNotFound(f"{whose} {request.key_name!r} to call {provider.name} with.")
        if opened is None and provider.api_key is None and provider.key_names:
            raise ProviderKeyMissing(
                f"There is no key for {provider.name}: store yours as {provider.key_names[0]!r}.",
                details={"provider": provider.name, "key_names": list(provider.key_names)},
            )
        name, key = opened if opened is not None else (None, provider.api_key)
        return Target(provider=provider.name, base_url=provider.base_url, model=found.model, api_key=key, key_name=name)

    async def _has_key(self, principal: Principal, provider: Provider) -> bool:
        if provider.api_key is not None or not provider.key_names:
            return True
        return await self._vault.has_for_chat(principal, provider.key_names)

    async def _known(self) -> Known:
        local = self._local.installed() if self._local is not None else []
        names = self._local.names() if self._local is not None else []
        listed = {p.name: await self._list(p) for p in self._providers.values() if not p.models and not p.key_names}
        return Known(tuple(self._providers.values()), local, names, listed)

    async def _list(self, provider: Provider) -> list[str]:
        """Return what a server that asks for no key, on this machine mostly, says that it has."""
        known = self._lists.get(provider.name)
        if known is not None and time.monotonic() - known[0] < _LIST_S:
            return known[1]
        target = Target(
            provider=provider.name, base_url=provider.base_url, model="", api_key=provider.api_key, key_name=None
        )
        try:
            models = await self._format.models(target)
        except ProviderUnavailable:
            return []  # not running now: looked at again by the next request
        except MeshError:
            models = []  # it has no such list; its models must be configured
        self._lists[provider.name] = (time.monotonic(), models)
        return models
