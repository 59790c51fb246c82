"""The way of one call between a surface and a provider: its request there, its answer back.

Of one format, bytes pass through (`same`); between two, everything goes through the inner form (`common`).
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from mesh_protocol.events import DONE, event
from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats import same
from mesh_server.chat.formats.anthropic_messages import answer as messages_answer
from mesh_server.chat.formats.anthropic_messages import build as messages_build
from mesh_server.chat.formats.anthropic_messages import parse as messages_parse
from mesh_server.chat.formats.anthropic_messages import stream as messages_stream
from mesh_server.chat.formats.common import (
    CHAT,
    MESSAGES,
    RESPONSES,
    Abilities,
    Began,
    ChatRequest,
    Closed,
    Conversation,
    Counted,
    Ended,
    Event,
    Failed,
    Format,
    Image,
    Outcome,
    Reply,
)
from mesh_server.chat.formats.openai_chat import answer as chat_answer
from mesh_server.chat.formats.openai_chat import build as chat_build
from mesh_server.chat.formats.openai_chat import parse as chat_parse
from mesh_server.chat.formats.openai_chat import stream as chat_stream
from mesh_server.chat.formats.openai_responses import answer as responses_answer
from mesh_server.chat.formats.openai_responses import build as responses_build
from mesh_server.chat.formats.openai_responses import parse as responses_parse
from mesh_server.chat.formats.openai_responses import stream as responses_stream
from mesh_server.chat.formats.shared import named_event
from mesh_server.errors import UnsupportedFeature

_encoder = msgspec.json.Encoder()

#: What a provider's bytes may be in place of an answer.
NONSENSE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)


class Reader(Protocol):
    """Reads a provider's stream into the inner form."""

    def feed(self, data: bytes) -> list[Event]:
        """Return what one piece says."""


class Writer(Protocol):
    """Writes the inner form as a surface's stream."""

    def write(self, happened: Event) -> list[bytes]:
        """Return the events, ready to be sent, that tell what happened."""


class Parse(Protocol):
    """Reads a request into the inner form."""

    def __call__(self, fields: dict[str, msgspec.Raw], *, target: str) -> Conversation:
        """Return the conversation."""


class Build(Protocol):
    """Writes a request of the inner form."""

    def __call__(
        self, asked: Conversation, *, model: str, stream: bool, abilities: Abilities, target: str
    ) -> tuple[dict[str, Any], list[str]]:
        """Return the members, and what was left out."""


_PARSE: dict[Format, Parse] = {
    CHAT: chat_parse.parse,
    RESPONSES: responses_parse.parse,
    MESSAGES: messages_parse.parse,
}
_BUILD: dict[Format, Build] = {
    CHAT: chat_build.build,
    RESPONSES: responses_build.build,
    MESSAGES: messages_build.build,
}
_READ: dict[Format, Callable[[bytes], Reply]] = {
    CHAT: chat_answer.read,
    RESPONSES: responses_answer.read,
    MESSAGES: messages_answer.read,
}
_READERS: dict[Format, Callable[[], Reader]] = {
    CHAT: chat_stream.Reader,
    RESPONSES: responses_stream.Reader,
    MESSAGES: messages_stream.Reader,
}


class ProviderSaidError(Exception):
    """A provider tells of its failure in the place of an answer, or in its middle.

    Args:
        error: its own JSON.
    """

    def __init__(self, error: bytes) -> None:
        super().__init__("the provider told of a failure")
        self.error = error


class Way(Quiet, msgspec.Struct, kw_only=True):
    """What the translation of one call depends on.

    Attributes:
        request: as the surface read it.
        format: the provider's.
        model: the provider's name of the model.
        abilities: of that model.
        target: who answers, for messages.
        adapt: fit the request to the model even where the format is the same.
        shared_key: the call is made with the server's own key.
        created: Unix time in seconds.
    """

    request: ChatRequest
    format: Format
    model: str
    abilities: Abilities
    target: str
    adapt: bool
    shared_key: bool
    created: int

    @property
    def is_same(self) -> bool:
        """Whether the bytes pass through."""
        return self.format == self.request.format

    def body(self, *, counting: bool = False) -> tuple[dict[str, Any], list[str]]:
        """Return the members of the provider's request, and what was left out.

        Raises:
            InvalidRequest, UnsupportedFeature: for what can't be translated.
        """
        if self.shared_key:
            same.check_state(self.request)
        if self.request.thinking and self.abilities.thinking == "none":
            raise UnsupportedFeature(f"{self.model} of {self.target} can't be told to think; leave out `thinking`.")
        if self.is_same:
            fields, warnings = same.body(
                self.request,
                model=self.model,
                abilities=self.abilities,
                adapt=self.adapt and not counting,
                shared_key=self.shared_key,
                target=self.target,
            )
        else:
            asked = self.conversation()
            fields, warnings = _BUILD[self.format](
                asked,
                model=self.model,
                stream=self.request.stream,
                abilities=self.abilities,
                target=self.target,
            )
        return fields, warnings

    def conversation(self) -> Conversation:
        """Return the request in the inner form."""
        asked = _PARSE[self.request.format](self.request.fields, target=self.target)
        if self.request.thinking is not None:
            asked.thought = same.mesh_thought(self.request)
        if self.request.headers.get("anthropic-beta"):
            asked.warnings.append(f"`anthropic-beta` was left out: {self.target} knows no betas of Anthropic's.")
        if not self.abilities.images and any(isinstance(p, Image) for m in asked.messages for p in m.parts):
            raise UnsupportedFeature(f"{self.model} of {self.target} reads no images; name a model that does.")
        return asked

    def answer(self, content: bytes, outcome: Outcome) -> bytes:
        """Return a provider's whole answer as the surface has it; completes the outcome.

        Raises:
            ProviderSaidError: if it tells of a failure.
            NONSENSE: if it is no answer.
        """
        if self.is_same:
            seen = same.seen_of(self.format, content)
            if seen.error is not None:
                raise ProviderSaidError(seen.error)
            outcome.usage, outcome.model, outcome.finished = seen.usage, seen.model or outcome.model, True
            outcome.tier = seen.tier
            return content
        if self.format == RESPONSES:
            failed = same.seen_of(self.format, content).error
            if failed is not None:
                raise ProviderSaidError(failed)
        reply = _READ[self.format](content)
        reply.model = reply.model or outcome.model
        outcome.usage, outcome.model, outcome.finished = reply.usage, reply.model, True
        return _encoder.encode(self._write(reply))

    def _write(self, reply: Reply) -> dict[str, Any]:
        if self.request.format == MESSAGES:
            return messages_answer.write(reply)
        if self.request.format == RESPONSES:
            return responses_answer.write(reply, self.request.fields, created=self.created)
        return chat_answer.write(reply, created=self.created)

    def relay(self, outcome: Outcome) -> "Relay":
        """Return what hands a provider's stream on, piece by piece."""
        if self.is_same:
            return PassThrough(self.request, outcome)
        return Translation(_READERS[self.format](), self._writer(), outcome, strict=self.format != CHAT)

    def _writer(self) -> Writer:
        if self.request.format == MESSAGES:
            return messages_stream.Writer()
        if self.request.format == RESPONSES:
            return responses_stream.Writer(self.request.fields, created=self.created)
        return chat_stream.Writer(created=self.created, include_usage=self.request.include_usage)


class Relay(Protocol):
    """Hands a provider's stream on; keeps the outcome as complete as the stream has been so far."""

    #: The stream's own last word came.
    closed: bool

    def feed(self, data: bytes) -> list[bytes]:
        """Return what is to be sent for one piece.

        Raises:
            ProviderSaidError: if the piece tells of a failure.
            NONSENSE: if it is none.
        """

    def end(self) -> list[bytes]:
        """Return what is still to be sent where the stream came to its end."""


class PassThrough:
    """A stream of the surface's own format: its bytes go on."""

    def __init__(self, request: ChatRequest, outcome: Outcome) -> None:
        self.closed = False
        self._outcome = outcome
        self._format = request.format
        self._shows_usage = request.include_usage
        watch = same.Watch()
        looks = {CHAT: watch.chat, MESSAGES: watch.messages, RESPONSES: watch.responses}
        self._look = looks[request.format]

    def feed(self, data: bytes) -> list[bytes]:
        """Return the piece as it came; the count of tokens only to who asked for it."""
        if self._format == CHAT and data.strip() == DONE:
            self.closed = self._outcome.finished = True
            return []
        seen = self._look(data)
        if seen.error is not None:
            raise ProviderSaidError(seen.error)
        outcome = self._outcome
        if seen.usage is not None:
            outcome.usage = seen.usage
        if seen.model:
            outcome.model = seen.model
        if seen.tier:
            outcome.tier = seen.tier
        # Some servers of OpenAI's format end without [DONE]: the reason to finish says as much.
        outcome.finished = outcome.finished or seen.finished
        self.closed = seen.closed
        if self._format != CHAT:
            return [named_event(seen.name, data)]
        return [] if seen.only_usage and not self._shows_usage else [event(data)]

    def end(self) -> list[bytes]:
        """Nothing is missing."""
        return []


class Translation:
    """A stream of another format: read into the inner form, and written anew.

    Args:
        reader: of the provider's format.
        writer: of the surface's.
        outcome: kept as complete as the stream is.
        strict: only the stream's own last word makes it complete; some servers of chat completions send none.
    """

    def __init__(self, reader: Reader, writer: Writer, outcome: Outcome, *, strict: bool) -> None:
        self.closed = False
        self._strict = strict
        self._began = False
        self._reader = reader
        self._writer = writer
        self._outcome = outcome

    def feed(self, data: bytes) -> list[bytes]:
        """Return what the surface is told of a piece."""
        sent: list[bytes] = []
        for happened in self._reader.feed(data):
            if isinstance(happened, Failed):
                raise ProviderSaidError(happened.error)
            if isinstance(happened, Closed):
                self.closed = self._outcome.finished = True
                continue  # told when nothing follows: a count of tokens may come after the end
            self._note(happened)
            if not self._began:
                raise ValueError("a stream that does not begin at its beginning")
            sent += self._writer.write(happened)
        return sent

    def end(self) -> list[bytes]:
        """Return the surface's own last events."""
        return self._writer.write(Closed())

    def _note(self, happened: Event) -> None:
        outcome = self._outcome
        if isinstance(happened, Began):
            self._began = True
            happened.model = outcome.model = happened.model or outcome.model
            outcome.usage = happened.usage or outcome.usage
        elif isinstance(happened, Counted):
            outcome.usage = happened.usage
        elif isinstance(happened, Ended):
            outcome.finished = outcome.finished or not self._strict
