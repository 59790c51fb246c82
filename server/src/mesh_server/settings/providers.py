"""Who answers a chat: `[[providers]]` and `[local]`."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mesh_server.chat.models import LocalSettings, Provider
from mesh_server.errors import StartupError
from mesh_server.settings.sources import Sources, check_url, host_of, is_loopback, reason

DEFAULT_LOCAL_MODEL = "qwen2.5-coder-0.5b-instruct"
#: In the model folder: which model is in use, as `mesh-server model use` left it.
IN_USE_FILE = "in-use"

_OPENAI = "https://api.openai.com/v1"


class ProviderTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One `[[providers]]` table of the file."""

    name: str
    base_url: str | None = None
    kind: str = "openai"
    api_key: str | None = None
    api_key_file: str | None = None
    models: list[str] = []
    key_names: list[str] | None = None


class LocalTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The `[local]` table: the model on this machine, or another server in its place."""

    model: str | None = None
    base_url: str | None = None
    threads: int | None = None
    context: int | None = None
    model_dir: str | None = None


def load_local(
    sources: Sources, environment: Mapping[str, str], table: LocalTable, data_dir: Path
) -> LocalSettings | Provider:
    """Return the model on this machine, or the server that stands in its place."""
    model = environment.get("MESH_LOCAL_MODEL") or table.model
    base_url = environment.get("MESH_LOCAL_BASE_URL") or table.base_url
    if base_url:
        check_url(base_url, "MESH_LOCAL_BASE_URL")
        return Provider(
            name="local",
            kind="openai",
            base_url=base_url.rstrip("/"),
            api_key=None,
            models=(model,) if model else (),
            key_names=(),
        )
    named_dir = sources.text("model_dir") or table.model_dir
    model_dir = Path(named_dir).absolute() if named_dir else data_dir / "models"
    return LocalSettings(
        model_dir=model_dir,
        model=model or _in_use(model_dir) or DEFAULT_LOCAL_MODEL,
        threads=table.threads,
        context=table.context,
        log_file=data_dir / "local-model.log",
    )


def _in_use(model_dir: Path) -> str | None:
    try:
        return (model_dir / IN_USE_FILE).read_text("utf-8").strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise StartupError(f"Can't read {model_dir / IN_USE_FILE}: {reason(problem)}.") from problem


def load_providers(
    sources: Sources, environment: Mapping[str, str], file: list[ProviderTable], local: LocalSettings | Provider
) -> tuple[Provider, ...]:
    """Return every provider: those of the file, OpenAI, and what stands in for the local model."""
    tables = {table.name: table for table in file}
    if len(tables) != len(file):
        raise StartupError("Two [[providers]] have the same name.")
    tables.setdefault("openai", ProviderTable(name="openai"))
    providers = [_provider(sources, environment, table) for table in tables.values()]
    if isinstance(local, Provider):
        providers.append(local)
    if "local" in tables:
        raise StartupError("The provider name `local` is taken by [local]; give the other one another name.")
    return tuple(providers)


def _provider(sources: Sources, environment: Mapping[str, str], table: ProviderTable) -> Provider:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", table.name):
        raise StartupError(f"The provider name {table.name!r} may have a-z, 0-9, `-`, `_` and `.` only.")
    if table.kind != "openai":
        raise StartupError(
            f"The provider {table.name!r} has the kind {table.kind!r}; this version knows `openai` only."
        )
    is_openai = table.name == "openai"
    base_url = (environment.get("OPENAI_BASE_URL") if is_openai else None) or table.base_url
    if base_url is None and not is_openai:
        raise StartupError(f"The provider {table.name!r} needs a base_url.")
    base_url = base_url or _OPENAI
    check_url(base_url, f"base_url of the provider {table.name}")
    variable = "OPENAI_API_KEY" if is_openai else f"MESH_PROVIDER_{re.sub(r'[.-]', '_', table.name.upper())}_API_KEY"
    key_names = table.key_names
    if key_names is None:
        key_names = _usual_key_names(table.name, base_url)
    return Provider(
        name=table.name,
        kind="openai",
        base_url=base_url.rstrip("/"),
        api_key=sources.secret(variable, file=table.api_key_file) or table.api_key,
        models=tuple(table.models),
        key_names=tuple(key_names),
    )


def _usual_key_names(name: str, base_url: str) -> list[str]:
    """Return under which names the people of this server keep their keys for a provider, best first."""
    if name == "openai":
        return ["openai_key", "OPENAI_API_KEY"]
    # A server on this machine (Ollama, vLLM) asks for no key.
    return [] if is_loopback(host_of(base_url)) else [f"{name}_key"]
