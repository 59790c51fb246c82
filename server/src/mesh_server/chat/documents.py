"""The shapes of requests and answers, for the OpenAPI document and the lists of models."""

from datetime import UTC, date, datetime, time
from typing import Any

import msgspec

from mesh_server.chat.catalog.prices import Prices
from mesh_server.chat.service import Entry


class Message(msgspec.Struct):
    """One message; `content` is text or a list of parts."""

    role: str
    content: Any = None


class OpenAIRequest(msgspec.Struct, omit_defaults=True):
    """OpenAI's chat completion request; every other member of it goes to the provider as it is, or translated."""

    messages: list[Message]
    model: str | None = None
    stream: bool | None = None


class MeshRequest(msgspec.Struct, omit_defaults=True):
    """OpenAI's request with `message` for short, the choice of provider and key, and thinking in tokens."""

    messages: list[Message] | None = None
    message: str | None = None
    prompt: str | None = None
    model: str | None = None
    provider: str | None = None
    key_name: str | None = None
    key_owner: str | None = None
    stream: bool | None = None
    thinking: bool | None = None
    thinking_budget: int | None = None
    strict_models: bool | None = None


class ResponsesRequest(msgspec.Struct, omit_defaults=True):
    """OpenAI's Responses request; every other member of it goes to the provider as it is, or translated."""

    input: Any = None
    model: str | None = None
    stream: bool | None = None


class MessagesRequest(msgspec.Struct, omit_defaults=True):
    """Anthropic's messages request; every other member of it goes to the provider as it is, or translated."""

    messages: list[Message]
    max_tokens: int
    model: str | None = None
    stream: bool | None = None


class EmbeddingsRequest(msgspec.Struct, omit_defaults=True):
    """OpenAI's embeddings request; every other member of it goes to the provider as it is."""

    input: Any
    model: str


class Completion(msgspec.Struct):
    """OpenAI's chat completion."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any]


class MeshCompletion(Completion):
    """OpenAI's chat completion with who answered, what it cost in US dollars, and what was done otherwise."""

    provider: str
    cost_usd: float | None
    warnings: list[str]
    thinking: str | None
    request_id: str
    success: bool = True


class Response(msgspec.Struct):
    """OpenAI's response."""

    id: str
    object: str
    status: str
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None


class AnthropicMessage(msgspec.Struct):
    """Anthropic's message."""

    id: str
    type: str
    role: str
    model: str
    content: list[dict[str, Any]]
    stop_reason: str | None
    usage: dict[str, Any]


class TokenCount(msgspec.Struct):
    """How many tokens a request has."""

    input_tokens: int


class Embeddings(msgspec.Struct):
    """OpenAI's embeddings."""

    object: str
    data: list[dict[str, Any]]
    model: str
    usage: dict[str, Any]


class OpenAIErrorContent(msgspec.Struct):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorAnswer(msgspec.Struct):
    """The body of an error in OpenAI's format."""

    error: OpenAIErrorContent


class AnthropicErrorContent(msgspec.Struct):
    """What went wrong, in Anthropic's words; `details` has our own code as `error_code`."""

    type: str
    message: str
    details: dict[str, str]


class AnthropicErrorAnswer(msgspec.Struct):
    """The body of an error in Anthropic's format."""

    type: str
    error: AnthropicErrorContent
    request_id: str


class OpenAIModel(msgspec.Struct):
    """A model in OpenAI's shape."""

    id: str
    owned_by: str
    object: str = "model"
    created: int = 0
    shutdown_date: str | None = None


class OpenAIModels(msgspec.Struct):
    """The models that the caller can use, in OpenAI's shape."""

    data: list[OpenAIModel]
    object: str = "list"


class AnthropicModel(msgspec.Struct):
    """A model in Anthropic's shape."""

    id: str
    display_name: str
    type: str = "model"
    created_at: str = "1970-01-01T00:00:00Z"  # Anthropic's own word for "not known"
    lifecycle: str = "active"
    retires_at: str | None = None
    max_input_tokens: int | None = None
    max_tokens: int | None = None


class AnthropicModels(msgspec.Struct):
    """The models that the caller can use, in Anthropic's shape."""

    data: list[AnthropicModel]
    first_id: str | None
    last_id: str | None
    has_more: bool = False


class MeshModel(msgspec.Struct):
    """A model with all that is known of it: limits in tokens, prices in US dollars for a million tokens.

    `retired` is the day from which its provider refuses it, and may lie ahead; `successor` answers then.
    """

    id: str
    provider: str
    owned_by: str
    object: str = "model"
    created: int = 0
    title: str | None = None
    context: int | None = None
    output: int | None = None
    abilities: list[str] | None = None
    prices: dict[str, float] | None = None
    quality: int | None = None
    speed: str | None = None
    retired: date | None = None
    successor: str | None = None


class MeshModels(msgspec.Struct):
    """The models that the caller can use: by provider, and as a list."""

    models: dict[str, list[str]]
    data: list[MeshModel]
    success: bool = True


def openai_model(entry: Entry) -> OpenAIModel:
    """Return a model in OpenAI's shape."""
    retired = entry.known.retired if entry.known is not None else None
    return OpenAIModel(entry.id, entry.provider, shutdown_date=retired.isoformat() if retired else None)


def anthropic_model(entry: Entry) -> AnthropicModel:
    """Return a model in Anthropic's shape."""
    known = entry.known
    if known is None:
        return AnthropicModel(entry.id, entry.id)
    retires = datetime.combine(known.retired, time(), UTC).isoformat() if known.retired is not None else None
    return AnthropicModel(
        entry.id,
        known.title,
        lifecycle="active" if retires is None else "deprecated",
        retires_at=retires,
        max_input_tokens=known.context,
        max_tokens=known.output,
    )


def mesh_model(entry: Entry) -> MeshModel:
    """Return a model with all that is known of it."""
    found = MeshModel(entry.id, entry.provider, entry.provider, prices=_dollars(entry.prices))
    if entry.known is not None:
        known = entry.known
        found.title, found.context, found.output = known.title, known.context, known.output
        found.abilities, found.quality, found.speed = known.abilities, known.quality, known.speed
        found.retired, found.successor = known.retired, known.successor
    return found


def by_provider(entries: list[Entry]) -> dict[str, list[str]]:
    """Return the names of models by their provider."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        found.setdefault(entry.provider, []).append(entry.id)
    return found


def _dollars(prices: Prices | None) -> dict[str, float] | None:
    """Return prices for a prompt of ordinary length; beyond a provider's step they are higher."""
    if prices is None:
        return None
    kinds = ("input", "output", "cached", "cache_write", "cache_write_long")
    values = {kind: getattr(prices, kind) for kind in kinds}
    return {
        kind: (value[0] if isinstance(value, list) else value) / 1e9
        for kind, value in values.items()
        if value is not None
    }
