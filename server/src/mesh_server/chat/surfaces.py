"""The formats in which people speak to Mesh: what differs between them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from mesh_protocol.events import DONE, event
from mesh_server.asgi import error_body
from mesh_server.chat.formats import mesh_chat, requests
from mesh_server.chat.formats.anthropic_errors import anthropic_error, anthropic_status
from mesh_server.chat.formats.common import ChatRequest, Outcome
from mesh_server.chat.formats.openai_errors import openai_error, openai_status, retry_headers
from mesh_server.chat.formats.shared import named_event
from mesh_server.errors import MeshError

Headers = list[tuple[bytes, bytes]]

_encoder = msgspec.json.Encoder()
_MOST_WARNINGS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One of them.

    Attributes:
        name: as usage has it.
        read: reads a request from its body and its headers.
        failure: the event that ends a failed stream, for an error, the request's id, and how many events were sent.
        answer: what a whole answer becomes, with its outcome and the request's id: by default nothing else.
        last: the events that a complete stream ends with beside its format's own: by default none.
    """

    name: str
    read: Callable[[bytes, Mapping[str, str]], ChatRequest]
    failure: Callable[[MeshError, str, int], bytes]
    answer: Callable[[bytes, Outcome, str], bytes] = lambda body, _outcome, _request_id: body
    last: Callable[[Outcome, str], list[bytes]] = lambda _outcome, _request_id: []


def _mesh_failure(error: MeshError, request_id: str, _sent: int) -> bytes:
    body = error_body(error, request_id)
    return event(_encoder.encode({"error": body["error"], "request_id": request_id}))


def _responses_failure(error: MeshError, _request_id: str, sent: int) -> bytes:
    """Return an event with `error` in it, too: OpenAI's client raises for nothing else."""
    found = openai_error(error)["error"]
    members = {"type": "error", "code": found["code"], "message": found["message"], "param": None}
    return named_event("error", _encoder.encode({**members, "sequence_number": sent, "error": found}))


MESH = Surface(
    name="mesh",
    read=requests.read_mesh,
    failure=_mesh_failure,
    answer=mesh_chat.answer,
    last=lambda outcome, request_id: [mesh_chat.last_event(outcome, request_id), event(DONE)],
)
OPENAI_CHAT = Surface(
    name="openai_chat",
    read=requests.read_chat,
    failure=lambda error, _request_id, _sent: event(_encoder.encode(openai_error(error))),
    last=lambda _outcome, _request_id: [event(DONE)],
)
OPENAI_RESPONSES = Surface(name="openai_responses", read=requests.read_responses, failure=_responses_failure)
ANTHROPIC = Surface(
    name="anthropic",
    read=requests.read_messages,
    failure=lambda error, request_id, _sent: named_event("error", _encoder.encode(anthropic_error(error, request_id))),
)


def openai_answer(error: MeshError) -> tuple[int, dict[str, Any], Headers]:
    """Return status, body and headers of a failure on OpenAI's surfaces."""
    return openai_status(error), openai_error(error), retry_headers(error)


def anthropic_answer(error: MeshError, request_id: str) -> tuple[int, dict[str, Any], Headers]:
    """Return status, body and headers of a failure on Anthropic's surfaces."""
    headers = [*retry_headers(error), (b"request-id", request_id.encode())]
    return anthropic_status(error), anthropic_error(error, request_id), headers


def outcome_headers(outcome: Outcome) -> Headers:
    """Return what every surface tells in headers: who was asked, what it cost, and what was done otherwise."""
    found = [(b"mesh-route", _ascii(", ".join(outcome.route)))]
    found += [(_ascii(name), _ascii(value)) for name, value in outcome.limits.items()]
    if outcome.cost_nano is not None:  # of a whole answer: a stream's is not known before its end
        found.append((b"mesh-cost-nano", b"%d" % outcome.cost_nano))
    if outcome.warnings:
        found.append((b"mesh-warnings", _ascii(" | ".join(outcome.warnings))[:_MOST_WARNINGS]))
    return found


def _ascii(text: str) -> bytes:
    """Return text as a header may have it: names of models are the caller's, and could hold anything."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return text.encode("ascii")
