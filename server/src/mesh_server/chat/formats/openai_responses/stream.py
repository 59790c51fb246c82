"""OpenAI's stream of response events: read from a provider, written for a client."""

from collections.abc import Mapping
from typing import Any

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.common import (
    RESPONSES,
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
from mesh_server.chat.formats.openai_responses.answer import (
    Item,
    Response,
    finish,
    frame,
    write_content,
    write_item,
)
from mesh_server.chat.formats.shared import named_event

_encoder = msgspec.json.Encoder()


class _Event(Quiet, msgspec.Struct):
    type: str = ""
    response: Response | None = None
    item: Item | None = None
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: str = ""


_event = msgspec.json.Decoder(_Event)

#: Events with a piece of a block: what it is a piece of.
_DELTAS: dict[str, type[Part]] = {
    "response.output_text.delta": Text,
    "response.refusal.delta": Refusal,
    "response.reasoning_summary_text.delta": Thinking,
    "response.reasoning_text.delta": Thinking,
    "response.function_call_arguments.delta": ToolCall,
    "response.custom_tool_call_input.delta": ToolCall,
}
_TERMINAL = frozenset({"response.completed", "response.incomplete"})


class Reader:
    """Reads a provider's events."""

    def __init__(self) -> None:
        self._next = 0
        self._open: dict[tuple[int, type[Part]], int] = {}
        self._grown: set[int] = set()
        self._summary = 0

    def feed(self, data: bytes) -> list[Event]:  # noqa: PLR0911 - one return for each kind
        """Return what one piece of the stream says.

        Raises:
            msgspec.DecodeError: if it is no event.
        """
        found = _event.decode(data)
        if found.type == "response.created" and found.response is not None:
            return [Began(found.response.id, found.response.model)]
        if found.type == "response.output_item.added" and found.item is not None:
            return self._added(found.output_index, found.item)
        if found.type in _DELTAS:
            return self._grew(found, _DELTAS[found.type])
        if found.type == "response.output_item.done" and found.item is not None:
            return self._done(found.output_index, found.item)
        if found.type in _TERMINAL and found.response is not None:
            return self._ended(found.response)
        if found.type == "response.failed" and found.response is not None:
            return [Failed(bytes(found.response.error))]
        return [Failed(data)] if found.type == "error" else []

    def _block(self, index: int, part: Part, events: list[Event]) -> int:
        key = (index, type(part))
        if key not in self._open:
            self._open[key] = self._next
            self._next += 1
            events.append(BlockBegan(self._open[key], part))
        return self._open[key]

    def _added(self, index: int, item: Item) -> list[Event]:
        events: list[Event] = []
        if item.type in {"function_call", "custom_tool_call"}:
            custom = item.type == "custom_tool_call"
            self._block(index, ToolCall(item.call_id or "", item.name or "", "", custom), events)
        elif item.type == "reasoning":
            self._summary = 0
            self._block(index, Thinking("", maker=RESPONSES, id=item.id), events)
        return events

    def _grew(self, found: _Event, kind: type[Part]) -> list[Event]:
        events: list[Event] = []
        empty: dict[type[Part], Part] = {
            Text: Text(""),
            Refusal: Refusal(""),
            Thinking: Thinking("", maker=RESPONSES),
            ToolCall: ToolCall("", ""),
        }
        block = self._block(found.output_index, empty[kind], events)
        text = found.delta
        if kind is Thinking and found.summary_index != self._summary:
            self._summary = found.summary_index
            text = f"\n\n{text}"  # the next paragraph of the summary
        self._grown.add(block)
        return [*events, BlockGrew(block, text)]

    def _done(self, index: int, item: Item) -> list[Event]:
        events: list[Event] = []
        whole: dict[type[Part], Part] = {}
        for part in item.parts():  # several contents of one kind came as one block
            if type(part) in whole:
                _set(whole[type(part)], _get(whole[type(part)]) + _get(part))
            else:
                whole[type(part)] = part
        for kind, part in whole.items():
            block = self._block(index, _emptied(part), events)
            if _get(part) and block not in self._grown:  # a server that sends no pieces
                events.append(BlockGrew(block, _get(part)))
            signature = part.signature if isinstance(part, Thinking) else None
            del self._open[index, kind]
            events.append(BlockEnded(block, signature, item.id if kind is Thinking else None))
        return events

    def _ended(self, response: Response) -> list[Event]:
        events: list[Event] = [BlockEnded(block) for block in self._open.values()]
        self._open.clear()
        if response.usage is not None:
            events.append(Counted(response.usage.inner()))
        said = [part.text for item in response.output for part in item.parts() if isinstance(part, Refusal)]
        return [*events, Ended(response.reason(), refusal="".join(said) or None), Closed()]


def _emptied(part: Part) -> Part:
    if isinstance(part, ToolCall):
        return ToolCall(part.id, part.name, "", part.custom)
    if isinstance(part, Thinking):
        return Thinking("", maker=RESPONSES, id=part.id)
    return Refusal("") if isinstance(part, Refusal) else Text("")


class Writer:
    """Writes events for a client.

    Args:
        asked: the request's members, some of which a response repeats.
        created: Unix time in seconds.
    """

    def __init__(self, asked: Mapping[str, msgspec.Raw], *, created: int) -> None:
        self._asked = asked
        self._created = created
        self._number = 0
        self._response: dict[str, Any] = {}
        self._blocks: dict[int, tuple[int, Part, str]] = {}
        self._names: dict[int, str] = {}
        self._items: dict[int, dict[str, Any]] = {}
        self._usage: Usage | None = None
        self._ended: Ended | None = None

    def write(self, happened: Event) -> list[bytes]:
        """Return the events, ready to be sent, that tell what happened."""
        if isinstance(happened, Began):
            self._usage = happened.usage
            self._response = frame(self._asked, id=happened.id, model=happened.model, created=self._created)
            return [self._event(f"response.{word}", response=self._response) for word in ("created", "in_progress")]
        if isinstance(happened, BlockBegan):
            return self._begin(happened)
        if isinstance(happened, BlockGrew):
            return self._grow(happened)
        if isinstance(happened, BlockEnded):
            return self._end(happened)
        if isinstance(happened, Ended):
            self._ended = happened
        elif isinstance(happened, Counted):
            self._usage = happened.usage
        elif isinstance(happened, Closed):
            return self._close()
        return []

    def failure(self, message: str, code: str) -> bytes:
        """Return the event that ends a stream which failed."""
        return self._event("error", code=code, message=message, param=None)

    def _begin(self, began: BlockBegan) -> list[bytes]:
        place, part = len(self._blocks), began.part
        name = f"{self._response['id']}_{place}"
        self._blocks[began.index] = (place, part, name)
        item = write_item(part, name, "in_progress")
        self._names[began.index] = item["id"]
        sent = [self._event("response.output_item.added", output_index=place, item=item)]
        if isinstance(part, Text | Refusal):
            sent.append(self._content("response.content_part.added", began.index, part=write_content(_emptied(part))))
        elif isinstance(part, Thinking) and part.redacted is None:
            empty = {"type": "summary_text", "text": ""}
            sent.append(self._summary("response.reasoning_summary_part.added", began.index, part=empty))
        text = part.arguments if isinstance(part, ToolCall) else part.text if isinstance(part, Text | Thinking) else ""
        if text:
            _set(part, "")
            sent += self._grow(BlockGrew(began.index, text))
        return sent

    def _grow(self, grew: BlockGrew) -> list[bytes]:
        _, part, _ = self._blocks[grew.index]
        _set(part, _get(part) + grew.text)
        if isinstance(part, ToolCall):
            kind = "custom_tool_call_input" if part.custom else "function_call_arguments"
            return [self._item(f"response.{kind}.delta", grew.index, delta=grew.text)]
        if isinstance(part, Thinking):
            return [self._summary("response.reasoning_summary_text.delta", grew.index, delta=grew.text)]
        if isinstance(part, Refusal):
            return [self._content("response.refusal.delta", grew.index, delta=grew.text)]
        return [self._content("response.output_text.delta", grew.index, delta=grew.text, logprobs=[])]

    def _end(self, ended: BlockEnded) -> list[bytes]:
        place, part, name = self._blocks[ended.index]
        sent: list[bytes] = []
        if isinstance(part, ToolCall):
            text = part.arguments = part.arguments or ("" if part.custom else "{}")
            kind, word = (
                ("custom_tool_call_input", "input") if part.custom else ("function_call_arguments", "arguments")
            )
            sent.append(self._item(f"response.{kind}.done", ended.index, **{word: text, "name": part.name}))
        elif isinstance(part, Thinking):
            part.signature = ended.signature or part.signature
            if part.redacted is None:
                whole = {"type": "summary_text", "text": part.text}
                sent.append(self._summary("response.reasoning_summary_text.done", ended.index, text=part.text))
                sent.append(self._summary("response.reasoning_summary_part.done", ended.index, part=whole))
        elif isinstance(part, Refusal):
            sent.append(self._content("response.refusal.done", ended.index, refusal=part.text))
        else:
            sent.append(self._content("response.output_text.done", ended.index, text=_get(part), logprobs=[]))
        if isinstance(part, Text | Refusal):
            sent.append(self._content("response.content_part.done", ended.index, part=write_content(part)))
        item = self._items[place] = write_item(part, name)
        return [*sent, self._event("response.output_item.done", output_index=place, item=item)]

    def _close(self) -> list[bytes]:
        ended = self._ended or Ended("stop")
        output = [self._items[place] for place in sorted(self._items)]
        if ended.refusal and not any(isinstance(part, Refusal) for _, part, _ in self._blocks.values()):
            output.append(write_item(Refusal(ended.refusal), f"{self._response['id']}_refusal"))
        finish(self._response, output, ended.reason, self._usage)
        return [self._event(f"response.{self._response['status']}", response=self._response)]

    def _item(self, kind: str, block: int, **members: Any) -> bytes:
        return self._event(kind, item_id=self._names[block], output_index=self._blocks[block][0], **members)

    def _content(self, kind: str, block: int, **members: Any) -> bytes:
        return self._item(kind, block, content_index=0, **members)

    def _summary(self, kind: str, block: int, **members: Any) -> bytes:
        return self._item(kind, block, summary_index=0, **members)

    def _event(self, kind: str, **members: Any) -> bytes:
        number, self._number = self._number, self._number + 1
        return named_event(kind, _encoder.encode({"type": kind, "sequence_number": number, **members}))


def _get(part: Part) -> str:
    return part.arguments if isinstance(part, ToolCall) else getattr(part, "text", "")


def _set(part: Part, text: str) -> None:
    if isinstance(part, ToolCall):
        part.arguments = text
    elif isinstance(part, Text | Refusal | Thinking):
        part.text = text
