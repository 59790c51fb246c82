"""The providers of this server: which models they have, and with whose key a call goes to them."""

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from mesh_server.accounts.models import Principal
from mesh_server.chat.catalog.models import catalog
from mesh_server.chat.formats.common import Abilities, ChatRequest
from mesh_server.chat.models import LOCAL, ChatSettings, Provider, Target
from mesh_server.chat.routing import Known, Route, routes
from mesh_server.chat.upstream.calls import Calls
from mesh_server.chat.upstream.local import LocalModels
from mesh_server.errors import KeyNotFound, MeshError, ProviderKeyMissing, ProviderUnavailable, ServerOverloaded
from mesh_server.ids import today
from mesh_server.vault.service import Vault

#: Seconds for which a provider's own list of models is believed.
_LIST_S = 60.0
#: Seconds by which a call to a provider may outlast its caller's time.
_MARGIN_S = 0.25
#: Names of models whose routes are remembered at the same time: callers may make names up.
_MOST_ROUTES = 1024


class Providers:
    """Finds models, addresses and keys.

    Args:
        settings: what is configured.
        vault: where the callers' keys are.
        calls: to ask keyless servers what they have.
    """

    def __init__(self, settings: ChatSettings, vault: Vault, calls: Calls) -> None:
        self._settings = settings
        self._by_name = {provider.name: provider for provider in settings.providers}
        self._vault = vault
        self._calls = calls
        self._asked = [p for p in settings.providers if not p.models and not p.key_names]
        self._lists: dict[str, tuple[float, list[str]]] = {}
        self.local = LocalModels(settings.local) if settings.local is not None else None
        self._local_names = self.local.names() if self.local is not None else []
        self._known: Known | None = None
        self._routes: dict[tuple[str | None, str | None, bool], Sequence[Route]] = {}

    def get(self, name: str) -> Provider | None:
        """Return a provider that is reached by its address; None for the models on this machine."""
        return self._by_name.get(name)

    def names(self, provider: str) -> set[str]:
        """Return the names of models that a provider has by the configuration, this machine, or its own list."""
        targets = (target.partition("/") for route in self._settings.fallbacks for target in route.targets)
        found = {model for owner, _, model in targets if owner == provider}
        if provider == LOCAL and self.local is not None:
            return found.union(self.local.names(), self.local.installed())
        entry = self._by_name.get(provider)
        return found.union(entry.models if entry is not None else (), self._lists.get(provider, (0.0, []))[1])

    async def known(self) -> Known:
        """Return what can be reached from this server now; the same object until something of it changes."""
        local = self.local.installed() if self.local is not None else []
        listed = {p.name: await self._list(p) for p in self._asked} if self._asked else {}
        day, known = today(), self._known
        if known is None or known.today != day or known.local != local or known.listed != listed:
            everyone = tuple(self._by_name.values())
            known = Known(everyone, local, self._local_names, listed, self._settings.fallbacks, day)
            self._known = known
            self._routes.clear()
        return known

    async def routes(self, request: ChatRequest) -> Sequence[Route]:
        """Return where a request may go; see `routing.routes`."""
        strict = self._settings.strict_models if request.strict_models is None else request.strict_models
        known = await self.known()
        provider = request.provider
        if request.provider_is_a_guess and request.model is not None and known.knows(request.model, provider):
            provider = None
        asked = (request.model, provider, strict)
        found = self._routes.get(asked)
        if found is None:
            found = routes(known, request.model, provider, strict=strict)
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            self._routes[asked] = found
        return found

    async def usable(self, principal: Principal, known: Known) -> dict[str, list[str]]:
        """Return the models that a caller can use, by provider."""
        found = {}
        for name in known.names():
            models = known.models_of(name)
            if models and (name == LOCAL or await self._has_key(principal, self._by_name[name])):
                found[name] = models
        return found

    async def target(self, principal: Principal, request: ChatRequest, route: Route) -> Target:
        """Return address and key of a route, good until the target is released.

        Raises:
            ModelNotInstalled, LocalModelFailed: of a model on this machine.
            KeyNotFound, ProviderKeyMissing: where there is no key for the call.
        """
        if route.provider == LOCAL and self.local is not None:
            return await self._local(self.local, request, route)
        return await self._remote(principal, request, route)

    async def _local(self, models: LocalModels, request: ChatRequest, route: Route) -> Target:
        stack = AsyncExitStack()
        base_url, key = await stack.enter_async_context(models.running(route.model))
        return Target(
            provider=LOCAL,
            base_url=base_url,
            model=route.model,
            api_key=key,
            key_name=None,
            abilities=Abilities(thinking="none", images=False),
            share=models.share(route.model),
            within_s=_within(request),
            held=stack.aclose,
        )

    async def _remote(self, principal: Principal, request: ChatRequest, route: Route) -> Target:
        provider = self._by_name[route.provider]
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
        return Target(
            provider=provider.name,
            kind=provider.kind,
            base_url=provider.base_url,
            model=route.model,
            api_key=opened.value if opened is not None else provider.api_key,
            key_name=opened.name if opened is not None else None,
            key_owner=opened.owner_id if opened is not None else None,
            key_version=opened.version if opened is not None else None,
            official=provider.official,
            responses=provider.responses,
            trace=provider.trace,
            abilities=_abilities(provider, route.model),
            substituted=route.substituted,
            within_s=_within(request),
        )

    async def _has_key(self, principal: Principal, provider: Provider) -> bool:
        if provider.api_key is not None or not provider.key_names:
            return True
        return await self._vault.has_for_chat(principal, provider.key_names)

    async def _list(self, provider: Provider) -> list[str]:
        """Return what a server that asks for no key, on this machine mostly, says that it has."""
        known = self._lists.get(provider.name)
        if known is not None and time.monotonic() - known[0] < _LIST_S:
            return known[1]
        try:
            models = [listed.id for listed in await self._calls.models(bare_target(provider))]
        except (ProviderUnavailable, ServerOverloaded):
            return []  # not running now: looked at again by the next request
        except MeshError:
            models = []  # it has no such list; its models must be configured
        self._lists[provider.name] = (time.monotonic(), models)
        return models


def _within(request: ChatRequest) -> float | None:
    """Return the caller's time with a margin: the caller hears of it from us, and the provider's call ends, too."""
    return None if request.timeout is None else request.timeout + _MARGIN_S


def bare_target(provider: Provider) -> Target:
    """Return a provider as the target of a call about no model, with the server's own key."""
    return Target(
        provider=provider.name,
        kind=provider.kind,
        base_url=provider.base_url,
        model="",
        api_key=provider.api_key,
        key_name=None,
        official=provider.official,
    )


def _abilities(provider: Provider, model: str) -> Abilities:
    """Return what is known of a model: the catalog speaks of OpenAI's and Anthropic's own."""
    known = provider.official or (provider.name == provider.kind and model not in provider.models)
    return catalog().abilities(provider.kind, model, known=known, official=provider.official)
