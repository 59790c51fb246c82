"""Requests as they come in: split into their members, of which only what Mesh must know is read.

A provider of the same format gets what the caller wrote; the rest is parsed only where it must be translated.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.common import CHAT, MESSAGES, RESPONSES, ChatRequest
from mesh_server.errors import InvalidRequest
from mesh_server.jsonbody import decode_json

#: Most letters of a model's name.
_MOST_NAME = 256
#: Header by which a caller limits the whole call, in seconds.
TIMEOUT_HEADER = "mesh-timeout"
_MOST_TIMEOUT_S = 86_400.0

_NULL = msgspec.Raw(b"null")

K = TypeVar("K", bound="_Known")


class _Known(Quiet, msgspec.Struct):
    """The members that Mesh reads on every surface."""

    model: str | None = None
    stream: bool | None = None


class _Message(Quiet, msgspec.Struct):
    """What every message has; the rest is the provider's to judge."""

    role: str


class _ChatKnown(_Known):
    stream_options: dict[str, msgspec.Raw] | None = None
    messages: list[_Message] | None = None


class _MeshKnown(_ChatKnown):
    """The members that Mesh chat adds."""

    provider: str | None = None
    key_name: str | None = None
    key_owner: str | None = None
    message: str | None = None
    prompt: str | None = None
    thinking: bool | None = None
    thinking_budget: int | None = None
    strict_models: bool | None = None


class _MessagesKnown(_Known):
    max_tokens: int | None = None
    messages: list[_Message] | None = None


_MESH_ONLY = frozenset(_MeshKnown.__struct_fields__) - frozenset(_ChatKnown.__struct_fields__)
#: On the other surfaces a client may add this one member (`extra_body`).
_STRICT = "strict_models"

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_chat_known = msgspec.json.Decoder(_ChatKnown)
_mesh_known = msgspec.json.Decoder(_MeshKnown)
_messages_known = msgspec.json.Decoder(_MessagesKnown)
_known = msgspec.json.Decoder(_Known)
_messages = msgspec.json.Decoder(list[_Message])
_encoder = msgspec.json.Encoder()


def read_chat(body: bytes, headers: Mapping[str, str]) -> ChatRequest:
    """Read a request of `POST /v1/chat/completions`.

    Raises:
        InvalidJSON, InvalidRequest: naming what is wrong.
    """
    known, fields, request = _read(body, _chat_known, headers)
    request.format = CHAT
    request.include_usage = _asks_for_usage(known.stream_options)
    _check_messages(fields, known.messages)
    return request


def read_mesh(body: bytes, headers: Mapping[str, str]) -> ChatRequest:
    """Read a request of Mesh chat, `POST /api/v1/chat/completions`.

    Raises:
        InvalidJSON, InvalidRequest: naming what is wrong.
    """
    known, fields, request = _read(body, _mesh_known, headers)
    for name in _MESH_ONLY:
        fields.pop(name, None)
    text = known.prompt if known.message is None else known.message
    if text is not None:
        if "messages" in fields or None not in (known.message, known.prompt):
            raise InvalidRequest("Send one of `message`, `prompt` and `messages`.")
        fields["messages"] = msgspec.Raw(_encoder.encode([{"role": "user", "content": text}]))
    _check_messages(fields, known.messages)
    budget = known.thinking_budget
    if budget is not None and budget < 1:
        raise InvalidRequest("`thinking_budget` must be a number of tokens, 1 or more.")
    request.format = CHAT
    request.is_mesh = True
    request.provider, request.key_name = known.provider or None, known.key_name or None
    request.key_owner = known.key_owner or None
    if request.key_owner is not None and request.key_name is None:
        # Never found by itself: who shares a key with somebody would see what that person asks with it.
        raise InvalidRequest("`key_owner` needs `key_name`: name the key that is shared with you.")
    request.thinking = True if known.thinking is None and budget is not None else known.thinking
    request.thinking_budget = budget
    request.strict_models = known.strict_models
    return request


def read_responses(body: bytes, headers: Mapping[str, str]) -> ChatRequest:
    """Read a request of `POST /v1/responses`.

    Raises:
        InvalidJSON, InvalidRequest: naming what is wrong.
    """
    _, fields, request = _read(body, _known, headers)
    if not {"input", "previous_response_id", "conversation", "prompt"} & fields.keys():
        raise InvalidRequest("The body has no `input`.")
    request.format = RESPONSES
    return request


def read_messages(body: bytes, headers: Mapping[str, str], *, counting: bool = False) -> ChatRequest:
    """Read a request of `POST /v1/messages`, or of `/v1/messages/count_tokens`.

    Raises:
        InvalidJSON, InvalidRequest: naming what is wrong.
    """
    known, fields, request = _read(body, _messages_known, headers)
    _check_messages(fields, known.messages)
    if known.max_tokens is None and not counting:
        raise InvalidRequest("max_tokens: Field required")
    request.format = MESSAGES
    request.headers = {name: headers[name] for name in ("anthropic-version", "anthropic-beta") if name in headers}
    return request


def read_embeddings(body: bytes, headers: Mapping[str, str]) -> ChatRequest:
    """Read a request of `POST /v1/embeddings`.

    Raises:
        InvalidJSON, InvalidRequest: naming what is wrong.
    """
    known, fields, request = _read(body, _known, headers)
    if "input" not in fields:
        raise InvalidRequest("The body has no `input`.")
    if known.model is None:
        raise InvalidRequest("Name a model: `model` is missing.")
    return request


def _read(
    body: bytes, decoder: msgspec.json.Decoder[K], headers: Mapping[str, str]
) -> tuple[K, dict[str, msgspec.Raw], ChatRequest]:
    members = decode_json(body, _members)
    known = _known_of(body, members, decoder)
    if known.model is not None and len(known.model) > _MOST_NAME:
        raise InvalidRequest(f"`model` has more than {_MOST_NAME} letters.")
    # null means "the default" to OpenAI, but not to every server like it
    fields = {name: value for name, value in members.items() if value != _NULL}
    strict = fields.pop(_STRICT, None)
    request = ChatRequest(
        format=CHAT,
        model=known.model or None,
        stream=bool(known.stream),
        fields=fields,
        strict_models=None if strict is None else bytes(strict) == b"true",
        timeout=_timeout(headers.get(TIMEOUT_HEADER)),
    )
    return known, fields, request


def _known_of(body: bytes, members: Mapping[str, msgspec.Raw], decoder: msgspec.json.Decoder[K]) -> K:
    """Return the members that Mesh reads; messages that do not fit are left to who can say what of them does not."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        names = {*decoder.type.__struct_fields__} - {"messages"}
        mine = {name: members[name] for name in names if name in members}
        return decode_json(_encoder.encode(mine), decoder)


def _timeout(header: str | None) -> float | None:
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _MOST_TIMEOUT_S:
        raise InvalidRequest(f"The header `{TIMEOUT_HEADER}` must be a number of seconds up to {_MOST_TIMEOUT_S:.0f}.")
    return seconds


def _asks_for_usage(options: dict[str, Any] | None) -> bool:
    asked = (options or {}).get("include_usage")
    return asked is not None and bytes(asked) == b"true"


def _check_messages(fields: dict[str, msgspec.Raw], messages: list[_Message] | None) -> None:
    if messages is None:
        raw = fields.get("messages")
        if raw is None:
            raise InvalidRequest("The body has no `messages`.")
        try:
            messages = _messages.decode(raw)
        except msgspec.ValidationError as problem:
            raise InvalidRequest(f"`messages` does not fit: {problem}.") from None
    if not messages:
        raise InvalidRequest("`messages` is empty.")
