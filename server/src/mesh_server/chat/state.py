"""How the providers stand, and under which name a model is counted: for whoever watches the server."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mesh_server.billing.models import UsageEvent
from mesh_server.chat.catalog.models import catalog
from mesh_server.chat.models import LOCAL, Provider
from mesh_server.chat.upstream.direct import Origin

#: The day of a version, with which a provider tells which model answered.
_VERSION = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")


@dataclass(slots=True)
class ProviderState:
    """Connections to a provider, calls that wait for one, and how many of its models are left alone."""

    open: int = 0
    idle: int = 0
    waiting: int = 0
    resting: int = 0


def states(
    providers: Iterable[Provider], origins: Mapping[str, Origin], resting: Iterable[str]
) -> dict[str, ProviderState]:
    """Return how each provider stands; one that shares its address with others has the connections of all.

    Args:
        providers: that are reached by their addresses.
        origins: connections by what their addresses begin with; those of no provider are a local model's.
        resting: `provider/model` that is left alone.
    """
    found = {provider.name: ProviderState() for provider in providers} | {LOCAL: ProviderState()}
    by_origin = {provider.base_url[: _end(provider.base_url)]: provider.name for provider in providers}
    for prefix, origin in origins.items():
        state = found[by_origin.get(prefix, LOCAL)]
        state.open += origin.open
        state.idle += len(origin.idle)
        state.waiting += sum(not turn.done() for turn in origin.waiting)
    for target in resting:
        name = target.partition("/")[0]
        if name in found:
            found[name].resting += 1
    return found


def model_name(event: UsageEvent, configured: Collection[str]) -> str | None:
    """Return the name that a call's model is counted under; None where nobody here knows it.

    Args:
        event: of the call.
        configured: names of models that the configuration or this machine gives the provider.
    """
    asked = event.model_asked.removeprefix(f"{event.provider}/")
    for name in (event.model, _VERSION.sub("", event.model), asked):
        if name in configured:
            return name
        model = catalog().exact(name)
        if model is not None:
            return model.id
    return None


def _end(url: str) -> int:
    at = url.find("/", url.find("://") + 3)
    return len(url) if at < 0 else at
