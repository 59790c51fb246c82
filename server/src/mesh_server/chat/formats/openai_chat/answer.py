"""OpenAI's chat completion as an answer: read from a provider, written for a client."""

from typing import Any

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.common import (
    CHAT,
    Part,
    Reason,
    Refusal,
    Reply,
    Text,
    Thinking,
    ToolCall,
    Usage,
)
from mesh_server.chat.formats.shared import text_of

_FROM_REASON: dict[Reason, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tools": "tool_calls",
    "refusal": "content_filter",
    "pause": "stop",
}
_TO_REASON: dict[str, Reason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tools",
    "function_call": "tools",
    "content_filter": "refusal",
}


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class ChatUsage(msgspec.Struct):
    """OpenAI's count of tokens: `prompt_tokens` includes what was cached."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None

    def inner(self) -> Usage:
        """Return it in the inner form."""
        read, out = self.prompt_tokens_details, self.completion_tokens_details
        return Usage(
            input=self.prompt_tokens or 0,
            cached=(read.cached_tokens or 0) if read else 0,
            cache_write=(read.cache_write_tokens or 0) if read else 0,
            output=self.completion_tokens or 0,
            thinking=(out.reasoning_tokens or 0) if out else 0,
        )


class CalledFunction(Quiet, msgspec.Struct):
    """The function of a call, or a piece of it."""

    name: str | None = None
    arguments: str | None = None


class CalledCustom(Quiet, msgspec.Struct):
    """The custom tool of a call, or a piece of it."""

    name: str | None = None
    input: str | None = None


class Called(Quiet, msgspec.Struct):
    """A call of a tool, or a piece of it."""

    id: str | None = None
    function: CalledFunction | None = None
    custom: CalledCustom | None = None


class _Message(Quiet, msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[Called] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(Quiet, msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(Quiet, msgspec.Struct):
    choices: list[_Choice]
    id: str = ""
    model: str = ""
    usage: ChatUsage | None = None


_completion = msgspec.json.Decoder(_Completion)


def reason_of(finish: str | None, *, calls: bool) -> Reason:
    """Return why an answer ended; some servers say `stop` though they call tools."""
    found = _TO_REASON.get(finish or "stop", "stop")
    return "tools" if calls and found == "stop" else found


def finish_of(reason: Reason) -> str:
    """Return OpenAI's word for why an answer ended."""
    return _FROM_REASON[reason]


def read(body: bytes) -> Reply:
    """Return a provider's answer in the inner form.

    Raises:
        msgspec.DecodeError: if it is none.
    """
    found = _completion.decode(body)
    if not found.choices:
        raise msgspec.ValidationError("the answer has no choices")
    choice = found.choices[0]
    message = choice.message
    parts: list[Part] = []
    thought = message.reasoning_content or message.reasoning
    if thought:
        parts.append(Thinking(thought, maker=CHAT))
    if message.content:
        parts.append(Text(message.content))
    if message.refusal:
        parts.append(Refusal(message.refusal))
    parts += [_read_call(number, call) for number, call in enumerate(message.tool_calls or ())]
    reason = reason_of(choice.finish_reason, calls=bool(message.tool_calls))
    return Reply(
        id=found.id,
        model=found.model,
        parts=parts,
        reason="refusal" if message.refusal and reason == "stop" else reason,
        refusal=message.refusal,
        usage=found.usage.inner() if found.usage is not None else None,
    )


def _read_call(number: int, call: Called) -> ToolCall:
    name = f"call_{number}"  # some servers leave the id out
    if call.custom is not None:
        return ToolCall(call.id or name, call.custom.name or "", call.custom.input or "", custom=True)
    function = call.function or CalledFunction()
    return ToolCall(call.id or name, function.name or "", function.arguments or "")


# --- Writing ---------------------------------------------------------------------------------------------


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the count of tokens as OpenAI has it."""
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "completion_tokens_details": {"reasoning_tokens": usage.thinking},
    }


def write(reply: Reply, *, created: int) -> dict[str, Any]:
    """Return an answer as a chat completion.

    Thinking is no part of OpenAI's format: it is told in `reasoning_content`, and with its signature in
    `thinking_blocks`, which goes back unchanged in the next turn (docs/reference/translation.md).
    """
    text, refusal = text_of(reply.parts), refusal_of(reply)
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": refusal}
    calls = [write_call(part) for part in reply.parts if isinstance(part, ToolCall)]
    if calls:
        message["tool_calls"] = calls
    elif not refusal:
        message["content"] = text
    thoughts = [part for part in reply.parts if isinstance(part, Thinking)]
    if thoughts:
        message["reasoning_content"] = "".join(thought.text for thought in thoughts)
        blocks = [write_thinking(thought) for thought in thoughts if thought.signature or thought.redacted]
        if blocks:
            message["thinking_blocks"] = blocks
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_of(reply.reason)}
    found: dict[str, Any] = {
        "id": reply.id,
        "object": "chat.completion",
        "created": created,
        "model": reply.model,
        "choices": [choice],
    }
    if reply.usage is not None:
        found["usage"] = write_usage(reply.usage)
    return found


def refusal_of(reply: Reply) -> str | None:
    """Return what was said in place of an answer; None where nothing was refused."""
    said = "".join(part.text for part in reply.parts if isinstance(part, Refusal))
    return said or reply.refusal or None


def write_call(call: ToolCall) -> dict[str, Any]:
    """Return a call as OpenAI has it; a function without arguments gets an empty object."""
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}


def write_thinking(thought: Thinking) -> dict[str, Any]:
    """Return a thinking block as this surface carries it."""
    if thought.redacted is not None:
        return {"type": "redacted_thinking", "data": thought.redacted}
    return {"type": "thinking", "thinking": thought.text, "signature": thought.signature}
