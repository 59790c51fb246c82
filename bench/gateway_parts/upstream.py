"""A provider that costs almost nothing: a fixed answer, or a stream of so many pieces.

python upstream.py PORT [PIECES [INTERVAL_MS]]
"""

import asyncio
import json
import sys

import httptools
import uvloop

USAGE = {"prompt_tokens": 12, "completion_tokens": 24, "total_tokens": 36}
MESSAGE = {"role": "assistant", "content": "The capital of France is Paris, a city on the river Seine. " * 2}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-123",
        "object": "chat.completion",
        "created": 1764000000,
        "model": "bench-1",
        "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()


def piece(delta: dict, finish: str | None = None) -> bytes:
    """Return one event of a stream."""
    body = {
        "id": "chatcmpl-123",
        "object": "chat.completion.chunk",
        "created": 1764000000,
        "model": "bench-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(body).encode() + b"\n\n"


PLAIN = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
    + str(len(ANSWER)).encode()
    + b"\r\n\r\n"
    + ANSWER
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PIECE = piece({"content": " token"})
LAST = (
    piece({}, "stop") + b"data: " + json.dumps({"choices": [], "usage": USAGE, "model": "bench-1"}).encode() + b"\n\n"
)
DONE = b"data: [DONE]\n\n"


def framed(content: bytes) -> bytes:
    """Return content as one chunk of a chunked body."""
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


class Provider(asyncio.Protocol):
    """One connection."""

    pieces = 100
    interval = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.body: list[bytes] = []
        self.task: asyncio.Task | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.task is not None:
            self.task.cancel()

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        body = b"".join(self.body)
        self.body.clear()
        if b'"stream":true' in body or b'"stream": true' in body:
            self.task = asyncio.create_task(self.stream())
        else:
            self.transport.write(PLAIN)

    async def stream(self) -> None:
        """Write the pieces one by one, as fast as they are read or at their interval."""
        at_once = 1 if self.interval else 20  # each piece is a chunk of its own; the kernel is called less often
        content = framed(PIECE) * at_once
        self.transport.write(HEAD)
        for _ in range(self.pieces // at_once):
            self.transport.write(content)
            await asyncio.sleep(self.interval)
            await self.writable.wait()
        self.transport.write(framed(LAST) + framed(DONE) + b"0\r\n\r\n")


async def main() -> None:
    """Serve until killed."""
    port = int(sys.argv[1])
    Provider.pieces = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    Provider.interval = float(sys.argv[3]) / 1000 if len(sys.argv) > 3 else 0.0
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=2048)
    print("ready", flush=True)
    await server.serve_forever()


uvloop.run(main())
