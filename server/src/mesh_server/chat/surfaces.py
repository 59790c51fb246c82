"""The formats in which people speak to Mesh: what differs between them."""

from collections.abc import Mapping
from typing import Any, Protocol

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


class Surface(Protocol):
    """One of them."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        """Read a request."""

    def answer(self, body: bytes, outcome: Outcome, request_id: str) -> bytes:
        """Return a whole answer."""

    def last(self, outcome: Outcome, request_id: str) -> list[bytes]:
        """Return the events that a complete stream ends with, beside the provider's own."""

    def failure(self, error: MeshError, request_id: str, sent: int) -> bytes:
        """Return the event that a stream ends with which failed after so many events."""


class MeshSurface:
    """Mesh chat."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        """Read a request."""
        return requests.read_mesh(body, headers)

    def answer(self, body: bytes, outcome: Outcome, request_id: str) -> bytes:
        """Return the answer with what Mesh adds."""
        return mesh_chat.answer(body, outcome, request_id)

    def last(self, outcome: Outcome, request_id: str) -> list[bytes]:
        """Return what is known at the end."""
        return [mesh_chat.last_event(outcome, request_id), event(DONE)]

    def failure(self, error: MeshError, request_id: str, sent: int) -> bytes:  # noqa: ARG002 - as the other surfaces
        """Return the failure as an error answer has it."""
        body = error_body(error, request_id)
        return event(_encoder.encode({"error": body["error"], "request_id": request_id}))


class OpenAISurface:
    """OpenAI's chat completions."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        """Read a request."""
        return requests.read_chat(body, headers)

    def answer(self, body: bytes, outcome: Outcome, request_id: str) -> bytes:  # noqa: ARG002 - as the other surfaces
        """Return the answer as it is."""
        return body

    def last(self, outcome: Outcome, request_id: str) -> list[bytes]:  # noqa: ARG002 - as the other surfaces
        """Return OpenAI's last word."""
        return [event(DONE)]

    def failure(self, error: MeshError, request_id: str, sent: int) -> bytes:  # noqa: ARG002 - as the other surfaces
        """Return the failure in OpenAI's form, which its clients raise."""
        return event(_encoder.encode(openai_error(error)))


class ResponsesSurface:
    """OpenAI's Responses."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        """Read a request."""
        return requests.read_responses(body, headers)

    def answer(self, body: bytes, outcome: Outcome, request_id: str) -> bytes:  # noqa: ARG002 - as the other surfaces
        """Return the answer as it is."""
        return body

    def last(self, outcome: Outcome, request_id: str) -> list[bytes]:  # noqa: ARG002 - as the other surfaces
        """Nothing: the stream has a last event of its own."""
        return []

    def failure(self, error: MeshError, request_id: str, sent: int) -> bytes:  # noqa: ARG002 - as the other surfaces
        """Return the failure as an event; with `error` in it, since OpenAI's client raises for nothing else."""
        found = openai_error(error)["error"]
        members = {"type": "error", "code": found["code"], "message": found["message"], "param": None}
        return named_event("error", _encoder.encode({**members, "sequence_number": sent, "error": found}))


class AnthropicSurface:
    """Anthropic's messages."""

    def read(self, body: bytes, headers: Mapping[str, str]) -> ChatRequest:
        """Read a request."""
        return requests.read_messages(body, headers)

    def answer(self, body: bytes, outcome: Outcome, request_id: str) -> bytes:  # noqa: ARG002 - as the other surfaces
        """Return the answer as it is."""
        return body

    def last(self, outcome: Outcome, request_id: str) -> list[bytes]:  # noqa: ARG002 - as the other surfaces
        """Nothing: the stream has a last event of its own."""
        return []

    def failure(self, error: MeshError, request_id: str, sent: int) -> bytes:  # noqa: ARG002 - as the other surfaces
        """Return the failure in Anthropic's form, which its clients raise."""
        return named_event("error", _encoder.encode(anthropic_error(error, request_id)))


def openai_answer(error: MeshError) -> tuple[int, dict[str, Any], Headers]:
    """Return status, body and headers of a failure on OpenAI's surfaces."""
    return openai_status(error), openai_error(error), retry_headers(error)


def anthropic_answer(error: MeshError, request_id: str) -> tuple[int, dict[str, Any], Headers]:
    """Return status, body and headers of a failure on Anthropic's surfaces."""
    headers = [*retry_headers(error), (b"request-id", request_id.encode())]
    return anthropic_status(error), anthropic_error(error, request_id), headers


def outcome_headers(outcome: Outcome) -> Headers:
    """Return what every surface tells in headers: who was asked, and what was done otherwise."""
    found = [(b"mesh-route", _ascii(", ".join(outcome.route)))]
    found += [(_ascii(name), _ascii(value)) for name, value in outcome.limits.items()]
    if outcome.warnings:
        found.append((b"mesh-warnings", _ascii(" | ".join(outcome.warnings))[:_MOST_WARNINGS]))
    return found


def _ascii(text: str) -> bytes:
    """Return text as a header may have it: names of models are the caller's, and could hold anything."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text).encode("ascii")
