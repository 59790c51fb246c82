"""Which provider answers a model's name; pure, so that every case can be told by a test."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh_server.chat.models import LOCAL, Provider
from mesh_server.errors import InvalidRequest, ModelNotFound, ProviderNotFound

#: Names that are OpenAI's wherever nobody says otherwise.
_OPENAI_NAME = re.compile(r"(gpt-|chatgpt-|o[1-9](-|$)|codex-).*")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes, and what was done otherwise than asked."""

    provider: str
    model: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What can be reached from this server.

    Attributes:
        providers: all that are configured, without the models on this machine.
        local: names of models on this machine, the one in use first; empty where there is none.
        local_names: further names that are local models', though their weights are not here.
        listed: models by provider, as the providers themselves list them.
    """

    providers: Sequence[Provider]
    local: Sequence[str]
    local_names: Sequence[str]
    listed: Mapping[str, Sequence[str]]

    def names(self) -> list[str]:
        """Return the names of the providers."""
        return [*(p.name for p in self.providers), *([LOCAL] if self.has_local else [])]

    @property
    def has_local(self) -> bool:
        """Whether this server runs models itself."""
        return bool(self.local or self.local_names)

    def models_of(self, provider: str) -> list[str]:
        """Return the models that are known to be a provider's."""
        if provider == LOCAL and self.has_local:
            return [*self.local]
        found = next((p.models for p in self.providers if p.name == provider), ())
        return [*found, *(name for name in self.listed.get(provider, ()) if name not in found)]


def route(known: Known, model: str | None, provider: str | None) -> Route:
    """Return where a request goes.

    Args:
        known: what can be reached.
        model: as asked for; `provider/model` names both.
        provider: as asked for.

    Raises:
        ProviderNotFound: naming those there are.
        ModelNotFound: with near names.
        InvalidRequest: if neither names a model.
    """
    if provider is not None and provider not in known.names():
        raise ProviderNotFound(
            f"There is no provider {provider!r} here; there are {', '.join(sorted(known.names()))}.",
            details={"providers": sorted(known.names())},
        )
    if model is None:
        return _without_model(known, provider)
    owner = _owner(known, model)
    if owner is None and "/" in model:
        prefix, _, rest = model.partition("/")
        if prefix in known.names() and rest:
            return route(known, rest, prefix)
    if owner is None:
        if provider is None or provider == LOCAL:
            raise _unknown(known, model)
        return Route(provider, model)  # the provider itself judges a name that nobody here knows
    if provider is not None and provider != owner and model not in known.models_of(provider):
        if _OPENAI_NAME.fullmatch(model) and owner == "openai":
            return Route(provider, model)  # many serve OpenAI's models under their own address
        return Route(owner, model, (f"{model} is a model of {owner}, so {owner} answered, not {provider}.",))
    return Route(provider or owner, model)


def _without_model(known: Known, provider: str | None) -> Route:
    if provider is None and known.has_local:
        provider = LOCAL
    if provider == LOCAL and known.has_local:
        return Route(LOCAL, (*known.local_names, *known.local)[0])
    names = [provider] if provider else [p.name for p in known.providers]
    for name in names:
        models = known.models_of(name)
        if models:
            return Route(name, models[0])
    raise InvalidRequest(
        f"Name a model: none is configured for {provider}." if provider else "Name a model: `model` is missing."
    )


def _owner(known: Known, model: str) -> str | None:
    if model in known.local or model in known.local_names:
        return LOCAL
    for provider in known.providers:
        if model in known.models_of(provider.name):
            return provider.name
    if _OPENAI_NAME.fullmatch(model) and any(p.name == "openai" for p in known.providers):
        return "openai"
    return None


def _unknown(known: Known, model: str) -> ModelNotFound:
    everything = list(dict.fromkeys(name for provider in known.names() for name in known.models_of(provider)))
    near = difflib.get_close_matches(model, everything, n=3, cutoff=0.6)
    others = f" Did you mean {' or '.join(near)}?" if near else ""
    if not near and everything:
        others = f" There are: {', '.join(everything[:10])}{' and more' if len(everything) > 10 else ''}."
    return ModelNotFound(f"No provider of this server has the model {model!r}.{others}", details={"near": near})
