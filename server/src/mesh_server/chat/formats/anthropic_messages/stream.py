"""Anthropic's stream of message events: read from a provider, written for a client."""

from typing import Any

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.anthropic_messages.answer import (
    Block,
    MessageUsage,
    StopDetails,
    end_of,
    frame,
    reason_of,
    signature_of,
    write_block,
    write_usage,
)
from mesh_server.chat.formats.common import (
    Began,
    BlockBegan,
    BlockEnded,
    BlockGrew,
    Closed,
    Counted,
    Ended,
    Event,
    Failed,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from mesh_server.chat.formats.shared import named_event

_encoder = msgspec.json.Encoder()


class _Message(Quiet, msgspec.Struct):
    id: str = ""
    model: str = ""
    usage: MessageUsage | None = None


class _Delta(Quiet, msgspec.Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None


class _Event(Quiet, msgspec.Struct):
    type: str
    message: _Message | None = None
    index: int = 0
    content_block: Block | None = None
    delta: _Delta | None = None
    usage: MessageUsage | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")


_event = msgspec.json.Decoder(_Event)


class Reader:
    """Reads a provider's events."""

    def __init__(self) -> None:
        self._usage: MessageUsage | None = None
        self._open: set[int] = set()
        self._signatures: dict[int, str] = {}

    def feed(self, data: bytes) -> list[Event]:  # noqa: PLR0911 - one return for each kind
        """Return what one piece of the stream says.

        Raises:
            msgspec.DecodeError: if it is no event.
        """
        found = _event.decode(data)
        if found.type == "message_start" and found.message is not None:
            self._usage = found.message.usage
            usage = self._usage.inner() if self._usage is not None else None
            return [Began(found.message.id, found.message.model, usage)]
        if found.type == "content_block_start" and found.content_block is not None:
            part = found.content_block.part()
            if part is None:
                return []
            self._open.add(found.index)
            return [BlockBegan(found.index, part)]
        if found.type == "content_block_delta" and found.delta is not None:
            return self._grew(found.index, found.delta)
        if found.type == "content_block_stop" and found.index in self._open:
            self._open.discard(found.index)
            return [BlockEnded(found.index, self._signatures.pop(found.index, None))]
        if found.type == "message_delta" and found.delta is not None:
            return self._ended(found.delta, found.usage)
        if found.type == "message_stop":
            return [Closed()]
        return [Failed(bytes(found.error))] if found.type == "error" else []

    def _grew(self, index: int, delta: _Delta) -> list[Event]:
        if delta.type == "signature_delta" and delta.signature:
            self._signatures[index] = self._signatures.get(index, "") + delta.signature
        text = delta.text or delta.partial_json or delta.thinking
        return [BlockGrew(index, text)] if text and index in self._open else []

    def _ended(self, delta: _Delta, usage: MessageUsage | None) -> list[Event]:
        events: list[Event] = []
        if usage is not None:
            self._usage = usage.after(self._usage)
            events.append(Counted(self._usage.inner()))
        if delta.stop_reason is not None:
            explanation = delta.stop_details.explanation if delta.stop_details is not None else None
            events.append(Ended(reason_of(delta.stop_reason), delta.stop_sequence, explanation))
        return events


class Writer:
    """Writes events for a client. Blocks never overlap here: what belongs to a later one waits for its turn."""

    def __init__(self) -> None:
        self._usage: Usage | None = None
        self._ended: Ended | None = None
        self._refusal = ""
        self._refusals: set[int] = set()
        self._next = 0
        self._parts: dict[int, Part] = {}
        self._live: int | None = None  # the inner index of the block that is being sent
        self._waiting: list[BlockBegan | BlockGrew | BlockEnded] = []

    def write(self, happened: Event) -> list[bytes]:
        """Return the events, ready to be sent, that tell what happened."""
        if isinstance(happened, Began):
            self._usage = happened.usage
            message = frame(id=happened.id, model=happened.model, usage=happened.usage)
            return [_named("message_start", message=message)]
        if isinstance(happened, BlockBegan | BlockGrew | BlockEnded):
            return self._block(happened)
        if isinstance(happened, Ended):
            self._ended = happened
        elif isinstance(happened, Counted):
            self._usage = happened.usage
        elif isinstance(happened, Closed):
            return [*self._drain(), *self._close()]
        return []

    def _block(self, happened: BlockBegan | BlockGrew | BlockEnded) -> list[bytes]:
        if isinstance(happened, BlockBegan) and isinstance(happened.part, Refusal):
            self._refusals.add(happened.index)
            self._refusal += happened.part.text
        if happened.index in self._refusals:  # told at the end, in `stop_details`
            self._refusal += happened.text if isinstance(happened, BlockGrew) else ""
            return []
        if self._live is not None and happened.index != self._live:
            self._waiting.append(happened)
            return []
        sent = self._send(happened)
        return [*sent, *self._drain()] if self._live is None else sent

    def _drain(self) -> list[bytes]:
        """Send what waits, as far as the first block of it that is not complete."""
        sent: list[bytes] = []
        while self._waiting and self._live is None:
            first = self._waiting[0].index
            mine = [entry for entry in self._waiting if entry.index == first]
            self._waiting = [entry for entry in self._waiting if entry.index != first]
            for entry in mine:
                sent += self._send(entry)
        return sent

    def _send(self, happened: BlockBegan | BlockGrew | BlockEnded) -> list[bytes]:
        if isinstance(happened, BlockBegan):
            return self._begin(happened)
        if isinstance(happened, BlockGrew):
            return [self._delta(self._parts[happened.index], happened.text)]
        return self._end(happened)

    def _begin(self, began: BlockBegan) -> list[bytes]:
        part = began.part
        self._parts[began.index] = part
        self._live = began.index
        redacted = isinstance(part, Thinking) and part.redacted is not None
        empty = part if redacted else _emptied(part)
        sent = [_named("content_block_start", index=self._next, content_block=write_block(empty))]
        text = part.arguments if isinstance(part, ToolCall) else part.text if isinstance(part, Text | Thinking) else ""
        return [*sent, self._delta(part, text)] if text else sent

    def _delta(self, part: Part, text: str) -> bytes:
        if isinstance(part, ToolCall):
            delta: dict[str, Any] = {"type": "input_json_delta", "partial_json": text}
        elif isinstance(part, Thinking):
            delta = {"type": "thinking_delta", "thinking": text}
        else:
            delta = {"type": "text_delta", "text": text}
        return _named("content_block_delta", index=self._next, delta=delta)

    def _end(self, ended: BlockEnded) -> list[bytes]:
        part, sent = self._parts[ended.index], []
        if isinstance(part, Thinking):
            part.signature, part.id = ended.signature or part.signature, ended.id or part.id
            signature = signature_of(part)
            if signature:
                delta = {"type": "signature_delta", "signature": signature}
                sent.append(_named("content_block_delta", index=self._next, delta=delta))
        sent.append(_named("content_block_stop", index=self._next))
        self._next += 1
        self._live = None
        return sent

    def _close(self) -> list[bytes]:
        ended = self._ended or Ended("stop")
        end = end_of(ended.reason, ended.stop_sequence, self._refusal or ended.refusal)
        return [
            _named("message_delta", delta=end, usage=write_usage(self._usage)),
            _named("message_stop"),
        ]


def _emptied(part: Part) -> Part:
    if isinstance(part, ToolCall):
        return ToolCall(part.id, part.name, "")
    return Thinking("", maker=part.maker) if isinstance(part, Thinking) else Text("")


def _named(kind: str, **members: Any) -> bytes:
    return named_event(kind, _encoder.encode({"type": kind, **members}))
