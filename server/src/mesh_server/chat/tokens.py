"""How many tokens a request holds: asked of the provider where it can tell, else estimated."""

import msgspec

from mesh_server.chat.formats.common import Conversation, Document, Image, Part, ToolCall, ToolResult

#: Members of a Responses request that its count of tokens takes.
COUNTED = frozenset(
    {"model", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "parallel_tool_calls", "truncation"}
)
#: Statuses of a provider that has no endpoint to count with.
NO_SUCH_ENDPOINT = frozenset({404, 405, 501})
#: Bytes of text that one token stands for, on average over languages and code: an estimate errs on the high side.
_BYTES_A_TOKEN = 3.5
#: Tokens of one image or page where nothing is known of its size.
_IMAGE = 1600
#: Tokens that each message adds by its frame.
_FRAME = 4


class Count(msgspec.Struct):
    """A provider's count."""

    input_tokens: int


def estimate(asked: Conversation) -> int:
    """Return about how many tokens a conversation has; at least 1."""
    size = sum(_size(part) for message in asked.messages for part in message.parts)
    tools = sum(len(msgspec.json.encode(tool)) for tool in asked.tools)
    images = sum(_images(part) for message in asked.messages for part in message.parts)
    return max(1, round((size + tools) / _BYTES_A_TOKEN) + images * _IMAGE + len(asked.messages) * _FRAME)


def _size(part: Part) -> int:
    if isinstance(part, ToolCall):
        return len(part.name) + len(part.arguments.encode())
    if isinstance(part, ToolResult):
        return sum(_size(inner) for inner in part.parts)
    return len((getattr(part, "text", None) or "").encode())


def _images(part: Part) -> int:
    if isinstance(part, ToolResult):
        return sum(_images(inner) for inner in part.parts)
    return int(isinstance(part, Image) or (isinstance(part, Document) and part.text is None))
