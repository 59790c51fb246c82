"""Which provider answers a model's name; pure, so that every case can be told by a test."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

from mesh_server.chat.catalog.models import Catalog, catalog
from mesh_server.chat.models import LOCAL, Fallback, Provider
from mesh_server.errors import InvalidRequest, ModelNotFound, ModelRetired, ProviderNotFound

#: Names that are a provider's wherever nobody says otherwise.
_NAMES = {
    "openai": re.compile(r"(gpt-|chatgpt-|o[1-9](-|$)|codex-|text-embedding-).*"),
    "anthropic": re.compile(r"claude-.*"),
}


@dataclass(frozen=True)
class Route:
    """Where a request goes, and what was done otherwise than asked.

    Attributes:
        provider: its name.
        model: the provider's own name of the model.
        warnings: what the caller should know.
        substituted: the model is another than the one that was asked for.
    """

    provider: str
    model: str
    warnings: tuple[str, ...] = ()
    substituted: bool = False

    @cached_property
    def name(self) -> str:
        """What breaker and caller call it."""
        return f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True)
class Known:
    """What can be reached from this server.

    Attributes:
        providers: all that are configured, without the models on this machine.
        local: names of models on this machine, the one in use first; empty where there is none.
        local_names: further names that are local models', though their weights are not here.
        listed: models by provider, as the providers themselves list them.
        fallbacks: the operator's own names of models.
        today: in UTC; decides which models are retired.
        models: the catalog.
    """

    providers: Sequence[Provider]
    local: Sequence[str]
    local_names: Sequence[str]
    listed: Mapping[str, Sequence[str]]
    fallbacks: Sequence[Fallback] = ()
    today: date = date.min
    models: Catalog = field(default_factory=catalog)

    def names(self) -> list[str]:
        """Return the names of the providers."""
        return [*(p.name for p in self.providers), *([LOCAL] if self.has_local else [])]

    @property
    def has_local(self) -> bool:
        """Whether this server runs models itself."""
        return bool(self.local or self.local_names)

    def configured(self, provider: str) -> Sequence[str]:
        """Return the models that the configuration or the provider itself names as its own."""
        if provider == LOCAL and self.has_local:
            return self.local
        found = next((p.models for p in self.providers if p.name == provider), ())
        return [*found, *(name for name in self.listed.get(provider, ()) if name not in found)]

    def knows(self, model: str, provider: str | None) -> bool:
        """Return whether it takes no provider to say who answers for a model, or there is no such provider."""
        names = self.names()
        is_route = any(entry.model == model for entry in self.fallbacks)
        has_prefix = "/" in model and model.partition("/")[0] in names
        return is_route or has_prefix or provider not in names or _owner(self, model)[0] is not None

    def models_of(self, provider: str) -> list[str]:
        """Return the models that are known to be a provider's: configured, else those of the catalog in service."""
        configured = self.configured(provider)
        return [*configured] if configured else self.models.current(provider, self.today)


def routes(known: Known, model: str | None, provider: str | None, *, strict: bool = False) -> list[Route]:
    """Return where a request may go: its one target, or those of the operator's route in their order.

    Args:
        known: what can be reached.
        model: as asked for; `provider/model` names both.
        provider: as asked for.
        strict: refuse a retired model instead of answering with its successor.

    Raises:
        ProviderNotFound: naming those there are.
        ModelNotFound: with near names.
        ModelRetired: naming the successor.
        InvalidRequest: if neither names a model.
    """
    fallback = next((entry for entry in known.fallbacks if entry.model == model), None)
    if fallback is None or provider is not None:
        return [route(known, model, provider, strict=strict)]
    targets = (target.partition("/") for target in fallback.targets)
    return [route(known, name, owner, strict=strict) for owner, _, name in targets]


def route(known: Known, model: str | None, provider: str | None, *, strict: bool = False) -> Route:
    """Return the one target of a request; see `routes`."""
    if provider is not None and provider not in known.names():
        raise ProviderNotFound(
            f"There is no provider {provider!r} here; there are {', '.join(sorted(known.names()))}.",
            details={"providers": sorted(known.names())},
        )
    if model is None:
        return _without_model(known, provider)
    owner, by_name = _owner(known, model)
    if owner is None and "/" in model:
        prefix, _, rest = model.partition("/")
        if prefix in known.names() and rest and provider in {None, prefix}:
            return route(known, rest, prefix, strict=strict)
    if owner is None:
        if provider is None or provider == LOCAL:
            raise _unknown(known, model)
        return Route(provider, model)  # the provider itself judges a name that nobody here knows
    if provider is not None and provider != owner and model not in known.configured(provider):
        if by_name and provider not in {*_NAMES, LOCAL}:
            return Route(provider, model)  # many serve other makers' models under their own address
        found = _in_service(known, owner, model, strict=strict)
        warning = f"{model} is a model of {owner}, so {owner} answered, not {provider}."
        return Route(found.provider, found.model, (warning, *found.warnings), found.substituted)
    return _in_service(known, provider or owner, model, strict=strict)


def _in_service(known: Known, provider: str, model: str, *, strict: bool) -> Route:
    """Return who answers for a name: an alias's model, or a retired one's successor."""
    found = known.models.find(model)
    if found is None or found.provider != provider or model in known.configured(provider):
        return Route(provider, model)
    name = model if model in {found.id, *found.also} else found.id
    now = known.models.in_service(found, known.today)
    if now is found:
        return Route(provider, name)
    said = name if name == model else f"{model} ({name})"
    if strict:
        raise ModelRetired(
            f"{said} was retired by its provider on {found.retired}; its successor is {now.id}.",
            details={"model": name, "retired": str(found.retired), "successor": now.id},
        )
    warning = f"{said} was retired by its provider on {found.retired}: {now.id} answered in its place."
    return Route(provider, now.id, (warning,), substituted=True)


def _without_model(known: Known, provider: str | None) -> Route:
    if provider is None and known.has_local:
        provider = LOCAL
    if provider == LOCAL and known.has_local:
        return Route(LOCAL, (*known.local_names, *known.local)[0])
    names = [provider] if provider else [p.name for p in known.providers]
    for name in names:
        models = known.configured(name)
        if models:
            return Route(name, models[0])
    raise InvalidRequest(
        f"Name a model: none is configured for {provider}." if provider else "Name a model: `model` is missing."
    )


def _owner(known: Known, model: str) -> tuple[str | None, bool]:
    """Return whose model it is, and whether only its name says so."""
    if model in known.local or model in known.local_names:
        return LOCAL, False
    for provider in known.providers:
        if model in known.configured(provider.name):
            return provider.name, False
    names = {provider.name for provider in known.providers}
    found = known.models.find(model)
    if found is not None and found.provider in names:
        return found.provider, True
    return next((n for n, pattern in _NAMES.items() if n in names and pattern.fullmatch(model)), None), True


def _unknown(known: Known, model: str) -> ModelNotFound:
    everything = list(dict.fromkeys(name for provider in known.names() for name in known.models_of(provider)))
    near = difflib.get_close_matches(model, [*everything, *known.models.aliases], n=3, cutoff=0.6)
    others = f" Did you mean {' or '.join(near)}?" if near else ""
    if not near and everything:
        others = f" There are: {', '.join(everything[:10])}{' and more' if len(everything) > 10 else ''}."
    return ModelNotFound(f"No provider of this server has the model {model!r}.{others}", details={"near": near})
