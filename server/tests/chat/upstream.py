"""A provider that does what a test tells it, on a real socket: answers, faults, and a memory of what it was asked."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Script = Callable[["Exchange"], Awaitable[None]]

MESH, OPENAI = "/api/v1/chat/completions", "/v1/chat/completions"
ASK = {"model": "m-1", "messages": [{"role": "user", "content": "hi"}]}
SECRET = "sk-acme-secret-1234"


def events(answer):
    """Return the data of a stream's events."""
    return [line[6:] for line in answer.body.decode().split("\n") if line.startswith("data: ")]


@dataclass
class Exchange:
    """One request, and the connection to answer it on."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    @property
    def json(self):
        return json.loads(self.body)

    async def answer(self, status: int, body: object = None, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {"content-type": "application/json", "content-length": str(len(content)), **headers}
        await self.head(status, **lines)
        await self.send(content)

    async def head(self, status: int, **headers: str) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([f"HTTP/1.1 {status} X", *lines, "", ""]).encode())

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def stream(self, *pieces: object, done: bool = True) -> None:
        """Send a stream of events; ends with the connection."""
        await self.head(200, content_type="text/event-stream", connection="close")
        for piece in pieces:
            await self.event(piece)
        if done:
            await self.send(b"data: [DONE]\n\n")

    async def event(self, piece: object) -> None:
        content = piece if isinstance(piece, bytes) else b"data: " + json.dumps(piece).encode() + b"\n\n"
        await self.send(content)

    async def left(self) -> None:
        """Wait until the caller has closed the connection."""
        with contextlib.suppress(ConnectionError):
            assert await self.reader.read(1) == b""

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        import socket
        import struct

        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Upstream:
    """The provider; `script` is what it does with each request."""

    script: Script
    asked: list[Exchange] = field(default_factory=list)
    open: int = 0
    connections: list[asyncio.Task] = field(default_factory=list)
    server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1"

    async def start(self) -> "Upstream":
        self.server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def stop(self) -> None:
        self.server.close()
        for connection in self.connections:
            connection.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)
        await self.server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.connections.append(asyncio.current_task())
        try:
            while line := await reader.readline():
                method, path, _ = line.decode().split(" ")
                headers = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                exchange = Exchange(method, path, headers, body, writer, reader)
                self.asked.append(exchange)
                await self.script(exchange)
                if writer.is_closing() or (body and exchange.json.get("stream")):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.close()


def chunk(text: str | None = None, finish: str | None = None, **members):
    """Return a piece of a streamed completion."""
    delta = {} if text is None else {"content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **members,
    }


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
LAST = {**chunk(), "choices": [], "usage": USAGE}


def completion(text: str = "Hello", **members):
    """Return a whole completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": USAGE,
        **members,
    }
