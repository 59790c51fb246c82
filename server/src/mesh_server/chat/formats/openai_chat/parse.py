"""From OpenAI's chat completion request to the inner form."""

from collections.abc import Mapping
from typing import Any

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.common import (
    CHAT,
    MESSAGES,
    Audio,
    Conversation,
    Document,
    Image,
    Message,
    OutputFormat,
    Part,
    Refusal,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from mesh_server.chat.formats.shared import OPENAI_ONLY, data_url, fail, open_request, unsupported

#: What no other format has a place for, and whose loss would change the answer (docs/reference/translation.md).
REFUSED = {
    "logit_bias": "Biased tokens (`logit_bias`)",
    "logprobs": "Probabilities of tokens (`logprobs`)",
    "top_logprobs": "Probabilities of tokens (`top_logprobs`)",
    "audio": "Spoken answers (`audio`)",
    "web_search_options": "OpenAI's web search (`web_search_options`)",
    "moderation": "OpenAI's moderation (`moderation`)",
    "functions": "The retired `functions`",
    "function_call": "The retired `function_call`",
}
#: What is left out with a warning: hints, or settings of OpenAI's own service.
DROPPED = (
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "prediction",
    "store",
)
#: What Mesh itself answers, so that nothing is lost with it.
CONSUMED = frozenset({"model", "stream", "stream_options"})


class _Breakpoint(Quiet, msgspec.Struct):
    mode: str | None = None
    ttl: str = ""


class _ImageURL(Quiet, msgspec.Struct):
    url: str
    detail: str | None = None


class _File(Quiet, msgspec.Struct):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class _AudioData(Quiet, msgspec.Struct):
    data: str
    format: str


class _Part(Quiet, msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: _ImageURL | None = None
    file: _File | None = None
    input_audio: _AudioData | None = None
    prompt_cache_breakpoint: _Breakpoint | None = None


class _Function(Quiet, msgspec.Struct):
    name: str
    arguments: str = ""


class _Custom(Quiet, msgspec.Struct):
    name: str
    input: str = ""


class _Call(Quiet, msgspec.Struct):
    id: str
    type: str = "function"
    function: _Function | None = None
    custom: _Custom | None = None


class _Block(Quiet, msgspec.Struct):
    """Thinking as Mesh hands it out on this surface, to be sent back unchanged."""

    type: str
    thinking: str = ""
    signature: str | None = None
    data: str | None = None


class _Message(Quiet, msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    thinking_blocks: list[_Block] | None = None


class _FunctionTool(Quiet, msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _CustomTool(Quiet, msgspec.Struct):
    name: str
    description: str | None = None
    format: dict[str, Any] | None = None


class _Tool(Quiet, msgspec.Struct):
    type: str
    function: _FunctionTool | None = None
    custom: _CustomTool | None = None


class _Named(Quiet, msgspec.Struct):
    name: str


class _Choice(Quiet, msgspec.Struct):
    type: str
    function: _Named | None = None
    custom: _Named | None = None
    allowed_tools: dict[str, Any] | None = None


class _Schema(Quiet, msgspec.Struct):
    name: str = "answer"
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class _Output(Quiet, msgspec.Struct):
    type: str
    json_schema: _Schema | None = None


class _CacheOptions(Quiet, msgspec.Struct):
    mode: str | None = None
    ttl: str = ""


class _Request(Quiet, msgspec.Struct):
    messages: list[_Message]
    tools: list[_Tool] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Output | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_options: _CacheOptions | None = None
    n: int | None = None
    modalities: list[str] | None = None


_request = msgspec.json.Decoder(_Request)
_MODES: dict[str, ToolMode] = {"none": "none", "auto": "auto", "required": "required"}


def parse(fields: Mapping[str, msgspec.Raw], *, target: str) -> Conversation:
    """Return a request in the inner form.

    Args:
        fields: the body's members, none of them null.
        target: who is to answer, for messages.

    Raises:
        InvalidRequest: naming the member that does not fit.
        UnsupportedFeature: for what the target's format has no place for.
    """
    asked, warnings = open_request(
        fields, _request, refused=REFUSED, dropped=DROPPED, answered=(*CONSUMED, *OPENAI_ONLY), target=target
    )
    if (asked.n or 1) > 1:
        raise unsupported("Several answers at once (`n`)", target)
    if set(asked.modalities or ()) - {"text"}:
        raise unsupported("Answers other than text (`modalities`)", target)
    tools, choice = _tools(asked)
    return Conversation(
        messages=_messages(asked.messages, target, warnings),
        tools=tools,
        tool_choice=choice,
        parallel_tools=asked.parallel_tool_calls,
        output=_output(asked.response_format),
        max_tokens=asked.max_tokens if asked.max_completion_tokens is None else asked.max_completion_tokens,
        stop=[asked.stop] if isinstance(asked.stop, str) else asked.stop or [],
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        thought=_thought(asked.reasoning_effort),
        user=asked.safety_identifier or asked.user,
        cache=_automatic_cache(asked.prompt_cache_options),
        verbosity=asked.verbosity,
        openai={name: fields[name] for name in OPENAI_ONLY if name in fields},
        warnings=warnings,
    )


def _automatic_cache(options: _CacheOptions | None) -> str | None:
    return None if options is None or options.mode == "explicit" else options.ttl


def _thought(effort: str | None) -> Thought | None:
    if effort is None:
        return None
    return Thought(mode="off") if effort == "none" else Thought(effort=effort)


def _output(output: _Output | None) -> OutputFormat | None:
    if output is None or output.type == "text":
        return None
    if output.type == "json_object":
        return OutputFormat()
    if output.type == "json_schema" and output.json_schema is not None:
        found = output.json_schema
        return OutputFormat(found.schema or {}, found.name, found.strict, found.description)
    raise fail("response_format", "must be text, json_object, or json_schema with its `json_schema`")


def _tools(asked: _Request) -> tuple[list[Tool], ToolChoice | None]:
    tools = [_tool(tool) for tool in asked.tools or ()]
    choice = asked.tool_choice
    if isinstance(choice, str):
        mode = _MODES.get(choice)
        if mode is None:
            raise fail("tool_choice", "must be none, auto, required, or name a tool")
        return tools, ToolChoice(mode)
    if choice is None:
        return tools, None
    if choice.type == "allowed_tools" and choice.allowed_tools is not None:
        return _allowed(tools, choice.allowed_tools)
    named = choice.function or choice.custom
    if named is None:
        raise fail("tool_choice", "must be none, auto, required, or name a tool")
    return tools, ToolChoice("tool", named.name)


def _allowed(tools: list[Tool], allowed: dict[str, Any]) -> tuple[list[Tool], ToolChoice]:
    names = {(entry.get("function") or entry.get("custom") or entry).get("name") for entry in allowed.get("tools", ())}
    return [tool for tool in tools if tool.name in names], ToolChoice(
        "required" if allowed.get("mode") == "required" else "auto"
    )


def _tool(tool: _Tool) -> Tool:
    if tool.type == "function" and tool.function is not None:
        found = tool.function
        return Tool(found.name, found.description, found.parameters, found.strict)
    if tool.type == "custom" and tool.custom is not None:
        return Tool(tool.custom.name, tool.custom.description, custom=True, grammar=tool.custom.format)
    raise fail("tools", f"has an entry of the type {tool.type!r} without its content")


# --- Messages --------------------------------------------------------------------------------------------


def _messages(messages: list[_Message], target: str, warnings: list[str]) -> list[Message]:
    found: list[Message] = []
    custom = {call.id for message in messages for call in message.tool_calls or () if call.custom is not None}
    for number, message in enumerate(messages):
        if message.name and message.role != "function":
            warnings.append(f"`messages[{number}].name` was left out: {target} knows no names of speakers.")
        if message.role in {"system", "developer"}:
            found.append(Message("system", _content(message.content, number, target)))
        elif message.role == "user":
            found.append(Message("user", _content(message.content, number, target)))
        elif message.role == "assistant":
            found.append(Message("assistant", _said(message, number, target)))
        elif message.role == "tool":
            if not message.tool_call_id:
                raise fail(f"messages[{number}].tool_call_id", "is missing")
            parts = _content(message.content, number, target)
            result = ToolResult(message.tool_call_id, parts, custom=message.tool_call_id in custom)
            _add_result(found, result)
        else:
            raise fail(f"messages[{number}].role", "must be system, developer, user, assistant or tool")
    return found


def _add_result(found: list[Message], result: ToolResult) -> None:
    """Put results of one turn's calls into one message: other formats want them together."""
    last = found[-1] if found else None
    if last is not None and last.role == "user" and all(isinstance(part, ToolResult) for part in last.parts):
        last.parts.append(result)
    else:
        found.append(Message("user", [result]))


def _said(message: _Message, number: int, target: str) -> list[Part]:
    parts: list[Part] = [_thinking(block) for block in message.thinking_blocks or ()]
    if not parts and message.reasoning_content:
        parts.append(Thinking(message.reasoning_content, maker=CHAT))
    parts += [part for part in _content(message.content, number, target) if part != Text("")]
    if message.refusal:
        parts.append(Refusal(message.refusal))
    for call in message.tool_calls or ():
        if call.custom is not None:
            parts.append(ToolCall(call.id, call.custom.name, call.custom.input, custom=True))
        elif call.function is not None:
            parts.append(ToolCall(call.id, call.function.name, call.function.arguments))
        else:
            raise fail(f"messages[{number}].tool_calls", f"has a call of the type {call.type!r} without its content")
    return parts


def _thinking(block: _Block) -> Thinking:
    if block.type == "redacted_thinking":
        return Thinking(redacted=block.data, maker=MESSAGES)
    return Thinking(block.thinking, block.signature, maker=MESSAGES if block.signature else CHAT)


def _content(content: str | list[_Part] | None, number: int, target: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    return [_part(part, f"messages[{number}].content[{place}]", target) for place, part in enumerate(content)]


def _part(part: _Part, place: str, target: str) -> Part:
    cache = part.prompt_cache_breakpoint.ttl if part.prompt_cache_breakpoint is not None else None
    if part.type == "text" and part.text is not None:
        return Text(part.text, cache)
    if part.type == "refusal" and part.refusal is not None:
        return Refusal(part.refusal)
    if part.type == "image_url" and part.image_url is not None:
        held = data_url(part.image_url.url)
        if held is None:
            return Image(url=part.image_url.url, detail=part.image_url.detail, cache=cache)
        return Image(media_type=held[0], data=held[1], detail=part.image_url.detail, cache=cache)
    if part.type == "file" and part.file is not None:
        return _file(part.file, place, target, cache)
    if part.type == "input_audio" and part.input_audio is not None:
        return Audio(part.input_audio.data, part.input_audio.format)
    raise fail(place, f"is of the type {part.type!r} without its content")


def _file(file: _File, place: str, target: str, cache: str | None) -> Document:
    if file.file_id:
        raise unsupported("Files stored at OpenAI (`file_id`)", target)
    if not file.file_data:
        raise fail(place, "has no `file_data`")
    held = data_url(file.file_data) or ("application/pdf", file.file_data)
    return Document(media_type=held[0], data=held[1], name=file.filename, cache=cache)
