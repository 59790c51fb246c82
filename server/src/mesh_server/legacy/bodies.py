"""Chat bodies of the published clients: read into the request of Mesh chat, and answers as those clients bear them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from mesh_protocol.events import event
from mesh_server.chat.formats import mesh_chat, requests
from mesh_server.chat.formats.common import ChatRequest, Outcome
from mesh_server.errors import InvalidRequest
from mesh_server.jsonbody import decode_json
from mesh_server.legacy.messages import in_openais_words

#: What goes on; the clients send whatever their caller named, and the providers refuse what they do not know.
_TAKEN = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "temperature", "top_p", "max_tokens"),
        *("max_completion_tokens", "stop", "n", "seed", "presence_penalty", "frequency_penalty", "logit_bias"),
        *("response_format", "tools", "tool_choice", "parallel_tool_calls", "reasoning_effort", "user"),
        *("provider", "key_name", "key_owner", "thinking", "thinking_budget", "strict_models"),
    }
)

_members = msgspec.json.Decoder(dict[str, Any])
_encoder = msgspec.json.Encoder()
_sorted = msgspec.json.Encoder(order="deterministic")


def read(body: bytes, headers: Mapping[str, str]) -> ChatRequest:
    """Read a request: null is nothing said, unknown members are nothing, and the model decides over the provider.

    Raises:
        InvalidJSON, InvalidRequest: naming what is wrong.
    """
    request = requests.read_mesh(_encoder.encode(_fields(body)), headers)
    request.provider_is_a_guess = True
    return request


def canonical(body: bytes) -> bytes:
    """Return what is said by a body, the same for bodies that say the same.

    Raises:
        InvalidJSON, InvalidRequest: as `read`.
    """
    return _sorted.encode(_fields(body))


def answer(body: bytes, outcome: Outcome, request_id: str) -> bytes:
    """Return a chat completion of Mesh chat whose every `content` is text.

    Raises:
        msgspec.DecodeError: if it is no chat completion.
    """
    whole = _members.decode(mesh_chat.answer(body, outcome, request_id))
    choices = whole.get("choices")
    if not isinstance(choices, list) or not choices:
        raise msgspec.ValidationError("a completion without choices")
    for choice in choices:
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            raise msgspec.ValidationError("a choice without a message")
        message["content"] = _text(message.get("content")) or _text(message.get("refusal"))
    return _encoder.encode(whole)


def plain_event(data: bytes) -> bytes:
    """Return an event of a stream in which `content` is text, or is not there where it is none.

    Args:
        data: of Mesh chat's event: JSON, or the word that ends a stream.
    """
    try:
        members = _members.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return event(data)
    choices = members.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        delta = choice.get("delta") if isinstance(choice, dict) else None
        if isinstance(delta, dict) and "content" in delta:
            text = _text(delta.pop("content"))
            if text:
                delta["content"] = text
    return event(_encoder.encode(members))


def _fields(body: bytes) -> dict[str, Any]:
    members = decode_json(body, _members)
    fields = {name: value for name, value in members.items() if name in _TAKEN and value is not None}
    messages = _said(members)
    if messages is not None:
        fields["messages"] = messages
    if isinstance(fields.get("provider"), str):
        fields["provider"] = fields["provider"].lower()
    if isinstance(fields.get("response_format"), str):  # the client's own word for what it returns
        del fields["response_format"]
    thinking = fields.get("thinking")
    if isinstance(thinking, dict):  # Anthropic's form
        fields["thinking"] = thinking.get("type") != "disabled"
        if thinking.get("budget_tokens") is not None:
            fields.setdefault("thinking_budget", thinking["budget_tokens"])
    return fields


def _said(members: dict[str, Any]) -> list[Any] | None:
    """Return the messages: one client sends them and the same text once more as `prompt`."""
    messages = members.get("messages")
    if messages is not None and not isinstance(messages, list):
        raise InvalidRequest("`messages` must be a list.")
    if messages:
        return in_openais_words(messages)
    for name in ("message", "prompt"):
        said = members.get(name)
        if isinstance(said, list):
            return in_openais_words(said)
        if isinstance(said, str):
            return [{"role": "user", "content": said}]
        if said is not None:
            raise InvalidRequest(f"`{name}` must be text.")
    return messages


def _text(content: Any) -> str:
    """Return the text of a message: some providers answer with a list of parts, of which thinking may be one."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict) and part.get("type", "text") == "text")
    return "".join(text for text in texts if isinstance(text, str))
