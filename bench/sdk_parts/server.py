"""Answers at once in the formats of Mesh, OpenAI and Anthropic, so that a client's own cost is what counts."""

import asyncio
import json
import sys

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
MESSAGE = {"role": "assistant", "content": "Hello there, how can I help you today?"}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": USAGE,
    "success": True,
    "provider": "p",
    "cost_usd": 0.1,
    "warnings": [],
    "thinking": None,
    "request_id": "req_1",
}
TEXT = [{"type": "text", "text": MESSAGE["content"]}]
CLAUDE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": TEXT,
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
#: Pieces of each stream; each is an event and a write of its own.
PIECES = 5000


def head(kind: str, length: int | None) -> bytes:
    framing = f"content-length: {length}" if length is not None else "transfer-encoding: chunked"
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{framing}\r\n\r\n".encode()


def whole(body: dict) -> bytes:
    content = json.dumps(body).encode()
    return head("application/json", len(content)) + content


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(data: dict, name: str = "") -> bytes:
    return chunked(f"{f'event: {name}' if name else ''}{chr(10) if name else ''}data: {json.dumps(data)}\n\n".encode())


def openai_stream() -> bytes:
    def piece(delta: dict, reason: str | None) -> dict:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    one = event(piece({"content": "word "}, None))
    last = event({**piece({}, None), "choices": [], "usage": USAGE})
    done = chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return head("text/event-stream", None) + one * PIECES + event(piece({}, "stop")) + last + done


def claude_stream() -> bytes:
    start = event({"type": "message_start", "message": {**CLAUDE, "content": [], "stop_reason": None}}, "message_start")
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word "}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
    return b"".join(
        [
            head("text/event-stream", None),
            start,
            event(block, "content_block_start"),
            event(delta, "content_block_delta") * PIECES,
            event({"type": "content_block_stop", "index": 0}, "content_block_stop"),
            event(end, "message_delta"),
            event({"type": "message_stop"}, "message_stop"),
            b"0\r\n\r\n",
        ]
    )


REPLIES = {
    (True, False): whole(CLAUDE),
    (True, True): claude_stream(),
    (False, False): whole(ANSWER),
    (False, True): openai_stream(),
}


class Connection(asyncio.Protocol):
    """Reads requests by their content-length, and nothing else of them."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport, self._read = transport, b""

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            headers = self._read[:end].lower()
            at = headers.find(b"content-length:")
            length = int(headers[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._read) < end + 4 + length:
                return
            body, self._read = self._read[end + 4 : end + 4 + length], self._read[end + 4 + length :]
            streamed = b'"stream":true' in body.replace(b" ", b"")
            self._transport.write(REPLIES[headers.startswith(b"post /v1/messages"), streamed])


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.platform == "win32":
        asyncio.run(main())
    else:
        import uvloop

        uvloop.run(main())
