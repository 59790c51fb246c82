"""OpenAI's stream of chat completion chunks: read from a provider, written for a client."""

from typing import Any

import msgspec

from mesh_protocol.events import DONE, event
from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.common import (
    CHAT,
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
from mesh_server.chat.formats.openai_chat.answer import (
    Called,
    ChatUsage,
    finish_of,
    reason_of,
    write_thinking,
    write_usage,
)

_NULL = b"null"
_encoder = msgspec.json.Encoder()


class _Call(Called):
    index: int = 0


class _Delta(Quiet, msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Quiet, msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    index: int = 0
    finish_reason: str | None = None


class _Chunk(Quiet, msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: ChatUsage | None = None
    error: msgspec.Raw = msgspec.Raw(_NULL)


_chunk = msgspec.json.Decoder(_Chunk)


class Reader:
    """Reads a provider's chunks. Calls of tools stay open side by side until the answer ends."""

    def __init__(self) -> None:
        self._began = False
        self._next = 0
        self._saying: tuple[type[Part], int] | None = None  # the open block of text, thinking or refusal
        self._calls: dict[int, int] = {}
        self._refusal = ""

    def feed(self, data: bytes) -> list[Event]:
        """Return what one piece of the stream says.

        Raises:
            msgspec.DecodeError: if it is no chunk.
        """
        if data.strip() == DONE:
            return [Closed()]
        chunk = _chunk.decode(data)
        if bytes(chunk.error) != _NULL:
            return [Failed(bytes(chunk.error))]
        events: list[Event] = []
        if not self._began:
            self._began = True
            events.append(Began(chunk.id or "", chunk.model or ""))
        for choice in chunk.choices or ():
            if choice.index == 0:
                self._delta(choice.delta, events)
                if choice.finish_reason:
                    self._end(choice.finish_reason, events)
        if chunk.usage is not None:
            events.append(Counted(chunk.usage.inner()))
        return events

    def _delta(self, delta: _Delta, events: list[Event]) -> None:
        thought = delta.reasoning_content or delta.reasoning
        if thought:
            self._say(Thinking("", maker=CHAT), thought, events)
        if delta.content:
            self._say(Text(""), delta.content, events)
        if delta.refusal:
            self._refusal += delta.refusal
            self._say(Refusal(""), delta.refusal, events)
        for call in delta.tool_calls or ():
            self._call(call, events)

    def _say(self, part: Part, text: str, events: list[Event]) -> None:
        if self._saying is None or self._saying[0] is not type(part):
            self._hush(events)
            self._saying = (type(part), self._next)
            self._next += 1
            events.append(BlockBegan(self._saying[1], part))
        events.append(BlockGrew(self._saying[1], text))

    def _hush(self, events: list[Event]) -> None:
        if self._saying is not None:
            events.append(BlockEnded(self._saying[1]))
            self._saying = None

    def _call(self, call: _Call, events: list[Event]) -> None:
        index = self._calls.get(call.index)
        custom = call.custom is not None
        name, more = (
            (call.custom.name, call.custom.input)
            if call.custom is not None
            else (call.function.name, call.function.arguments)
            if call.function is not None
            else (None, None)
        )
        if index is None:
            self._hush(events)
            index = self._calls[call.index] = self._next
            self._next += 1
            events.append(BlockBegan(index, ToolCall(call.id or f"call_{call.index}", name or "", "", custom)))
        if more:
            events.append(BlockGrew(index, more))

    def _end(self, finish: str, events: list[Event]) -> None:
        self._hush(events)
        events += [BlockEnded(index) for index in self._calls.values()]
        reason = reason_of(finish, calls=bool(self._calls))
        refused = bool(self._refusal) and reason == "stop"
        events.append(Ended("refusal" if refused else reason, refusal=self._refusal or None))


class Writer:
    """Writes chunks for a client.

    Args:
        created: Unix time in seconds.
        include_usage: send the count of tokens before the end.
    """

    def __init__(self, *, created: int, include_usage: bool) -> None:
        self._head: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": created, "model": ""}
        self._include_usage = include_usage
        self._blocks: dict[int, Part] = {}
        self._tools: dict[int, int] = {}
        self._usage: Usage | None = None

    def write(self, happened: Event) -> list[bytes]:  # noqa: PLR0911 - one return for each kind
        """Return the events, ready to be sent, that tell what happened; `[DONE]` is the surface's to send."""
        if isinstance(happened, Began):
            self._head |= {"id": happened.id, "model": happened.model}
            self._usage = happened.usage
            return [self._chunk({"role": "assistant", "content": ""})]
        if isinstance(happened, BlockBegan):
            return self._begin(happened)
        if isinstance(happened, BlockGrew):
            return self._grow(happened)
        if isinstance(happened, BlockEnded):
            return self._end_block(happened)
        if isinstance(happened, Ended):
            delta = {"refusal": happened.refusal} if happened.refusal and not self._has_refusal() else {}
            return [self._chunk(delta, finish_of(happened.reason))]
        if isinstance(happened, Counted):
            self._usage = happened.usage
            return []
        if isinstance(happened, Closed):
            return self._last()
        return []

    def _last(self) -> list[bytes]:
        if not self._include_usage or self._usage is None:
            return []
        return [event(_encoder.encode({**self._head, "choices": [], "usage": write_usage(self._usage)}))]

    def _has_refusal(self) -> bool:
        return any(isinstance(part, Refusal) for part in self._blocks.values())

    def _begin(self, began: BlockBegan) -> list[bytes]:
        part = self._blocks[began.index] = began.part
        if isinstance(part, ToolCall):
            number = self._tools[began.index] = len(self._tools)
            content = {"name": part.name, ("input" if part.custom else "arguments"): part.arguments}
            kind = "custom" if part.custom else "function"
            return [self._chunk({"tool_calls": [{"index": number, "id": part.id, "type": kind, kind: content}]})]
        if isinstance(part, Thinking) and part.redacted is not None:
            return [self._chunk({"thinking_blocks": [write_thinking(part)]})]
        if isinstance(part, Text | Refusal | Thinking) and part.text:
            return [self._chunk({_FIELDS[type(part)]: part.text})]
        return []

    def _grow(self, grew: BlockGrew) -> list[bytes]:
        part = self._blocks[grew.index]
        if isinstance(part, ToolCall):
            part.arguments += grew.text
            kind = "custom" if part.custom else "function"
            content = {("input" if part.custom else "arguments"): grew.text}
            return [self._chunk({"tool_calls": [{"index": self._tools[grew.index], kind: content}]})]
        if isinstance(part, Thinking):
            part.text += grew.text  # goes out once more, whole, with its signature
        return [self._chunk({_FIELDS[type(part)]: grew.text})]

    def _end_block(self, ended: BlockEnded) -> list[bytes]:
        part = self._blocks[ended.index]
        if isinstance(part, Thinking) and (ended.signature or part.signature):
            part.signature = ended.signature or part.signature
            return [self._chunk({"thinking_blocks": [write_thinking(part)]})]
        if isinstance(part, ToolCall) and not part.custom and not part.arguments:
            content = {"index": self._tools[ended.index], "function": {"arguments": "{}"}}
            return [self._chunk({"tool_calls": [content]})]
        return []

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event(_encoder.encode({**self._head, "choices": [choice]}))


_FIELDS: dict[type[Part], str] = {Text: "content", Refusal: "refusal", Thinking: "reasoning_content"}
