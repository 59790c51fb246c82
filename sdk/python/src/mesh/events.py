"""What happens in a streamed answer, one class each: `stream.events()` yields them."""

from typing import Any, Literal

from mesh.results import ChatResult, Member, Usage, reasoning


class Event(Member):
    """One thing that happened; `type` says what."""

    type: str


class TextEvent(Event):
    """A piece of the answer's text."""

    type: Literal["text"]
    text: str


class ThinkingEvent(Event):
    """A piece of the model's reasoning."""

    type: Literal["thinking"]
    text: str


class ToolCallEvent(Event):
    """A piece of a tool call.

    Attributes:
        index: which call of this round; from 0.
        id: of the call, with its first piece.
        name: of the tool, with its first piece.
        arguments: a piece of the JSON.
    """

    type: Literal["tool_call"]
    index: int
    id: str | None
    name: str | None
    arguments: str


class ToolResultEvent(Event):
    """A tool that was run, with what the model is told."""

    type: Literal["tool_result"]
    result: Any


class UsageEvent(Event):
    """What the whole call spent."""

    type: Literal["usage"]
    usage: Usage


class EndEvent(Event):
    """The end, with the full result."""

    type: Literal["end"]
    response: ChatResult


def events_of(piece: dict[str, Any]) -> list[Event]:
    """Return what a piece of a stream tells."""
    ran = piece.get("tool_result")
    if ran is not None:
        return [ToolResultEvent(type="tool_result", result=ran)]
    choices = piece.get("raw", piece).get("choices") or [{}]
    delta = choices[0].get("delta") or {}
    found: list[Event] = []
    thought = reasoning(delta)
    if thought:
        found.append(ThinkingEvent(type="thinking", text=thought))
    if delta.get("content"):
        found.append(TextEvent(type="text", text=delta["content"]))
    for call in delta.get("tool_calls") or []:
        function = call.get("function") or {}
        found.append(
            ToolCallEvent(
                type="tool_call",
                index=int(call.get("index") or 0),
                id=call.get("id"),
                name=function.get("name"),
                arguments=function.get("arguments") or "",
            )
        )
    return found


def last_events(response: ChatResult) -> list[Event]:
    """Return what comes after the last piece."""
    return [UsageEvent(type="usage", usage=response.usage), EndEvent(type="end", response=response)]
