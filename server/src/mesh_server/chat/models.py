"""Plain records of chat: who answers, and with which key."""

from dataclasses import dataclass, field
from pathlib import Path

#: The provider that runs on this machine.
LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider as it is configured. `repr` does not show its key.

    Attributes:
        name: what requests call it.
        kind: the wire format it speaks.
        base_url: the only address it is reached at, without a slash at its end.
        api_key: the server's own key for it, None where it has none.
        models: names that are routed to it.
        key_names: names of keys in a caller's vault that are keys for it, best first; empty where it asks for none.
    """

    name: str
    kind: str
    base_url: str
    api_key: str | None = field(repr=False)
    models: tuple[str, ...]
    key_names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """The models on this machine.

    Attributes:
        model_dir: where weights are.
        model: the one in use: a name of the catalog, or the path of a GGUF file.
        threads: processor threads; None to choose by the machine.
        context: tokens of context; None for what the catalog says.
        log_file: where the model's process writes.
    """

    model_dir: Path
    model: str
    threads: int | None
    context: int | None
    log_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where one call goes. `repr` does not show the key.

    Attributes:
        provider: its name, for messages.
        base_url: its address.
        model: the provider's own name of the model.
        api_key: None where the provider asks for none.
        key_name: under which name the caller keeps the key; None where it is the server's own.
    """

    provider: str
    base_url: str
    model: str
    api_key: str | None = field(repr=False)
    key_name: str | None
