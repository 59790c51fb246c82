"""What the published clients say, in OpenAI's words: one of them writes messages as Anthropic or Google do."""

from typing import Any

from mesh_server.errors import InvalidRequest


def in_openais_words(messages: list[Any]) -> list[Any]:
    """Return messages with their parts as OpenAI has them; what is none of the clients' forms stays as it is.

    Raises:
        InvalidRequest: if one is no object.
    """
    return [_message(message) for message in messages]


def _message(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise InvalidRequest("`messages` must be a list of objects.")
    parts = message.get("parts")
    content = parts if isinstance(parts, list) else message.get("content")
    if not isinstance(content, list):
        return message
    found = {name: value for name, value in message.items() if name != "parts"}
    if found.get("role") == "model":  # Google's word
        found["role"] = "assistant"
    return found | {"content": [_part(part) for part in content]}


def _part(part: Any) -> Any:
    if not isinstance(part, dict):
        return {"type": "text", "text": part} if isinstance(part, str) else part
    if "type" not in part and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if part.get("type") == "image" and isinstance(part.get("source"), dict):
        source = part["source"]
        return _image(source.get("media_type"), source.get("data"), source.get("url")) or part
    for name in ("inline_data", "inlineData", "image"):
        inner = part.get(name)
        if isinstance(inner, dict):
            return _image(inner.get("mime_type") or inner.get("mimeType"), inner.get("data"), None) or part
    return part


def _image(media_type: Any, data: Any, url: Any) -> dict[str, Any] | None:
    if isinstance(media_type, str) and isinstance(data, str):
        url = f"data:{media_type};base64,{data}"
    return {"type": "image_url", "image_url": {"url": url}} if isinstance(url, str) else None
