"""A Mesh server that does what a test tells it, on a real socket, in a thread: answers and every fault of a network."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Exchange:
    """One request, and the connection to answer it on."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: socket.socket

    @property
    def json(self):
        return json.loads(self.body)

    def answer(self, status=200, body=None, **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.head(status, content_type="application/json", content_length=len(content), **headers)
        self.send(content)

    def head(self, status, **headers):
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([f"HTTP/1.1 {status} X", *lines, "", ""]).encode())

    def send(self, content):
        self.connection.sendall(content)

    def stream(self, *pieces, done=True, **headers):
        self.head(200, content_type="text/event-stream", connection="close", x_request_id="req_1", **headers)
        for piece in pieces:
            self.send(b"data: " + json.dumps(piece).encode() + b"\n\n")
        if done:
            self.send(b"data: [DONE]\n\n")

    def refuse(self, code, status=400, message="No.", **headers):
        error = {"code": code, "message": message, "type": "x", "details": None, "troubleshooting": ["Do this."]}
        body = {"success": False, "error": error, "request_id": "req_1"}
        self.answer(status, body, x_request_id="req_1", **headers)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())  # at once, whoever else reads from it


class Server:
    """Answers with the scripts in their order; the last one goes on."""

    def __init__(self):
        self.scripts: list[Callable[[Exchange], None]] = [lambda exchange: exchange.answer(200, completion())]
        self.asked: list[Exchange] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def script(self, *scripts):
        self.scripts = list(scripts)

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._open:
            connection.close()
        self._thread.join(5)

    def _serve(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._connected, args=(connection,), daemon=True).start()

    def _connected(self, connection):
        try:
            with connection, connection.makefile("rb") as reader:
                while line := reader.readline():
                    method, path, _ = line.decode().split(" ")
                    headers = {}
                    while (header := reader.readline().decode().strip()) != "":
                        name, _, value = header.partition(":")
                        headers[name.lower()] = value.strip()
                    body = reader.read(int(headers.get("content-length", 0)))
                    exchange = Exchange(method, path, headers, body, connection)
                    self.asked.append(exchange)
                    script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                    script(exchange)
                    if "text/event-stream" in headers.get("accept", "") and body and exchange.json.get("stream"):
                        return
        except (OSError, ValueError):
            pass


def slow(seconds):
    """Return a script that answers late."""

    def script(exchange):
        time.sleep(seconds)
        exchange.answer(200, completion())

    return script


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def completion(text="Hello", **members):
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE,
        "success": True,
        "provider": "acme",
        "cost_usd": 0.25,
        "warnings": ["w"],
        "thinking": None,
        "request_id": "req_1",
        **members,
    }


def chunk(text=None, finish=None, **delta):
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "m-1",
        "choices": [
            {"index": 0, "delta": {**({} if text is None else {"content": text}), **delta}, "finish_reason": finish}
        ],
    }


LAST = {
    "object": "chat.completion.chunk",
    "choices": [],
    "model": "m-1",
    "usage": USAGE,
    "provider": "acme",
    "cost_usd": 0.25,
    "warnings": ["w"],
    "request_id": "req_1",
}
