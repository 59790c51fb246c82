"""OpenAI's chat completions, and Mesh's own chat, which is the same shape with a few members more.

A request is split into its members, each kept as the JSON it came in: a provider of the same format gets what the
caller wrote, and only what Mesh must know is read.
"""

from typing import Any, Literal

import msgspec

from mesh_protocol.codes import CODES
from mesh_server.chat.formats.common import ChatRequest, Outcome
from mesh_server.errors import InvalidRequest, MeshError, UnsupportedFeature
from mesh_server.jsonbody import decode_json

_NULL = b"null"


class _Known(msgspec.Struct):
    """The members that Mesh reads on both surfaces."""

    model: str | None = None
    stream: bool | None = None
    stream_options: dict[str, msgspec.Raw] | None = None


class _Message(msgspec.Struct):
    """What every message has; the rest is the provider's to judge."""

    role: str


class _MeshKnown(_Known):
    """The members that Mesh chat adds."""

    provider: str | None = None
    key_name: str | None = None
    key_owner: str | None = None
    message: str | None = None
    prompt: str | None = None
    thinking: bool | None = None
    thinking_budget: int | None = None
    strict_models: bool | None = None


_MESH_ONLY = frozenset(_MeshKnown.__struct_fields__) - frozenset(_Known.__struct_fields__)

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_known = msgspec.json.Decoder(_Known)
_mesh_known = msgspec.json.Decoder(_MeshKnown)
_messages = msgspec.json.Decoder(list[_Message])
_encoder = msgspec.json.Encoder()


class _Delta(msgspec.Struct):
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    """What Mesh must know of one piece of a provider's stream."""

    choices: list[_Delta] | None = None
    usage: msgspec.Raw = msgspec.Raw(_NULL)
    error: msgspec.Raw = msgspec.Raw(_NULL)
    model: str | None = None

    @property
    def finish(self) -> bool:
        """Whether an answer comes to its end in this piece."""
        return any(choice.finish_reason for choice in self.choices or ())

    @property
    def spent(self) -> msgspec.Raw | None:
        """The count of tokens, where this piece brings it."""
        return None if bytes(self.usage) == _NULL else self.usage

    @property
    def failed(self) -> bool:
        """Whether this piece tells of a failure instead."""
        return bytes(self.error) != _NULL


_chunk = msgspec.json.Decoder(Chunk)


def read_chunk(data: bytes) -> Chunk:
    """Return what must be known of a piece.

    Raises:
        msgspec.DecodeError: if it is none.
    """
    return _chunk.decode(data)


def read_openai(body: bytes) -> ChatRequest:
    """Read a request of `POST /v1/chat/completions`.

    Raises:
        InvalidJSON, InvalidRequest: naming what is wrong.
    """
    members = decode_json(body, _members)
    known = decode_json(body, _known)
    fields = _without_nulls(members)
    _check_messages(fields)
    return _request(known, fields)


def read_mesh(body: bytes) -> ChatRequest:
    """Read a request of Mesh chat, `POST /api/v1/chat/completions`.

    Raises:
        InvalidJSON, InvalidRequest: naming what is wrong.
        UnsupportedFeature: for thinking, which no provider of this version offers.
    """
    members = decode_json(body, _members)
    known = decode_json(body, _mesh_known)
    fields = {name: value for name, value in _without_nulls(members).items() if name not in _MESH_ONLY}
    text = known.prompt if known.message is None else known.message
    if text is not None:
        if "messages" in fields or None not in (known.message, known.prompt):
            raise InvalidRequest("Send one of `message`, `prompt` and `messages`.")
        fields["messages"] = msgspec.Raw(_encoder.encode([{"role": "user", "content": text}]))
    _check_messages(fields)
    if known.thinking or (known.thinking_budget is not None and known.thinking is not False):
        raise UnsupportedFeature("No model of this server can be told to think; leave out `thinking`.")
    request = _request(known, fields)
    request.provider, request.key_name = known.provider or None, known.key_name or None
    request.key_owner = known.key_owner or None
    if request.key_owner is not None and request.key_name is None:
        # Never found by itself: who shares a key with somebody would see what that person asks with it.
        raise InvalidRequest("`key_owner` needs `key_name`: name the key that is shared with you.")
    return request


def upstream_body(request: ChatRequest, model: str) -> bytes:
    """Return the body for a provider of the same format."""
    fields: dict[str, Any] = {**request.fields, "model": model}
    if request.stream:
        options = decode_json(bytes(fields.get("stream_options", b"{}")), _members)
        fields["stream_options"] = {**options, "include_usage": True}  # Mesh must know what was spent
    return _encoder.encode(fields)


def mesh_answer(body: bytes, outcome: Outcome, request_id: str) -> bytes:
    """Return a provider's answer with what Mesh adds to it.

    Raises:
        msgspec.DecodeError: if the provider's answer is none.
    """
    members: dict[str, Any] = _members.decode(body)
    return _encoder.encode(
        members | _added(outcome, request_id) | {"success": True, "thinking": _thinking_of(members.get("choices"))}
    )


def mesh_last_chunk(outcome: Outcome, request_id: str) -> bytes:
    """Return the piece that ends a stream of Mesh chat: no choices, but what was spent and by whom."""
    last: dict[str, Any] = {
        "object": "chat.completion.chunk",
        "choices": [],
        "model": outcome.model,
        "usage": outcome.usage,
    }
    return _encoder.encode(last | _added(outcome, request_id))


def openai_error(error: MeshError) -> dict[str, Any]:
    """Return the error body of OpenAI's API."""
    kind, code = _OPENAI_NAMES.get(error.code, (None, None))
    message = " ".join((error.message, *error.advice))  # there is no other place for what to do
    return {
        "error": {
            "message": message,
            "type": kind or _OPENAI_TYPES.get(error.type, error.type),
            "param": None,
            "code": code or error.code,
        }
    }


def openai_status(error: MeshError) -> int:
    """Return the status that OpenAI's API has for a failure, by which its clients choose the exception."""
    return _OPENAI_STATUS.get(error.code, error.status)


def openai_headers(error: MeshError) -> list[tuple[bytes, bytes]]:
    """Return whether OpenAI's clients should try again: they would do so on every 409, 429 and 5xx."""
    return [(b"x-should-retry", b"true" if CODES[error.code].retryable else b"false")]


_OPENAI_NAMES = {
    "token_missing": ("authentication_error", "invalid_api_key"),
    "token_invalid": ("authentication_error", "invalid_api_key"),
    "token_expired": ("authentication_error", "invalid_api_key"),
    "token_revoked": ("authentication_error", "invalid_api_key"),
    "provider_quota_exceeded": ("insufficient_quota", "insufficient_quota"),
    "provider_rate_limited": ("rate_limit_error", "rate_limit_exceeded"),
}
_OPENAI_TYPES: dict[str, Literal["invalid_request_error", "server_error"]] = {
    "not_found_error": "invalid_request_error",
    "conflict_error": "invalid_request_error",
    "upstream_error": "server_error",
}
_OPENAI_STATUS = {"model_not_found": 404, "model_not_installed": 404, "provider_quota_exceeded": 429}


def _without_nulls(members: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """Return the members that say something: null means "the default" to OpenAI, but not to every server like it."""
    return {name: value for name, value in members.items() if bytes(value) != _NULL}


def _request(known: _Known, fields: dict[str, msgspec.Raw]) -> ChatRequest:
    asked = (known.stream_options or {}).get("include_usage")
    return ChatRequest(
        model=known.model or None,
        provider=None,
        key_name=None,
        stream=bool(known.stream),
        include_usage=asked is not None and bytes(asked) == b"true",
        fields=fields,
    )


def _check_messages(fields: dict[str, msgspec.Raw]) -> None:
    raw = fields.get("messages")
    if raw is None:
        raise InvalidRequest("The body has no `messages`.")
    try:
        messages = _messages.decode(raw)
    except msgspec.ValidationError as problem:
        raise InvalidRequest(f"`messages` does not fit: {problem}.") from None
    if not messages:
        raise InvalidRequest("`messages` is empty.")


def _added(outcome: Outcome, request_id: str) -> dict[str, Any]:
    return {
        "provider": outcome.provider,
        "cost_usd": outcome.cost_usd,
        "warnings": outcome.warnings,
        "request_id": request_id,
    }


class _Thought(msgspec.Struct):
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    message: _Thought | None = None


_choices = msgspec.json.Decoder(list[_Choice])


def _thinking_of(choices: msgspec.Raw | None) -> str | None:
    if choices is None:
        return None
    for choice in _choices.decode(choices):
        if choice.message is not None and choice.message.reasoning_content:
            return choice.message.reasoning_content
    return None
