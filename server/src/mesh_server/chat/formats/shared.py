"""What the readers and writers of every format share."""

from collections.abc import Collection, Mapping
from typing import TypeVar

import msgspec

from mesh_server.chat.formats.common import Conversation, Part, Text
from mesh_server.errors import InvalidRequest, UnsupportedFeature
from mesh_server.jsonbody import decode_json

T = TypeVar("T", bound=msgspec.Struct)

_NOTHING = frozenset({b"false", b"{}", b"0", b"[]"})
_encoder = msgspec.json.Encoder()


def open_request(
    fields: Mapping[str, msgspec.Raw],
    decoder: msgspec.json.Decoder[T],
    *,
    refused: Mapping[str, str],
    dropped: Collection[str],
    answered: Collection[str],
    target: str,
) -> tuple[T, list[str]]:
    """Return a request's members as their format has them, and a warning for each that is left out.

    Args:
        fields: the body's members, none of them null.
        decoder: of the format's request, as far as it is read.
        refused: members that can't be translated, and what they are.
        dropped: members that are left out, though they are known.
        answered: members that Mesh itself sees to.
        target: who is to answer, for messages.

    Raises:
        InvalidRequest: naming the member that does not fit.
        UnsupportedFeature: for a member of `refused` that says something.
    """
    asked = decode_json(_encoder.encode(fields), decoder)
    for name, what in refused.items():
        if name in fields and bytes(fields[name]) not in _NOTHING:
            raise unsupported(what, target)
    read = {*asked.__struct_fields__, *answered, *refused}
    lost = [name for name in fields if name in dropped or name not in read]
    return asked, [f"`{name}` was left out: {target} has no such setting." for name in lost]


def fail(place: str, why: str) -> InvalidRequest:
    """Return the error for a member that is not what its format has there."""
    return InvalidRequest(f"`{place}` {why}.")


def unsupported(what: str, target: str) -> UnsupportedFeature:
    """Return the error for something that the target's format has no place for."""
    return UnsupportedFeature(f"{what} can't be had from {target}: its format has no place for it.")


def data_url(url: str) -> tuple[str, str] | None:
    """Return media type and base64 of a `data:` URL (RFC 2397); None for any other URL."""
    if not url.startswith("data:"):
        return None
    head, comma, data = url[5:].partition(",")
    kind, _, encoding = head.rpartition(";")
    if not comma or encoding != "base64" or not kind:
        raise InvalidRequest("A data: URL must be `data:<media type>;base64,<data>`.")
    return kind.partition(";")[0], data


def text_of(parts: list[Part]) -> str:
    """Return the text of parts, joined."""
    return "".join(part.text for part in parts if isinstance(part, Text))


def named_event(name: str, data: bytes) -> bytes:
    """Return one server-sent event with its name (WHATWG HTML, section 9.2)."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


#: Members that both of OpenAI's formats have, and no other.
OPENAI_ONLY = ("metadata", "prompt_cache_key", "prompt_cache_retention", "service_tier")


def openai_only(asked: Conversation, target: str, warnings: list[str], *, taken: bool) -> dict[str, msgspec.Raw]:
    """Return what only OpenAI itself takes; where the target is another, say that it was left out."""
    if taken:
        return asked.openai
    warnings += [f"`{name}` was left out: {target} has no such setting." for name in asked.openai]
    return {}


def marks_cache(asked: Conversation) -> bool:
    """Return whether a request marks parts of the prompt to be kept by the provider."""
    marked = [part for message in asked.messages for part in message.parts if getattr(part, "cache", None) is not None]
    return bool(marked) or asked.cache is not None or any(tool.cache is not None for tool in asked.tools)
