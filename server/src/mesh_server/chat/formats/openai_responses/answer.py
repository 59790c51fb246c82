"""OpenAI's response as an answer: read from a provider, written for a client."""

from collections.abc import Mapping
from typing import Any

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.common import (
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
from mesh_server.chat.formats.openai_responses.build import seal


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_tokens_details: dict[str, int] | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class ResponseUsage(msgspec.Struct):
    """The count of tokens: `input_tokens` includes what was cached, unlike Anthropic's of the same name."""

    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None

    def inner(self) -> Usage:
        """Return it in the inner form."""
        read, out = self.input_tokens_details, self.output_tokens_details
        lifetimes = (read.cache_write_tokens_details or {}) if read else {}
        return Usage(
            input=self.input_tokens,
            cached=(read.cached_tokens or 0) if read else 0,
            cache_write=(read.cache_write_tokens or 0) if read else 0,
            cache_write_long=lifetimes.get("ttl_12h_tokens", 0),
            output=self.output_tokens,
            thinking=(out.reasoning_tokens or 0) if out else 0,
        )


class _Content(Quiet, msgspec.Struct):
    type: str = ""
    text: str = ""
    refusal: str = ""


class Item(Quiet, msgspec.Struct):
    """An item of the output, as far as Mesh reads it."""

    type: str
    id: str | None = None
    content: list[_Content] | None = None
    summary: list[_Content] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None

    def parts(self) -> list[Part]:
        """Return it in the inner form; what other formats have no place for, none."""
        if self.type == "message":
            said = [Refusal(c.refusal) if c.type == "refusal" else Text(c.text) for c in self.content or ()]
            return list(said)
        if self.type == "reasoning":
            texts = [entry.text for entry in self.summary or self.content or ()]
            return [Thinking("\n\n".join(texts), self.encrypted_content, maker=RESPONSES, id=self.id)]
        if self.type == "function_call":
            return [ToolCall(self.call_id or "", self.name or "", self.arguments or "")]
        if self.type == "custom_tool_call":
            return [ToolCall(self.call_id or "", self.name or "", self.input or "", custom=True)]
        return []


class _Incomplete(Quiet, msgspec.Struct):
    reason: str | None = None


class Response(Quiet, msgspec.Struct):
    """A response, as far as Mesh reads it."""

    id: str
    status: str = "completed"
    model: str = ""
    output: list[Item] = []
    usage: ResponseUsage | None = None
    incomplete_details: _Incomplete | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")
    service_tier: str | None = None

    def reason(self) -> Reason:
        """Return why the answer ended."""
        if self.status == "incomplete":
            why = self.incomplete_details.reason if self.incomplete_details else None
            return "refusal" if why == "content_filter" else "length"
        parts = [part for item in self.output for part in item.parts()]
        if any(isinstance(part, ToolCall) for part in parts):
            return "tools"
        return "refusal" if any(isinstance(part, Refusal) for part in parts) else "stop"


_response = msgspec.json.Decoder(Response)


def read(body: bytes) -> Reply:
    """Return a provider's answer in the inner form.

    Raises:
        msgspec.DecodeError: if it is none, or not complete.
    """
    found = _response.decode(body)
    if found.status not in {"completed", "incomplete"}:
        raise msgspec.ValidationError(f"the response is {found.status}")
    parts = [part for item in found.output for part in item.parts()]
    refusal = "".join(part.text for part in parts if isinstance(part, Refusal))
    return Reply(
        id=found.id,
        model=found.model,
        parts=parts,
        reason=found.reason(),
        refusal=refusal or None,
        usage=found.usage.inner() if found.usage is not None else None,
    )


# --- Writing ---------------------------------------------------------------------------------------------

#: Settings of the request that a response repeats.
_REPEATED = ("instructions", "max_output_tokens", "metadata", "reasoning", "temperature", "text", "top_p", "user")


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return the count of tokens as this API has it."""
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.thinking},
        "total_tokens": usage.input + usage.output,
    }


def frame(asked: Mapping[str, msgspec.Raw], *, id: str, model: str, created: int) -> dict[str, Any]:  # noqa: A002 - the format's word
    """Return a response that has just begun."""
    return {
        "id": id if id.startswith("resp_") else f"resp_{id}",
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": asked.get("parallel_tool_calls", True),
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": asked.get("tools", []),
        "previous_response_id": None,
        "store": False,
        "usage": None,
        **{name: asked[name] for name in _REPEATED if name in asked},
    }


def finish(response: dict[str, Any], output: list[dict[str, Any]], reason: Reason, usage: Usage | None) -> None:
    """Complete a response in place."""
    why = {"length": "max_output_tokens", "refusal": "content_filter", "pause": None}.get(reason, "")
    response["status"] = "completed" if why == "" else "incomplete"
    response["incomplete_details"] = {"reason": why} if why else None
    response["output"] = output
    response["usage"] = write_usage(usage) if usage is not None else None


def write(reply: Reply, asked: Mapping[str, msgspec.Raw], *, created: int) -> dict[str, Any]:
    """Return an answer as a response.

    Args:
        reply: the answer.
        asked: the request's members, some of which a response repeats.
        created: Unix time in seconds.
    """
    response = frame(asked, id=reply.id, model=reply.model, created=created)
    output = [write_item(part, f"{reply.id}_{number}") for number, part in enumerate(reply.parts)]
    if reply.refusal and not any(isinstance(part, Refusal) for part in reply.parts):
        output.append(write_item(Refusal(reply.refusal), f"{reply.id}_refusal"))
    finish(response, output, reply.reason, reply.usage)
    return response


def write_item(part: Part, name: str, status: str = "completed") -> dict[str, Any]:
    """Return a part of the answer as an item of the output."""
    if isinstance(part, ToolCall):
        kind, words = ("custom_tool_call", "input") if part.custom else ("function_call", "arguments")
        text = part.arguments or ("" if part.custom or status != "completed" else "{}")
        found = {"id": f"fc_{name}", "type": kind, "call_id": part.id, "name": part.name, words: text}
        return found if part.custom else {**found, "status": status}
    if isinstance(part, Thinking):
        summary = [{"type": "summary_text", "text": part.text}] if part.text else []
        item = {"id": part.id or f"rs_{name}", "type": "reasoning", "summary": summary}
        sealed = seal(part)
        return {**item, "encrypted_content": sealed} if sealed else item
    content = write_content(part)
    return {
        "id": f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [content] if status == "completed" else [],
    }


def write_content(part: Part) -> dict[str, Any]:
    """Return the content of a message's item."""
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text if isinstance(part, Text) else "", "annotations": []}
