"""From the inner form to a chat completion request, for a provider that speaks it."""

from collections.abc import Iterable
from typing import Any

from mesh_server.chat.formats.common import (
    CHAT,
    Abilities,
    Audio,
    Conversation,
    Document,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from mesh_server.chat.formats.shared import marks_cache, openai_only, text_of, unsupported

#: OpenAI takes this many at most.
MOST_STOPS = 4
#: A budget of thinking, told as an effort: up to so many tokens.
_EFFORTS = ((2048, "low"), (8192, "medium"))


def build(
    asked: Conversation, *, model: str, stream: bool, abilities: Abilities, target: str
) -> tuple[dict[str, Any], list[str]]:
    """Return the members of a request, and what was left out.

    Raises:
        UnsupportedFeature: for what this format has no place for.
    """
    warnings = list(asked.warnings)
    if marks_cache(asked) and not abilities.official:
        warnings.append(f"Marks for the prompt's cache were left out: {target} takes none.")
    body: dict[str, Any] = {"model": model, "messages": _messages(asked.messages, abilities, target, warnings)}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if asked.max_tokens is not None:
        body["max_completion_tokens" if abilities.official else "max_tokens"] = asked.max_tokens
    body |= _sampling(asked, abilities, target, warnings)
    body |= _tools(asked)
    body |= _output(asked)
    body |= openai_only(asked, target, warnings, taken=abilities.official)
    effort = effort_of(asked.thought, abilities, target, warnings)
    if effort is not None:
        body["reasoning_effort"] = effort
    if asked.verbosity and abilities.official:
        body["verbosity"] = asked.verbosity
    if asked.user:
        body["safety_identifier" if abilities.official else "user"] = asked.user
    return body, warnings


def effort_of(thought: Thought | None, abilities: Abilities, target: str, warnings: list[str]) -> str | None:
    """Return OpenAI's word for how much shall be thought; None to leave it to the model."""
    if thought is None:
        return None
    off = thought.mode in {"off", "between_tools"}
    if abilities.thinking == "none":
        if not off:
            warnings.append(f"Thinking was left out: the model of {target} can't be told to think.")
        return None
    if off:
        return _off(abilities, warnings)
    if thought.effort is None and thought.budget is not None:
        return next((effort for most, effort in _EFFORTS if thought.budget <= most), "high")
    return thought.effort


def _off(abilities: Abilities, warnings: list[str]) -> str | None:
    if not abilities.official or abilities.thinking != "effort":
        return None  # other servers know no word for it
    if abilities.thinking_off:
        return "none"
    warnings.append("This model always thinks: it was told to think little.")
    return "low"


def _sampling(asked: Conversation, abilities: Abilities, target: str, warnings: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    off = asked.thought is not None and asked.thought.mode == "off"
    for name in ("temperature", "top_p"):
        value = getattr(asked, name)
        if value is not None and (abilities.sampling or off):
            found[name] = value
        elif value is not None:
            warnings.append(f"`{name}` was left out: the model of {target} takes none.")
    if asked.top_k is not None:
        if abilities.official:
            warnings.append(f"`top_k` was left out: {target} has no such setting.")
        else:
            found["top_k"] = asked.top_k
    if asked.stop:
        if abilities.official and len(asked.stop) > MOST_STOPS:
            raise unsupported(f"More than {MOST_STOPS} stop sequences", target)
        found["stop"] = asked.stop
    return found


def _tools(asked: Conversation) -> dict[str, Any]:
    if not asked.tools:
        return {}
    found: dict[str, Any] = {"tools": [_tool(tool) for tool in asked.tools]}
    if asked.tool_choice is not None:
        custom = {tool.name for tool in asked.tools if tool.custom}
        if asked.tool_choice.mode != "tool":
            found["tool_choice"] = asked.tool_choice.mode
        else:
            kind = "custom" if asked.tool_choice.name in custom else "function"
            found["tool_choice"] = {"type": kind, kind: {"name": asked.tool_choice.name}}
    if asked.parallel_tools is not None:
        found["parallel_tool_calls"] = asked.parallel_tools
    return found


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.custom:
        return {"type": "custom", "custom": known(name=tool.name, description=tool.description, format=tool.grammar)}
    function = known(name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict)
    return {"type": "function", "function": function}


def _output(asked: Conversation) -> dict[str, Any]:
    if asked.output is None:
        return {}
    if asked.output.schema is None:
        return {"response_format": {"type": "json_object"}}
    schema = known(
        name=asked.output.name,
        schema=asked.output.schema,
        strict=asked.output.strict,
        description=asked.output.description,
    )
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def known(**members: Any) -> dict[str, Any]:
    """Return the members that have a value."""
    return {name: value for name, value in members.items() if value is not None}


# --- Messages --------------------------------------------------------------------------------------------


def _messages(
    messages: Iterable[Message], abilities: Abilities, target: str, warnings: list[str]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "assistant":
            found.append(_said(message.parts, abilities, target, warnings))
            continue
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        rest: list[Part] = [part for part in message.parts if not isinstance(part, ToolResult)]
        for result in results:
            found.append({"role": "tool", "tool_call_id": result.call_id, "content": result_text(result)})
            # A tool message holds text only; what a tool showed follows as the user's.
            shown = [part for part in result.parts if isinstance(part, Image | Document)]
            rest = [*shown, *rest]
        if rest or not results:
            found.append({"role": message.role, "content": _content(rest, abilities)})
    return found


def result_text(result: ToolResult) -> str:
    """Return the text of a tool's result; this format has no flag for a failed one, so the text says it."""
    text = text_of(result.parts)
    return f"Error: {text}" if result.is_error and not text.lower().startswith("error") else text


def _said(parts: list[Part], abilities: Abilities, target: str, warnings: list[str]) -> dict[str, Any]:
    text, thoughts = text_of(parts), [part for part in parts if isinstance(part, Thinking)]
    calls = [_call(part) for part in parts if isinstance(part, ToolCall)]
    refusals = [part.text for part in parts if isinstance(part, Refusal)]
    found: dict[str, Any] = {"role": "assistant", "content": text if text or not (calls or refusals) else None}
    if refusals:
        found["refusal"] = "".join(refusals)
    if calls:
        found["tool_calls"] = calls
    own = "".join(thought.text for thought in thoughts if thought.maker == CHAT)
    if own and not abilities.official:
        found["reasoning_content"] = own
    elif thoughts:
        leave_out_thinking(target, warnings)
    return found


def leave_out_thinking(target: str, warnings: list[str]) -> None:
    """Say, once, that earlier thinking does not go to a provider that did not make it."""
    warning = f"Earlier thinking was left out: {target} takes none of another maker's."
    if warning not in warnings:
        warnings.append(warning)


def _call(call: ToolCall) -> dict[str, Any]:
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}


def _content(parts: list[Part], abilities: Abilities) -> str | list[dict[str, Any]]:
    if not parts or (len(parts) == 1 and isinstance(parts[0], Text) and (parts[0].cache is None)):
        return text_of(parts)
    if not abilities.official and all(isinstance(part, Text) for part in parts):
        return "\n\n".join(part.text for part in parts if isinstance(part, Text))  # many servers read strings only
    return [_part(part, abilities) for part in parts]


def _part(part: Part, abilities: Abilities) -> dict[str, Any]:
    if isinstance(part, Text):
        found: dict[str, Any] = {"type": "text", "text": part.text}
    elif isinstance(part, Image):
        url = part.url or f"data:{part.media_type};base64,{part.data}"
        found = {"type": "image_url", "image_url": known(url=url, detail=part.detail)}
    elif isinstance(part, Document):
        found = _document(part)
    elif isinstance(part, Audio):
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
    else:
        raise unsupported(f"A {type(part).__name__.lower()} in a message of the user", "this provider")
    cache = getattr(part, "cache", None)
    if cache is not None and abilities.official:
        found["prompt_cache_breakpoint"] = breakpoint_of(cache)
    return found


def breakpoint_of(cache: str) -> dict[str, Any]:
    """Return OpenAI's mark for a lifetime: it knows 30 minutes and 12 hours."""
    ttl = {"5m": "30m", "30m": "30m", "1h": "30m", "12h": "12h"}.get(cache)
    return {"mode": "explicit", **({"ttl": ttl} if ttl else {})}


def _document(part: Document) -> dict[str, Any]:
    if part.text is not None:
        return {"type": "text", "text": f"{part.name}\n\n{part.text}" if part.name else part.text}
    if part.url is not None:
        raise unsupported("A document by its URL", "OpenAI's chat completions")
    file = {"filename": part.name or "document.pdf", "file_data": f"data:{part.media_type};base64,{part.data}"}
    return {"type": "file", "file": file}
