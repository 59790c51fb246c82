"""Plain records of chat: who answers, and with which key."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.common import UNKNOWN, Abilities
from mesh_server.vault.answers import KEPT_US

#: The provider that runs on this machine.
LOCAL = "local"
#: Where the makers of the formats themselves are, by the kind of provider.
OFFICIAL = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider as it is configured. `repr` does not show its key.

    Attributes:
        name: what requests call it.
        kind: the wire format it speaks: `openai` or `anthropic`.
        base_url: the only address it is reached at, without a slash at its end.
        api_key: the server's own key for it, None where it has none.
        models: names that are routed to it.
        key_names: names of keys in a caller's vault that are keys for it, best first; empty where it asks for none.
        official: it is OpenAI or Anthropic itself, and understands the newest fields of its format.
        responses: it serves OpenAI's Responses, too.
        trace: it is told the trace that a call is a part of.
    """

    name: str
    kind: str
    base_url: str
    api_key: str | None = field(repr=False)
    models: tuple[str, ...]
    key_names: tuple[str, ...]
    official: bool = False
    responses: bool = False
    trace: bool = False

    @property
    def price_address(self) -> str:
        """The address whose prices hold: the maker's own, also behind a proxy."""
        return OFFICIAL[self.kind] if self.official else self.base_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """A model's name of the operator's own, and who answers it: `provider/model`, in order."""

    model: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """What an operator decides about chat.

    Attributes:
        providers: those reached by their address.
        local: the models on this machine; None where another server stands in their place.
        fallbacks: names of models that the operator made up, with their targets.
        strict_models: refuse a retired model instead of answering with its successor.
        prices_file: the operator's own prices, in TOML; None without.
        answers_kept_us: microseconds for which the answer of a call with an `Idempotency-Key` is kept.
    """

    providers: tuple[Provider, ...]
    local: "LocalSettings | None"
    fallbacks: tuple[Fallback, ...] = ()
    strict_models: bool = False
    prices_file: Path | None = None
    answers_kept_us: int = KEPT_US


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


class Target(Quiet, msgspec.Struct, kw_only=True):
    """Where one call goes. `repr` does not show the key.

    Attributes:
        provider: its name, for messages.
        kind: the wire format it speaks.
        base_url: its address.
        model: the provider's own name of the model.
        api_key: None where the provider asks for none.
        key_name: under which name the key is kept; None where it is the server's own.
        key_owner: the account that keeps it.
        key_version: which version of it.
        official: as of the provider.
        responses: as of the provider.
        trace: as of the provider.
        abilities: what is known of the model.
        substituted: the model is another than the one that was asked for.
        share: tokens of a call whose request has no limit, where calls share one context; None where they do not.
        within_s: seconds that the caller gives the call; None for no limit of its own.
        held: ends what is held for the call; None where nothing is.
    """

    provider: str
    base_url: str
    model: str
    api_key: str | None
    key_name: str | None
    key_owner: str | None = None
    key_version: int | None = None
    kind: str = "openai"
    official: bool = False
    responses: bool = False
    trace: bool = False
    abilities: Abilities = UNKNOWN
    substituted: bool = False
    share: int | None = None
    within_s: float | None = None
    held: Callable[[], Awaitable[None]] | None = None

    def __repr__(self) -> str:
        return f"<Target {self.provider}/{self.model}>"

    @property
    def price_address(self) -> str:
        """As of the provider."""
        return OFFICIAL[self.kind] if self.official else self.base_url

    @property
    def shared_key(self) -> bool:
        """Whether the call is made with the server's own key, which many accounts share."""
        return self.api_key is not None and self.key_name is None and self.provider != LOCAL

    async def release(self) -> None:
        """End what is held for the call, which is over."""
        if self.held is not None:
            await self.held()
