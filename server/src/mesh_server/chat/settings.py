"""Providers and routes in the configuration: tables of the file, the usual variables, and what they mean."""

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.addresses import check_url, host_of, is_loopback
from mesh_server.chat.models import OFFICIAL, Fallback, Provider
from mesh_server.errors import StartupError

#: The providers that are always there: variables of key and address, names of keys in a vault.
_USUAL = {
    "openai": ("OPENAI_API_KEY", "OPENAI_BASE_URL", ("openai_key", "OPENAI_API_KEY")),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", ("anthropic_key", "ANTHROPIC_API_KEY")),
}


class ProviderTable(Quiet, msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One `[[providers]]` table of the file."""

    name: str
    base_url: str | None = None
    kind: str | None = None
    api_key: str | None = None
    api_key_file: str | None = None
    models: list[str] = []
    key_names: list[str] | None = None
    official: bool | None = None
    responses: bool | None = None
    trace: bool = False


class RouteTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One `[[routes]]` table of the file."""

    model: str
    targets: list[str]


class Secret(Protocol):
    """Looks a secret up by its name, in the environment or in a file."""

    def __call__(self, name: str, *, file: str | None = None) -> str | None:
        """Return it, or None."""


def read_providers(
    tables: Iterable[ProviderTable], environment: Mapping[str, str], secret: Secret
) -> tuple[Provider, ...]:
    """Return the providers of a configuration: those of its tables, and the two that are always there.

    Raises:
        StartupError: one sentence that names the provider and what is wrong with it.
    """
    named: dict[str, ProviderTable] = {}
    for table in tables:
        if table.name in named:
            raise StartupError("Two [[providers]] have the same name.")
        named[table.name] = table
    if "local" in named:
        raise StartupError("The provider name `local` is taken by [local]; give the other one another name.")
    for name in _USUAL:
        named.setdefault(name, ProviderTable(name=name))
    return tuple(_provider(table, environment, secret) for table in named.values())


def read_fallbacks(tables: Iterable[RouteTable], providers: set[str]) -> tuple[Fallback, ...]:
    """Return the routes of a configuration.

    Raises:
        StartupError: naming the route and what is wrong with it.
    """
    found: dict[str, Fallback] = {}
    for table in tables:
        if table.model in found:
            raise StartupError(f"Two [[routes]] have the model {table.model!r}.")
        if not table.targets:
            raise StartupError(f"The route {table.model!r} has no targets.")
        for target in table.targets:
            provider, slash, model = target.partition("/")
            if not slash or not model or provider not in providers:
                raise StartupError(
                    f"The route {table.model!r} has the target {target!r}; a target is `provider/model`, "
                    f"with one of {', '.join(sorted(providers))}."
                )
        found[table.model] = Fallback(model=table.model, targets=tuple(table.targets))
    return tuple(found.values())


def _provider(table: ProviderTable, environment: Mapping[str, str], secret: Secret) -> Provider:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", table.name):
        raise StartupError(f"The provider name {table.name!r} may have a-z, 0-9, `-`, `_` and `.` only.")
    kind = table.kind or ("anthropic" if table.name == "anthropic" else "openai")
    if kind not in _USUAL:
        raise StartupError(f"The provider {table.name!r} has the kind {kind!r}; there are `openai` and `anthropic`.")
    usual = _USUAL.get(table.name)
    variable = f"MESH_PROVIDER_{re.sub(r'[.-]', '_', table.name.upper())}_API_KEY"
    base_url = table.base_url
    if usual is not None:
        variable, address, _ = usual
        base_url = environment.get(address) or base_url or OFFICIAL[table.name]
    if base_url is None:
        raise StartupError(f"The provider {table.name!r} needs a base_url.")
    check_url(base_url, f"base_url of the provider {table.name}")
    official = host_of(base_url) == host_of(OFFICIAL[kind]) if table.official is None else table.official
    return Provider(
        name=table.name,
        kind=kind,
        base_url=base_url.rstrip("/"),
        api_key=secret(variable, file=table.api_key_file) or table.api_key,
        models=tuple(table.models),
        key_names=_key_names(table, base_url),
        official=official,
        responses=kind == "openai" and (official if table.responses is None else table.responses),
        trace=table.trace,
    )


def _key_names(table: ProviderTable, base_url: str) -> tuple[str, ...]:
    """Return under which names the people of this server keep their keys for a provider, best first."""
    if table.key_names is not None:
        return tuple(table.key_names)
    if table.name in _USUAL:
        return _USUAL[table.name][2]
    # A server on this machine (Ollama, vLLM) asks for no key.
    return () if is_loopback(host_of(base_url)) else (f"{table.name}_key",)
