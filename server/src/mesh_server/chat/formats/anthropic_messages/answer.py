"""Anthropic's message as an answer: read from a provider, written for a client."""

import json
from typing import Any

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.common import (
    MESSAGES,
    RESPONSES,
    Part,
    Reason,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
    Usage,
)

_TO_REASON: dict[str, Reason] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "refusal": "refusal",
    "pause_turn": "pause",
}
_FROM_REASON: dict[Reason, str] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tools": "tool_use",
    "refusal": "refusal",
    "pause": "pause_turn",
}


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int = 0


class MessageUsage(msgspec.Struct):
    """Anthropic's count of tokens: `input_tokens` excludes what was cached. None: nothing new about it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _OutputDetails | None = None
    speed: str | None = None

    @property
    def tier(self) -> str | None:
        """The tier of service that has a price of its own."""
        return "fast" if self.speed == "fast" else None

    def after(self, before: "MessageUsage | None") -> "MessageUsage":
        """Return this count, completed by an earlier one for what it leaves out."""
        if before is None:
            return self
        names = self.__struct_fields__
        newest = {name: getattr(self, name) for name in names}
        return MessageUsage(**{n: getattr(before, n) if value is None else value for n, value in newest.items()})

    def inner(self) -> Usage:
        """Return it in the inner form."""
        cached, written = self.cache_read_input_tokens or 0, self.cache_creation_input_tokens or 0
        return Usage(
            input=(self.input_tokens or 0) + cached + written,
            cached=cached,
            cache_write=written,
            cache_write_long=self.cache_creation.ephemeral_1h_input_tokens if self.cache_creation else 0,
            output=self.output_tokens or 0,
            thinking=self.output_tokens_details.thinking_tokens if self.output_tokens_details else 0,
        )


class Block(Quiet, msgspec.Struct):
    """A block of the content, as far as Mesh reads it."""

    type: str
    text: str = ""
    id: str = ""
    name: str = ""
    input: Any = None
    thinking: str = ""
    signature: str | None = None
    data: str | None = None

    def part(self) -> Part | None:
        """Return it in the inner form; None for what no other format has a place for."""
        if self.type == "text":
            return Text(self.text)
        if self.type == "thinking":
            return Thinking(self.thinking, self.signature or None, maker=MESSAGES)
        if self.type == "redacted_thinking":
            return Thinking(redacted=self.data, maker=MESSAGES)
        if self.type == "tool_use":
            return ToolCall(self.id, self.name, json.dumps(self.input, ensure_ascii=False) if self.input else "")
        return None


class StopDetails(msgspec.Struct):
    """Why an answer was refused."""

    explanation: str | None = None


class _Answer(Quiet, msgspec.Struct):
    content: list[Block]
    id: str = ""
    model: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    usage: MessageUsage | None = None


_answer = msgspec.json.Decoder(_Answer)


def reason_of(stop: str | None) -> Reason:
    """Return why an answer ended."""
    return _TO_REASON.get(stop or "end_turn", "stop")


def read(body: bytes) -> Reply:
    """Return a provider's answer in the inner form.

    Raises:
        msgspec.DecodeError: if it is none.
    """
    found = _answer.decode(body)
    parts = [part for block in found.content if (part := block.part()) is not None]
    return Reply(
        id=found.id,
        model=found.model,
        parts=parts,
        reason=reason_of(found.stop_reason),
        stop_sequence=found.stop_sequence,
        refusal=found.stop_details.explanation if found.stop_details is not None else None,
        usage=found.usage.inner() if found.usage is not None else None,
    )


# --- Writing ---------------------------------------------------------------------------------------------


def write_usage(usage: Usage | None) -> dict[str, Any]:
    """Return the count of tokens as Anthropic has it."""
    found = usage or Usage()
    return {
        "input_tokens": max(found.input - found.cached - found.cache_write, 0),
        "cache_read_input_tokens": found.cached,
        "cache_creation_input_tokens": found.cache_write,
        "cache_creation": {
            "ephemeral_5m_input_tokens": found.cache_write - found.cache_write_long,
            "ephemeral_1h_input_tokens": found.cache_write_long,
        },
        "output_tokens": found.output,
        "output_tokens_details": {"thinking_tokens": found.thinking},
    }


def frame(*, id: str, model: str, usage: Usage | None) -> dict[str, Any]:  # noqa: A002 - the format's word
    """Return a message that has just begun."""
    return {
        "id": id if id.startswith("msg_") else f"msg_{id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "usage": write_usage(usage),
    }


def end_of(reason: Reason, sequence: str | None, refusal: str | None) -> dict[str, Any]:
    """Return why an answer ended, as a message and the last event of a stream say it."""
    refused = {"type": "refusal", "category": None, "explanation": refusal}
    return {
        "stop_reason": _FROM_REASON[reason],
        "stop_sequence": sequence,
        "stop_details": refused if reason == "refusal" else None,
    }


def write(reply: Reply) -> dict[str, Any]:
    """Return an answer as a message.

    Raises:
        ValueError: if a tool was called with arguments that are no JSON object.
    """
    refusal = "".join(part.text for part in reply.parts if isinstance(part, Refusal)) or reply.refusal
    message = frame(id=reply.id, model=reply.model, usage=reply.usage)
    content = [write_block(part) for part in reply.parts if not isinstance(part, Refusal)]
    return {**message, "content": content, **end_of(reply.reason, reply.stop_sequence, refusal)}


def write_block(part: Part) -> dict[str, Any]:
    """Return a part of an answer as a block."""
    if isinstance(part, ToolCall):
        arguments = json.loads(part.arguments) if part.arguments.strip() else {}
        if not isinstance(arguments, dict):
            raise ValueError("arguments that are no JSON object")  # noqa: TRY004 - as JSON that does not decode
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": arguments}
    if isinstance(part, Thinking) and part.redacted is not None:
        return {"type": "redacted_thinking", "data": part.redacted}
    if isinstance(part, Thinking):
        return {"type": "thinking", "thinking": part.text, "signature": signature_of(part)}
    return {"type": "text", "text": part.text if isinstance(part, Text) else "", "citations": None}


def signature_of(part: Thinking) -> str:
    """Return what an Anthropic client carries as the signature: another maker's seal goes behind its name."""
    if part.maker == RESPONSES and part.signature and part.id:
        return f"{RESPONSES}:{part.id}:{part.signature}"
    return part.signature or ""
