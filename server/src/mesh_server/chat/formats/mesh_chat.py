"""What Mesh chat adds to a chat completion: who answered, what it cost, what was done otherwise, what was thought."""

from typing import Any

import msgspec

from mesh_protocol.events import event
from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.common import Outcome, Usage
from mesh_server.chat.formats.openai_chat.answer import write_usage

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()


class _Thought(Quiet, msgspec.Struct):
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(Quiet, msgspec.Struct):
    message: _Thought | None = None


_choices = msgspec.json.Decoder(list[_Choice])


def answer(body: bytes, outcome: Outcome, request_id: str) -> bytes:
    """Return a chat completion with what Mesh adds to it.

    Raises:
        msgspec.DecodeError: if it is none.
    """
    members: dict[str, Any] = _members.decode(body)
    thinking = _thinking_of(members.get("choices"))
    return _encoder.encode(members | _added(outcome, request_id) | {"success": True, "thinking": thinking})


def last_event(outcome: Outcome, request_id: str) -> bytes:
    """Return the event before a stream's end: no choices, but what was spent and by whom."""
    last: dict[str, Any] = {"object": "chat.completion.chunk", "choices": [], "model": outcome.model}
    return event(_encoder.encode(last | _added(outcome, request_id)))


def usage_of(usage: Usage) -> dict[str, Any]:
    """Return tokens by kind: OpenAI's names, and the plain ones beside them."""
    return {
        **write_usage(usage),
        "input_tokens": usage.input,
        "output_tokens": usage.output,
        "cached_tokens": usage.cached,
        "cache_write_tokens": usage.cache_write,
        "thinking_tokens": usage.thinking,
    }


def _added(outcome: Outcome, request_id: str) -> dict[str, Any]:
    left = {} if outcome.budget_left_usd is None else {"budget_left_usd": outcome.budget_left_usd}
    return {
        **left,
        "usage": usage_of(outcome.usage) if outcome.usage is not None else None,
        "provider": outcome.provider,
        "cost_usd": outcome.cost_usd,
        "warnings": outcome.warnings,
        "request_id": request_id,
    }


def _thinking_of(choices: msgspec.Raw | None) -> str | None:
    if choices is None:
        return None
    for choice in _choices.decode(choices):
        if choice.message is not None:
            thought = choice.message.reasoning_content or choice.message.reasoning
            if thought:
                return thought
    return None
