"""Whether a provider takes a stored key: asked for its models, which costs nothing."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from mesh_server.accounts.models import Principal
from mesh_server.chat.models import Provider, Target
from mesh_server.chat.providers import bare_target
from mesh_server.errors import (
    KeyNotFound,
    MeshError,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderNotFound,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    ServerOverloaded,
)
from mesh_server.vault.service import Vault

#: Failures that say nothing of whom a provider answers.
_SAYS_NOTHING = (ProviderFailed, ProviderRateLimited, ProviderTimeout, ProviderUnavailable, ServerOverloaded)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVerdict:
    """What a provider said of a key.

    Attributes:
        name: of the key.
        provider: who was asked.
        result: `works`, `refused`, or `unknown` where it answers those without a key, too.
        message: a sentence for people; never with the value.
        models: how many models it listed.
    """

    name: str
    provider: str
    result: Literal["works", "refused", "unknown"]
    message: str
    models: int


class KeyTests:
    """Tests stored keys with the providers that they are for.

    Args:
        providers: those reached by their address.
        vault: where the keys are.
        models: lists the models of a target, and raises as calls do.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        vault: Vault,
        models: Callable[[Target], Awaitable[Sequence[object]]],
    ) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._vault = vault
        self._models = models

    async def test(
        self, principal: Principal, name: str, *, provider: str | None = None, owner: str | None = None
    ) -> KeyVerdict:
        """Ask a provider for its models with a stored key.

        Args:
            principal: whose key it is, or whom it is shared with for chat.
            name: of the key.
            provider: who is asked; by default the one whose keys have this name.
            owner: the account that shares the key.

        Raises:
            ProviderNotFound: if there is no such provider, or the name belongs to none.
            KeyNotFound: if there is no such key.
            MeshError: if the provider can't say.
        """
        asked = self._provider_of(name, provider)
        opened = await self._vault.open_for_chat(principal, [name], owner=owner)
        if opened is None:
            whose = "That account shares no key" if owner else "You have no key"
            raise KeyNotFound(f"{whose} {name!r} to call {asked.name} with.")
        target = replace(bare_target(asked), api_key=opened.value, key_name=name)
        try:
            models = len(await self._models(target))
        except ProviderAuthFailed as problem:
            return KeyVerdict(name=name, provider=asked.name, result="refused", message=problem.message, models=0)
        if await self._answers_anybody(target):
            message = f"{asked.name} lists its models without a key, too: that says nothing about {name}."
            return KeyVerdict(name=name, provider=asked.name, result="unknown", message=message, models=models)
        message = f"{asked.name} accepts {name}."
        return KeyVerdict(name=name, provider=asked.name, result="works", message=message, models=models)

    def _provider_of(self, name: str, provider: str | None) -> Provider:
        """Return the provider that a key is tested with."""
        if provider is None:
            found = next((one for one in self._providers.values() if name in one.key_names), None)
        else:
            found = self._providers.get(provider)
        if found is None:
            known = ", ".join(sorted(self._providers)) or "none"
            what = (
                f"No provider's keys are called {name!r}" if provider is None else f"There is no provider {provider!r}"
            )
            raise ProviderNotFound(f"{what}: name one as `provider`. Configured: {known}.")
        return found

    async def _answers_anybody(self, target: Target) -> bool:
        """Return whether a provider lists its models to a caller without a key.

        Raises:
            MeshError: if it can't say: what the key is worth is not known then.
        """
        try:
            await self._models(replace(target, api_key=None))
        except _SAYS_NOTHING:
            raise
        except MeshError:
            return False
        return True
