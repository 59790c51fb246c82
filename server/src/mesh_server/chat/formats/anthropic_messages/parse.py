"""From Anthropic's messages request to the inner form."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.common import (
    CHAT,
    MESSAGES,
    RESPONSES,
    Conversation,
    Document,
    Image,
    Message,
    OutputFormat,
    Part,
    Role,
    Text,
    Thinking,
    ThinkingMode,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from mesh_server.chat.formats.shared import fail, open_request, unsupported

REFUSED = {
    "container": "A container kept by the provider (`container`)",
    "mcp_servers": "Anthropic's MCP connector (`mcp_servers`)",
}
DROPPED = ("context_management", "diagnostics", "inference_geo", "service_tier", "speed")
CONSUMED = frozenset({"model", "stream"})
#: OpenAI's sealed reasoning, carried as a signature: `openai_responses:<id>:<sealed>`.
_SEALED = f"{RESPONSES}:"


class _Cache(Quiet, msgspec.Struct):
    ttl: str = ""


class _Source(Quiet, msgspec.Struct):
    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    content: Any = None


class _Block(Quiet, msgspec.Struct):
    type: str
    text: str | None = None
    source: _Source | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: "str | list[_Block] | None" = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    title: str | None = None
    cache_control: _Cache | None = None

    @property
    def cache(self) -> str | None:
        """The lifetime that the block is marked with."""
        return self.cache_control.ttl if self.cache_control is not None else None


class _Message(Quiet, msgspec.Struct):
    role: str
    content: str | list[_Block]


class _Tool(Quiet, msgspec.Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: _Cache | None = None


class _Choice(Quiet, msgspec.Struct):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Thinking(Quiet, msgspec.Struct):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class _Format(Quiet, msgspec.Struct):
    type: str
    schema: dict[str, Any] | None = None


class _OutputConfig(Quiet, msgspec.Struct):
    effort: str | None = None
    format: _Format | None = None


class _Metadata(Quiet, msgspec.Struct):
    user_id: str | None = None


class _Request(Quiet, msgspec.Struct):
    messages: list[_Message]
    max_tokens: int | None = None
    system: str | list[_Block] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None
    metadata: _Metadata | None = None
    cache_control: _Cache | None = None


_request = msgspec.json.Decoder(_Request)
_CHOICES: dict[str, ToolMode] = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_THINKING: dict[str, ThinkingMode] = {
    "enabled": "on",
    "adaptive": "adaptive",
    "between_tools": "between_tools",
    "disabled": "off",
}


def parse(fields: Mapping[str, msgspec.Raw], *, target: str) -> Conversation:
    """Return a request in the inner form.

    Args:
        fields: the body's members, none of them null.
        target: who is to answer, for messages.

    Raises:
        InvalidRequest: naming the member that does not fit.
        UnsupportedFeature: for what the target's format has no place for.
    """
    asked, warnings = open_request(fields, _request, refused=REFUSED, dropped=DROPPED, answered=CONSUMED, target=target)
    if asked.messages and asked.messages[-1].role == "assistant":
        warnings.append("The last message is the assistant's: the answer follows it and does not continue it.")
    choice = asked.tool_choice
    config = asked.output_config or _OutputConfig()
    cache = asked.cache_control.ttl if asked.cache_control is not None else None
    system = [Message("system", _content(asked.system, "system", target))] if asked.system else []
    return Conversation(
        messages=[*system, *_messages(asked.messages, target)],
        tools=[_tool(tool, target) for tool in asked.tools or ()],
        tool_choice=_choice(choice) if choice is not None else None,
        parallel_tools=False if choice is not None and choice.disable_parallel_tool_use else None,
        output=OutputFormat(config.format.schema or {}) if config.format is not None else None,
        max_tokens=asked.max_tokens,
        stop=asked.stop_sequences or [],
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        thought=_thought(asked.thinking, config.effort),
        user=asked.metadata.user_id if asked.metadata is not None else None,
        cache=cache,
        warnings=warnings,
    )


def _thought(thinking: _Thinking | None, effort: str | None) -> Thought | None:
    if thinking is None:
        return Thought(effort=effort) if effort is not None else None
    mode = _THINKING.get(thinking.type)
    if mode is None:
        raise fail("thinking.type", f"must be one of {', '.join(_THINKING)}")
    shown = {"summarized": True, "omitted": False}.get(thinking.display or "", True if mode == "on" else None)
    budget = thinking.budget_tokens if mode == "on" else None
    return Thought(mode=mode, budget=budget, effort=effort, shown=shown)


def _choice(choice: _Choice) -> ToolChoice:
    mode = _CHOICES.get(choice.type)
    if mode is None or (mode == "tool" and not choice.name):
        raise fail("tool_choice", "must be auto, any, none, or a tool with its name")
    return ToolChoice(mode, choice.name)


def _tool(tool: _Tool, target: str) -> Tool:
    if tool.type not in {None, "custom"}:
        raise unsupported(f"Anthropic's own tool {tool.type!r}", target)
    cache = tool.cache_control.ttl if tool.cache_control is not None else None
    return Tool(tool.name, tool.description, tool.input_schema, tool.strict, cache=cache)


def _messages(messages: list[_Message], target: str) -> list[Message]:
    found = []
    for number, message in enumerate(messages):
        role = _ROLES.get(message.role)
        if role is None:
            raise fail(f"messages[{number}].role", "must be user, assistant or system")
        parts = _content(message.content, f"messages[{number}].content", target)
        found.append(Message(role, parts))
    return found


def _content(content: str | list[_Block] | None, place: str, target: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    return [_part(block, f"{place}[{number}]", target) for number, block in enumerate(content)]


def _part(block: _Block, place: str, target: str) -> Part:  # noqa: PLR0911 - one return for each kind
    if block.type == "text" and block.text is not None:
        return Text(block.text, block.cache)
    if block.type == "image" and block.source is not None:
        return _image(block, block.source, place, target)
    if block.type == "document" and block.source is not None:
        return _document(block, block.source, place, target)
    if block.type == "tool_use" and block.id and block.name:
        return ToolCall(block.id, block.name, json.dumps(block.input or {}, ensure_ascii=False))
    if block.type == "tool_result" and block.tool_use_id:
        parts = _content(block.content, f"{place}.content", target)
        return ToolResult(block.tool_use_id, parts, is_error=bool(block.is_error), cache=block.cache)
    if block.type == "thinking" and block.thinking is not None:
        return _thinking(block.thinking, block.signature or "")
    if block.type == "redacted_thinking" and block.data is not None:
        return Thinking(redacted=block.data, maker=MESSAGES)
    known = {"text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking"}
    if block.type in known:
        raise fail(place, f"is of the type {block.type!r} without its content")
    raise unsupported(f"A block of the type {block.type!r} (`{place}`)", target)


def _thinking(text: str, signature: str) -> Thinking:
    if signature.startswith(_SEALED):
        name, _, sealed = signature.removeprefix(_SEALED).partition(":")
        return Thinking(text, sealed or None, maker=RESPONSES, id=name)
    return Thinking(text, signature or None, maker=MESSAGES if signature else CHAT)


def _image(block: _Block, source: _Source, place: str, target: str) -> Image:
    if source.type == "url" and source.url:
        return Image(url=source.url, cache=block.cache)
    if source.type == "base64" and source.data and source.media_type:
        return Image(media_type=source.media_type, data=source.data, cache=block.cache)
    raise _no_source(source, place, target)


def _document(block: _Block, source: _Source, place: str, target: str) -> Document:
    name, cache = block.title, block.cache
    if source.type == "url" and source.url:
        return Document(url=source.url, name=name, cache=cache)
    if source.type == "base64" and source.data:
        return Document(media_type=source.media_type or "application/pdf", data=source.data, name=name, cache=cache)
    if source.type == "text" and source.data is not None:
        return Document(text=source.data, name=name, cache=cache)
    raise _no_source(source, place, target)


def _no_source(source: _Source, place: str, target: str) -> Exception:
    if source.type in {"file", "content"}:
        return unsupported(f"A source of the type {source.type!r} (`{place}`)", target)
    return fail(f"{place}.source", "must be base64 with its media type, text, or a url")
