"""From OpenAI's Responses request to the inner form."""

from collections.abc import Mapping
from typing import Any

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.common import (
    MESSAGES,
    RESPONSES,
    Conversation,
    Document,
    Image,
    Message,
    OutputFormat,
    Part,
    Refusal,
    Role,
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

#: State that the provider keeps, work that outlives the call, and more that no other format has.
REFUSED = {
    "previous_response_id": "A conversation kept by the provider (`previous_response_id`)",
    "conversation": "A conversation kept by the provider (`conversation`)",
    "background": "An answer in the background (`background`)",
    "prompt": "A prompt stored at the provider (`prompt`)",
    "top_logprobs": "Probabilities of tokens (`top_logprobs`)",
    "moderation": "OpenAI's moderation (`moderation`)",
    "context_management": "OpenAI's compaction (`context_management`)",
    "image": "Images as answers (`image`)",
}
DROPPED = (
    "access_programs",
    "background_options",
    "max_tool_calls",
    "truncation",
)
#: Answered by Mesh itself, or told back in the response.
CONSUMED = frozenset({"model", "stream", "stream_options", "include", "metadata", "store"})
#: Thinking of another maker travels in `encrypted_content` behind its maker's name.
FOREIGN = f"{MESSAGES}:"
FOREIGN_REDACTED = f"{MESSAGES}.redacted:"


class _Breakpoint(Quiet, msgspec.Struct):
    ttl: str = ""


class _Part(Quiet, msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None
    filename: str | None = None
    prompt_cache_breakpoint: _Breakpoint | None = None


class _Summary(Quiet, msgspec.Struct):
    text: str = ""


class _Item(Quiet, msgspec.Struct):
    type: str = "message"
    id: str | None = None
    role: str | None = None
    content: str | list[_Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[_Part] | None = None
    summary: list[_Summary] | None = None
    encrypted_content: str | None = None


class _Tool(Quiet, msgspec.Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: dict[str, Any] | None = None


class _Choice(Quiet, msgspec.Struct):
    type: str
    name: str | None = None
    mode: str | None = None
    tools: list[dict[str, Any]] | None = None


class _Output(Quiet, msgspec.Struct):
    type: str = "text"
    name: str = "answer"
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class _TextOptions(Quiet, msgspec.Struct):
    format: _Output | None = None
    verbosity: str | None = None


class _Reasoning(Quiet, msgspec.Struct):
    effort: str | None = None
    summary: str | None = None


class _CacheOptions(Quiet, msgspec.Struct):
    mode: str | None = None
    ttl: str = ""


class _Request(Quiet, msgspec.Struct):
    input: str | list[_Item]
    instructions: str | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    text: _TextOptions | None = None
    reasoning: _Reasoning | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_options: _CacheOptions | None = None


_request = msgspec.json.Decoder(_Request)
_MODES: dict[str, ToolMode] = {"none": "none", "auto": "auto", "required": "required"}
_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


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
    tools, choice = _tools(asked, target)
    if bytes(fields.get("store", b"")) == b"true":
        warnings.append(f"`store` was left out: {target} keeps no responses.")
    messages = _messages(asked, target)
    options = asked.text or _TextOptions()
    cache = asked.prompt_cache_options
    return Conversation(
        messages=messages,
        tools=tools,
        tool_choice=choice,
        parallel_tools=asked.parallel_tool_calls,
        output=_output(options.format),
        max_tokens=asked.max_output_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        thought=_thought(asked.reasoning),
        user=asked.safety_identifier or asked.user,
        cache=None if cache is None or cache.mode == "explicit" else cache.ttl,
        verbosity=options.verbosity,
        openai={name: fields[name] for name in OPENAI_ONLY if name in fields and name not in CONSUMED},
        warnings=warnings,
    )


def _thought(reasoning: _Reasoning | None) -> Thought | None:
    if reasoning is None or (reasoning.effort is None and reasoning.summary is None):
        return None
    shown = True if reasoning.summary else None
    return Thought(mode="off") if reasoning.effort == "none" else Thought(effort=reasoning.effort, shown=shown)


def _output(output: _Output | None) -> OutputFormat | None:
    if output is None or output.type == "text":
        return None
    if output.type == "json_object":
        return OutputFormat()
    if output.type == "json_schema":
        return OutputFormat(output.schema or {}, output.name, output.strict, output.description)
    raise fail("text.format", "must be text, json_object or json_schema")


def _tools(asked: _Request, target: str) -> tuple[list[Tool], ToolChoice | None]:
    tools = [_tool(tool, target) for tool in asked.tools or ()]
    choice = asked.tool_choice
    if isinstance(choice, str):
        mode = _MODES.get(choice)
        if mode is None:
            raise fail("tool_choice", "must be none, auto, required, or name a tool")
        return tools, ToolChoice(mode)
    if choice is None:
        return tools, None
    if choice.type == "allowed_tools":
        names = {tool.get("name") for tool in choice.tools or ()}
        allowed = ToolChoice("required" if choice.mode == "required" else "auto")
        return [tool for tool in tools if tool.name in names], allowed
    if choice.name is None:
        raise unsupported(f"A forced {choice.type}", target)
    return tools, ToolChoice("tool", choice.name)


def _tool(tool: _Tool, target: str) -> Tool:
    if tool.type == "function" and tool.name:
        return Tool(tool.name, tool.description, tool.parameters, tool.strict)
    if tool.type == "custom" and tool.name:
        return Tool(tool.name, tool.description, custom=True, grammar=tool.format)
    raise unsupported(f"OpenAI's own tool {tool.type!r}", target)


# --- Items of the input ----------------------------------------------------------------------------------


def _messages(asked: _Request, target: str) -> list[Message]:
    found = [Message("system", [Text(asked.instructions)])] if asked.instructions else []
    if isinstance(asked.input, str):
        return [*found, Message("user", [Text(asked.input)])]
    for number, item in enumerate(asked.input):
        place = f"input[{number}]"
        if item.type == "message":
            role = _ROLES.get(item.role or "")
            if role is None:
                raise fail(f"{place}.role", "must be system, developer, user or assistant")
            parts = _content(item.content, place, target)
            if role == "assistant":
                _add(found, "assistant", parts)
            else:
                found.append(Message(role, parts))
        elif item.type in {"function_call", "custom_tool_call"}:
            _add(found, "assistant", [_call(item, place)])
        elif item.type in {"function_call_output", "custom_tool_call_output"}:
            _add(found, "user", [_result(item, place, target)])
        elif item.type == "reasoning":
            _add(found, "assistant", [_reasoning(item)])
        else:
            raise unsupported(f"An item of the type {item.type!r} (`{place}`)", target)
    return found


def _add(found: list[Message], role: Role, parts: list[Part]) -> None:
    """Put what one turn is made of into one message."""
    last = found[-1] if found else None
    joins = last is not None and last.role == role
    if joins and last is not None and (role == "assistant" or isinstance(last.parts[-1], ToolResult)):
        last.parts += parts
    else:
        found.append(Message(role, parts))


def _call(item: _Item, place: str) -> ToolCall:
    if not item.call_id or not item.name:
        raise fail(place, "needs `call_id` and `name`")
    if item.type == "custom_tool_call":
        return ToolCall(item.call_id, item.name, item.input or "", custom=True)
    return ToolCall(item.call_id, item.name, item.arguments or "")


def _result(item: _Item, place: str, target: str) -> ToolResult:
    if not item.call_id:
        raise fail(f"{place}.call_id", "is missing")
    parts = _content(item.output, place, target)
    return ToolResult(item.call_id, parts, custom=item.type == "custom_tool_call_output")


def _reasoning(item: _Item) -> Thinking:
    text = "\n\n".join(summary.text for summary in item.summary or ())
    sealed = item.encrypted_content or ""
    if sealed.startswith(FOREIGN_REDACTED):
        return Thinking(redacted=sealed.removeprefix(FOREIGN_REDACTED), maker=MESSAGES)
    if sealed.startswith(FOREIGN):
        return Thinking(text, sealed.removeprefix(FOREIGN), maker=MESSAGES)
    return Thinking(text, sealed or None, maker=RESPONSES, id=item.id)


def _content(content: str | list[_Part] | None, place: str, target: str) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    return [_part(part, f"{place}.content[{number}]", target) for number, part in enumerate(content)]


def _part(part: _Part, place: str, target: str) -> Part:
    cache = part.prompt_cache_breakpoint.ttl if part.prompt_cache_breakpoint is not None else None
    if part.type in {"input_text", "output_text", "text"} and part.text is not None:
        return Text(part.text, cache)
    if part.type == "refusal" and part.refusal is not None:
        return Refusal(part.refusal)
    if part.file_id:
        raise unsupported("Files stored at OpenAI (`file_id`)", target)
    if part.type == "input_image" and part.image_url is not None:
        held = data_url(part.image_url)
        if held is None:
            return Image(url=part.image_url, detail=part.detail, cache=cache)
        return Image(media_type=held[0], data=held[1], detail=part.detail, cache=cache)
    if part.type == "input_file" and (part.file_url or part.file_data):
        if part.file_data is None:
            return Document(url=part.file_url, name=part.filename, cache=cache)
        held = data_url(part.file_data) or ("application/pdf", part.file_data)
        return Document(media_type=held[0], data=held[1], name=part.filename, cache=cache)
    raise fail(place, f"is of the type {part.type!r} without its content")
