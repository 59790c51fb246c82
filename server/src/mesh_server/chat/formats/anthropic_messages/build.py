"""From the inner form to Anthropic's messages request, for a provider that speaks it."""

import json
import re
from typing import Any

from mesh_server.chat.formats.anthropic_messages.thinking import thinking
from mesh_server.chat.formats.common import (
    MESSAGES,
    Abilities,
    Conversation,
    Document,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from mesh_server.chat.formats.openai_chat.build import known, leave_out_thinking
from mesh_server.chat.formats.shared import fail, openai_only, unsupported

#: Most tokens of an answer where neither the caller nor the catalog says: what every model can.
_DEFAULT_OUTPUT = 8192
#: Most that is asked for by default where the answer comes whole: a longer one takes longer than connections last.
_WHOLE_OUTPUT = 32_000
_NO_ID = re.compile(r"[^a-zA-Z0-9_-]")
_JSON_ONLY = "Answer with one JSON object and nothing else: no explanation, no code fence."


def build(
    asked: Conversation, *, model: str, stream: bool, abilities: Abilities, target: str
) -> tuple[dict[str, Any], list[str]]:
    """Return the members of a request, and what was left out or done otherwise.

    Raises:
        InvalidRequest: for arguments of a tool's call that are no JSON object.
        UnsupportedFeature: for what this format has no place for.
    """
    warnings = list(asked.warnings)
    system, messages = _messages(asked.messages, target, warnings)
    body: dict[str, Any] = {"model": model, "messages": messages}
    config: dict[str, Any] = {}
    if asked.output is not None and asked.output.schema is None:
        system.append({"type": "text", "text": _JSON_ONLY})
        warnings.append("`json_object` became a request in words: only a `json_schema` is held by this provider.")
    elif asked.output is not None:
        config["format"] = {"type": "json_schema", "schema": asked.output.schema}
    if system:
        body["system"] = system[0]["text"] if len(system) == 1 and len(system[0]) == 2 else system
    if stream:
        body["stream"] = True
    body["max_tokens"] = _max_tokens(asked, abilities, warnings, stream=stream)
    body |= _tools(asked, target)
    thinking(asked, body, config, abilities, warnings)
    if config:
        body["output_config"] = config
    openai_only(asked, target, warnings, taken=False)
    body |= _sampling(asked, body, abilities, target, warnings)
    if asked.user:
        body["metadata"] = {"user_id": asked.user}
    if asked.cache is not None:
        body["cache_control"] = cache_control(asked.cache)
    if asked.verbosity:
        warnings.append(f"`verbosity` was left out: {target} has no such setting.")
    return body, warnings


def _max_tokens(asked: Conversation, abilities: Abilities, warnings: list[str], *, stream: bool) -> int:
    most = abilities.max_output
    if asked.max_tokens is None:
        return (most if stream else min(most, _WHOLE_OUTPUT)) if most else _DEFAULT_OUTPUT
    if most is not None and asked.max_tokens > most:
        warnings.append(f"The limit of {asked.max_tokens} tokens became {most}, the most that this model writes.")
        return most
    return asked.max_tokens


def _sampling(
    asked: Conversation, body: dict[str, Any], abilities: Abilities, target: str, warnings: list[str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    values = {name: getattr(asked, name) for name in ("temperature", "top_p", "top_k")}
    given = {name: value for name, value in values.items() if value is not None}
    thinks = body.get("thinking", {}).get("type") in {"enabled", "adaptive"}
    for name, value in given.items():
        if not abilities.sampling:
            warnings.append(f"`{name}` was left out: the model of {target} takes none.")
        elif thinks:
            warnings.append(f"`{name}` was left out: it can't be set while {target} thinks.")
        elif name == "top_p" and "temperature" in found:
            warnings.append(f"`top_p` was left out: {target} takes it or `temperature`, not both.")
        elif name == "temperature" and value > 1:
            found[name] = 1.0
            warnings.append(f"`temperature` {value} became 1, the highest that {target} takes.")
        else:
            found[name] = value
    if asked.stop:
        found["stop_sequences"] = asked.stop
    return found


def _tools(asked: Conversation, target: str) -> dict[str, Any]:
    if not asked.tools:
        return {}
    found: dict[str, Any] = {"tools": [_tool(tool, target) for tool in asked.tools]}
    modes = {"auto": "auto", "required": "any", "none": "none", "tool": "tool"}
    choice: dict[str, Any] = {}
    if asked.tool_choice is not None:
        choice = known(type=modes[asked.tool_choice.mode], name=asked.tool_choice.name)
    if asked.parallel_tools is False and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    if choice:
        found["tool_choice"] = choice
    return found


def _tool(tool: Tool, target: str) -> dict[str, Any]:
    if tool.custom:
        raise unsupported(f"The custom tool {tool.name!r}", target)
    schema = tool.parameters or {"type": "object", "properties": {}}
    found = {**known(name=tool.name, description=tool.description), "input_schema": schema}
    if tool.strict:
        found["strict"] = True
    return _marked(found, tool.cache)


def cache_control(cache: str) -> dict[str, Any]:
    """Return Anthropic's mark for a lifetime: it knows 5 minutes and an hour."""
    ttl = {"5m": "5m", "30m": "1h", "1h": "1h", "12h": "1h"}.get(cache)
    return {"type": "ephemeral", **({"ttl": ttl} if ttl else {})}


def _marked(block: dict[str, Any], cache: str | None) -> dict[str, Any]:
    return block if cache is None else {**block, "cache_control": cache_control(cache)}


# --- Messages --------------------------------------------------------------------------------------------


def _messages(
    messages: list[Message], target: str, warnings: list[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the system's blocks and the turns: one role after the other, results of tools first in theirs."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for number, message in enumerate(messages):
        blocks = [b for part in message.parts for b in _blocks(part, number, target, warnings)]
        if message.role == "system" and not turns:
            system += blocks
            continue
        role = message.role
        if role == "system":
            role = "user"
            warnings.append(f"`messages[{number}]` of the system, after the beginning, became a part of the user's.")
        if not blocks:
            continue
        if not turns or turns[-1]["role"] != role:
            turns.append({"role": role, "content": []})
        turns[-1]["content"] += blocks
    for turn in turns:
        if turn["role"] == "user":
            turn["content"].sort(key=lambda block: block["type"] != "tool_result")  # stable: results first
    return system, turns


def _blocks(part: Part, number: int, target: str, warnings: list[str]) -> list[dict[str, Any]]:  # noqa: PLR0911
    """Return a part as blocks: none for what is empty or left out."""
    if isinstance(part, Text):
        # a block of nothing but space is refused
        return [_marked({"type": "text", "text": part.text}, part.cache)] if part.text.strip() else []
    if isinstance(part, Refusal):
        return [{"type": "text", "text": part.text}] if part.text.strip() else []
    if isinstance(part, Image):
        source = (
            {"type": "url", "url": part.url}
            if part.url is not None
            else {"type": "base64", "media_type": part.media_type, "data": part.data}
        )
        if part.detail not in {None, "auto"}:
            warnings.append(f"The `detail` of an image was left out: {target} has no such setting.")
        return [_marked({"type": "image", "source": source}, part.cache)]
    if isinstance(part, Document):
        return [_marked(_document(part), part.cache)]
    if isinstance(part, Thinking):
        return _thinking(part, target, warnings)
    if isinstance(part, ToolCall):
        return [{"type": "tool_use", "id": _id(part.id), "name": part.name, "input": _input(part, number)}]
    if isinstance(part, ToolResult):
        content = [block for inner in part.parts for block in _blocks(inner, number, target, warnings)]
        found = {"type": "tool_result", "tool_use_id": _id(part.call_id), "content": content}
        return [_marked({**found, "is_error": True} if part.is_error else found, part.cache)]
    raise unsupported("Recorded speech", target)


def _id(name: str) -> str:
    """Return a call's id as this API takes it: other makers' may hold dots and colons."""
    return _NO_ID.sub("_", name)


def _thinking(part: Thinking, target: str, warnings: list[str]) -> list[dict[str, Any]]:
    if part.maker == MESSAGES and part.redacted is not None:
        return [{"type": "redacted_thinking", "data": part.redacted}]
    if part.maker == MESSAGES and part.signature is not None:
        return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]
    leave_out_thinking(target, warnings)
    return []


def _document(part: Document) -> dict[str, Any]:
    if part.url is not None:
        source = {"type": "url", "url": part.url}
    elif part.text is not None:
        source = {"type": "text", "media_type": "text/plain", "data": part.text}
    elif part.media_type != "application/pdf":
        raise unsupported(f"A file of the type {part.media_type}", "Anthropic")
    else:
        source = {"type": "base64", "media_type": "application/pdf", "data": part.data or ""}
    return known(type="document", source=source, title=part.name)


def _input(call: ToolCall, number: int) -> dict[str, Any]:
    """Return a call's arguments as the object they are; what is none is not guessed at."""
    if not call.arguments.strip():
        return {}
    try:
        found = json.loads(call.arguments)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise fail(f"messages[{number}]", f"calls {call.name!r} with arguments that are no JSON object")
    return found
