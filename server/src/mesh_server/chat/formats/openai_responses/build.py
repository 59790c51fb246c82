"""From the inner form to a Responses request, for OpenAI and servers like it."""

from typing import Any

from mesh_server.chat.formats.common import (
    MESSAGES,
    RESPONSES,
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
from mesh_server.chat.formats.openai_chat.build import (
    breakpoint_of,
    effort_of,
    known,
    leave_out_thinking,
    result_text,
)
from mesh_server.chat.formats.shared import marks_cache, openai_only, text_of, unsupported

#: Before OpenAI's sealed reasoning, where an Anthropic client carries it as a signature.
SEALED = f"{RESPONSES}:"


def build(
    asked: Conversation, *, model: str, stream: bool, abilities: Abilities, target: str
) -> tuple[dict[str, Any], list[str]]:
    """Return the members of a request, and what was left out. Nothing of it is kept at the provider.

    Raises:
        UnsupportedFeature: for what this format has no place for.
    """
    warnings = list(asked.warnings)
    if marks_cache(asked) and not abilities.official:
        warnings.append(f"Marks for the prompt's cache were left out: {target} takes none.")
    if asked.stop:
        raise unsupported("Stop sequences", target)
    leading = 0
    while leading < len(asked.messages) and asked.messages[leading].role == "system":
        leading += 1
    items = [item for message in asked.messages[leading:] for item in _items(message, abilities, target, warnings)]
    body: dict[str, Any] = {"model": model, "input": items, "store": False}
    if leading:
        body["instructions"] = "\n\n".join(text_of(message.parts) for message in asked.messages[:leading])
    if stream:
        body["stream"] = True
    if asked.max_tokens is not None:
        body["max_output_tokens"] = asked.max_tokens
    body |= _sampling(asked, abilities, target, warnings)
    body |= openai_only(asked, target, warnings, taken=abilities.official)
    body |= _tools(asked)
    body |= _text(asked)
    body |= _reasoning(asked, abilities, target, warnings)
    if asked.user:
        body["safety_identifier"] = asked.user
    return body, warnings


def _sampling(asked: Conversation, abilities: Abilities, target: str, warnings: list[str]) -> dict[str, Any]:
    if asked.top_k is not None:
        warnings.append(f"`top_k` was left out: {target} has no such setting.")
    given = known(temperature=asked.temperature, top_p=asked.top_p)
    if abilities.sampling:
        return given
    warnings += [f"`{name}` was left out: the model of {target} takes none." for name in given]
    return {}


def _reasoning(asked: Conversation, abilities: Abilities, target: str, warnings: list[str]) -> dict[str, Any]:
    effort = effort_of(asked.thought, abilities, target, warnings)
    shown = asked.thought is not None and asked.thought.shown
    reasoning = known(effort=effort, summary="auto" if shown and abilities.thinking != "none" else None)
    found: dict[str, Any] = {"reasoning": reasoning} if reasoning else {}
    if abilities.official and abilities.thinking == "effort":
        found["include"] = ["reasoning.encrypted_content"]  # so that it can go back in the next turn
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
            found["tool_choice"] = {"type": kind, "name": asked.tool_choice.name}
    if asked.parallel_tools is not None:
        found["parallel_tool_calls"] = asked.parallel_tools
    return found


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.custom:
        return known(type="custom", name=tool.name, description=tool.description, format=tool.grammar)
    return {
        **known(type="function", name=tool.name, description=tool.description),
        "parameters": tool.parameters or {"type": "object", "properties": {}},
        "strict": bool(tool.strict),  # this API's default is true, everyone else's is false
    }


def _text(asked: Conversation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if asked.output is not None and asked.output.schema is None:
        found["format"] = {"type": "json_object"}
    elif asked.output is not None:
        found["format"] = known(
            type="json_schema",
            name=asked.output.name,
            schema=asked.output.schema,
            strict=asked.output.strict,
            description=asked.output.description,
        )
    if asked.verbosity:
        found["verbosity"] = asked.verbosity
    return {"text": found} if found else {}


# --- Items -----------------------------------------------------------------------------------------------


def _items(message: Message, abilities: Abilities, target: str, warnings: list[str]) -> list[dict[str, Any]]:
    if message.role == "assistant":
        return _said(message.parts, target, warnings)
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    rest = [part for part in message.parts if not isinstance(part, ToolResult)]
    found = [_result(result, abilities) for result in results]
    if rest or not results:
        role = "developer" if message.role == "system" else message.role
        content = [_part(part, abilities) for part in rest]
        found.append({"type": "message", "role": role, "content": content})
    return found


def _said(parts: list[Part], target: str, warnings: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Text):
            content = {"type": "output_text", "text": part.text, "annotations": []}
            found.append({"type": "message", "role": "assistant", "content": [content]})
        elif isinstance(part, Refusal):
            content = {"type": "refusal", "refusal": part.text}
            found.append({"type": "message", "role": "assistant", "content": [content]})
        elif isinstance(part, ToolCall) and part.custom:
            call = {"call_id": part.id, "name": part.name, "input": part.arguments}
            found.append({"type": "custom_tool_call", **call})
        elif isinstance(part, ToolCall):
            call = {"call_id": part.id, "name": part.name, "arguments": part.arguments or "{}"}
            found.append({"type": "function_call", **call})
        elif isinstance(part, Thinking) and part.maker == RESPONSES and part.signature and part.id:
            summary = [{"type": "summary_text", "text": part.text}] if part.text else []
            item = {"type": "reasoning", "id": part.id, "summary": summary, "encrypted_content": part.signature}
            found.append(item)
        else:
            leave_out_thinking(target, warnings)
    return found


def _result(result: ToolResult, abilities: Abilities) -> dict[str, Any]:
    kind = "custom_tool_call_output" if result.custom else "function_call_output"
    if all(isinstance(part, Text) for part in result.parts):
        return {"type": kind, "call_id": result.call_id, "output": result_text(result)}
    return {"type": kind, "call_id": result.call_id, "output": [_part(part, abilities) for part in result.parts]}


def _part(part: Part, abilities: Abilities) -> dict[str, Any]:
    if isinstance(part, Text):
        found: dict[str, Any] = {"type": "input_text", "text": part.text}
    elif isinstance(part, Image):
        url = part.url or f"data:{part.media_type};base64,{part.data}"
        found = {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
    elif isinstance(part, Document) and part.text is not None:
        found = {"type": "input_text", "text": f"{part.name}\n\n{part.text}" if part.name else part.text}
    elif isinstance(part, Document) and part.url is not None:
        found = {"type": "input_file", "file_url": part.url}
    elif isinstance(part, Document):
        data = f"data:{part.media_type};base64,{part.data}"
        found = {"type": "input_file", "filename": part.name or "document.pdf", "file_data": data}
    else:
        raise unsupported(f"A part of the kind {type(part).__name__.lower()}", "OpenAI's Responses")
    cache = getattr(part, "cache", None)
    if cache is not None and abilities.official:
        found["prompt_cache_breakpoint"] = breakpoint_of(cache)
    return found


def seal(thought: Thinking) -> str | None:
    """Return what `encrypted_content` carries: OpenAI's own as it is, another maker's behind its name."""
    if thought.redacted is not None:
        return f"{MESSAGES}.redacted:{thought.redacted}"
    if thought.signature is None or thought.maker == RESPONSES:
        return thought.signature
    return f"{thought.maker}:{thought.signature}"
