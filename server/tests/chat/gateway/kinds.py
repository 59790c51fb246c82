"""Upstreams of every kind, as a test scripts them: what each format's whole answers, streams and errors look like."""

import json

from ..upstream import LAST, chunk, completion

#: Surfaces: path, and the least that it asks for.
HI = [{"role": "user", "content": "hi"}]
SURFACES = {
    "mesh": ("/api/v1/chat/completions", {"messages": HI}),
    "chat": ("/v1/chat/completions", {"messages": HI}),
    "responses": ("/v1/responses", {"input": "hi"}),
    "messages": ("/v1/messages", {"messages": HI, "max_tokens": 50}),
}
#: Providers: the model that leads to each.
MODELS = {"plain": "plain-model", "openai": "gpt-5.6-sol", "anthropic": "claude-haiku-5-5"}

CONFIG = """
[[providers]]
name = "openai"
base_url = "{url}"
official = true
responses = true
api_key = "sk-openai-shared-1234"

[[providers]]
name = "anthropic"
base_url = "{url}"
official = true
api_key = "sk-ant-shared-1234"

[[providers]]
name = "plain"
base_url = "{url}"
models = ["plain-model"]
key_names = ["plain_key"]
api_key = "sk-plain-shared-1234"

[[routes]]
model = "ours"
targets = ["plain/plain-model", "openai/gpt-5.6-sol", "anthropic/claude-haiku-5-5"]

[[routes]]
model = "priced"
targets = ["openai/gpt-5.6-sol", "anthropic/claude-haiku-5-5"]
"""

MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-5-5",
    "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}  # fmt: skip
_SAID = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-5.6-sol",
    "output": [_SAID], "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}  # fmt: skip


def whole(exchange):
    """Return a whole answer of the format in which a provider was asked."""
    if exchange.path.endswith("/messages"):
        return MESSAGE
    return RESPONSE if exchange.path.endswith("/responses") else completion()


def events(exchange):
    """Return a stream's events of that format; the last of them is the terminal one."""
    if exchange.path.endswith("/messages"):
        start = {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 1}}
        return named(
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        )
    if exchange.path.endswith("/responses"):
        begun = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
        place = {"item_id": "m", "output_index": 0, "content_index": 0}
        return named(
            {"type": "response.created", "response": begun},
            {"type": "response.output_item.added", "output_index": 0, "item": {**_SAID, "content": []}},
            {"type": "response.output_text.delta", **place, "delta": "Hello", "logprobs": []},
            {"type": "response.output_item.done", "output_index": 0, "item": _SAID},
            {"type": "response.completed", "response": RESPONSE},
        )
    pieces = (chunk("Hel"), chunk("lo"), chunk(finish="stop"), LAST)
    return [*(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in pieces), b"data: [DONE]\n\n"]


def cut(exchange):
    """Return a stream's events without any that says that it is complete."""
    return events(exchange)[: 2 if exchange.path.endswith("/chat/completions") else -1]


def named(*found):
    numbered = [{**event, "sequence_number": n} for n, event in enumerate(found)]
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in numbered]


async def answer_well(exchange):
    """Answer whatever is asked as it should be."""
    if exchange.json.get("stream"):
        await exchange.stream(*events(exchange), done=False)
    else:
        await exchange.answer(200, whole(exchange))


def error_of(surface, body):
    """Return (code, message) of an error body, or of the event that ends a stream, in a surface's format."""
    error = body["error"]
    if surface == "messages":
        assert body["type"] == "error"
        assert body["request_id"].startswith("req_")
        return error["details"]["error_code"], error["message"]
    assert {"code", "message", "type"} <= error.keys()
    return error["code"], error["message"]


async def send(mesh, upstream, surface, kind, **more):
    """Send one request; return what the provider was asked, None if it was not, and the answer."""
    path, least = SURFACES[surface]
    headers = more.pop("headers", {})
    answer = await mesh.call("POST", path, {**least, "model": MODELS[kind], **more}, headers=headers)
    return (upstream.asked[-1] if upstream.asked else None), answer
