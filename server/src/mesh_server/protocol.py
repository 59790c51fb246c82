"""HTTP/1.1 on one connection: uvicorn's protocol with limits, at the price that a gateway can pay (docs/adr/0107).

uvicorn with httptools reads HTTP; it has no limit on the size of headers and no limit on the time a client may take to
send them, so both are added here. Each answer's head waits for its first piece, so that both leave in one write, and a
connection has one timer that looks, not one that is set and cancelled with each request.
"""

import asyncio
from typing import Any
from urllib.parse import unquote

import httptools
import msgspec
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from mesh_protocol.wire import MAX_BODY_BYTES, MAX_HEADER_BYTES
from mesh_server.asgi import Hangup, Message, error_body
from mesh_server.errors import BodyTooLarge, HeadersTooLarge, InvalidHTTP, MeshError
from mesh_server.ids import request_id
from mesh_server.outbox import Outbox, outbox_of

#: Largest request in bytes with its framing: a body of many small chunks is mostly framing.
MAX_REQUEST_BYTES = 2 * MAX_BODY_BYTES + MAX_HEADER_BYTES
#: Seconds a client has for sending a request's line and headers.
HEADER_TIMEOUT_S = 20.0

#: Bytes of an answer that wait for a slow reader before who makes it has to wait, too.
WAITING_BYTES = 16 * 1024

_BODYLESS = frozenset({204, 304})
_ASGI = {"version": "3.0", "spec_version": "2.3"}


class Cycle(RequestResponseCycle):
    """One request and its answer, which it writes in as few pieces as it comes in."""

    outbox: Outbox
    _head = b""  # of the answer, while it waits for the first piece
    _given = False  # the request's body, whole

    async def receive(self) -> Any:
        """Return the next ASGI message; a body that is here whole at once."""
        if self.more_body or self._given or self.disconnected or self.waiting_for_100_continue:
            return await super().receive()
        self._given = True
        self.flow.resume_reading()
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """Send one ASGI message; waits while the reader is slow."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if self.response_complete or (kind == "http.response.start") is self.response_started:
            raise RuntimeError(f"an ASGI message out of its order: {kind}")
        if kind == "http.response.start":
            self._head = self._begin(message["status"], message["headers"])
        else:
            self._write(message.get("body", b""), more=message.get("more_body", False))

    def _begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return the answer's head."""
        self.response_started = True
        self.waiting_for_100_continue = False
        self.chunked_encoding = self.scope["method"] != "HEAD" and status not in _BODYLESS
        fields = [*self.default_headers, *headers]
        lines = [STATUS_LINE[status], *[b"%b: %b\r\n" % field for field in fields]]
        known = dict(fields)
        if b"content-length" in known:
            self.expected_content_length, self.chunked_encoding = int(known[b"content-length"]), False
        if b"connection" in known:
            self.keep_alive = self.keep_alive and known[b"connection"] != b"close"
        elif not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding:
            lines.append(b"transfer-encoding: chunked\r\n")
        head = b"".join(lines)
        breaks = len(lines)
        if not (head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r") == breaks) or b"\0" in head:
            raise RuntimeError("a header holds what would break out of its line")  # RFC 9110, 5.5
        return head + b"\r\n"

    def _write(self, body: bytes, *, more: bool) -> None:
        """Write a piece of the body, behind the head where that is still here."""
        if self.scope["method"] == "HEAD":
            self.expected_content_length, body = 0, b""
        elif self.chunked_encoding:
            framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body = framed if more else framed + b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("the answer is longer than its content-length")
        if self._head or body:
            if more or self._lacking or not self.keep_alive:
                self.transport.write(self._head + body)
            else:  # whole, and the connection is not closed behind it
                self.outbox.put(self.transport, self._head + body)
            self._head = b""
        if not more:
            self._end()

    @property
    def _lacking(self) -> bool:
        """Whether there must be more than what was sent so far."""
        return not self.chunked_encoding and self.expected_content_length > 0

    def _end(self) -> None:
        if self._lacking:
            raise RuntimeError("the answer is shorter than its content-length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with limits on the size of a request and on the time its headers take."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bytes = 0  # of the request that is being read, framing included
        self._reading_head = True
        self._refusal: MeshError | None = None
        self._refused = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._hangups: list[Hangup] = []
        self._outbox = outbox_of(self.loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request's headers."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WAITING_BYTES)
        self._start_head_timer()

    def eof_received(self) -> None:
        """Let the transport close itself, once what was answered is written."""
        self._outbox.flush()

    def shutdown(self) -> None:
        """Close the connection, or let it be closed behind the answer that is being made."""
        self._outbox.flush()
        super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks, and tell whoever works on a request of this connection."""
        self._stop_head_timer()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        super().connection_lost(exc)
        hangups, self._hangups = self._hangups, []
        for hangup in hangups:
            hangup.happened()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, as long as the request stays within its limits."""
        if self._refused:
            return
        self._bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal or InvalidHTTP("Invalid HTTP request received: this port speaks HTTP/1.1."))
            return
        except httptools.HttpParserUpgrade:
            pass  # the request is answered as one of HTTP/1.1; nothing behind it is read
        if self._reading_head:
            # The parser collects one header line, or one trailer after a chunked body, for as long as it comes:
            # only the bytes received bound it.
            if self._bytes > MAX_HEADER_BYTES:
                self._refuse(_headers_too_large())
            elif self._head_timer is None:
                self._start_head_timer()
        elif self._bytes > MAX_REQUEST_BYTES:
            self._refuse(BodyTooLarge("The request is far larger than this server reads."))

    def on_message_begin(self) -> None:
        """Begin to count a request."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._reading_head = True

    def on_headers_complete(self) -> None:
        """Hand a request to the application, unless its head is over the limit."""
        self._stop_head_timer()
        self._reading_head = False
        # Counted field by field: the bytes received do not tell where a pipelined request began.
        if len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers]) > MAX_HEADER_BYTES:
            self._refusal = _headers_too_large()
            raise self._refusal  # the parser stops
        before: RequestResponseCycle | None = self.cycle
        answered = before is None or before.response_complete
        if answered:
            self._hangups.clear()  # else a pipelined request: the one before it is still worked on
        hangup = Hangup()
        self._hangups.append(hangup)
        cycle = self._next_cycle(hangup)
        if answered:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _next_cycle(self, hangup: Hangup) -> Cycle:
        """Return what serves the request whose head was read."""
        parser = self.parser
        version = parser.get_http_version()
        parsed = httptools.parse_url(self.url)
        path: bytes = parsed.path
        scope: Any = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": parsed.query or b"",
            "headers": self.headers,
            "mesh.hangup": hangup,  # ours, for formats.sse
        }
        self.cycle = cycle = Cycle(
            scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            False,  # noqa: FBT003 - the library's signature: no log of its own, the guard writes one
            self.server_state.default_headers,
            asyncio.Event(),
            self.expect_100_continue,
            version != "1.0" and parser.should_keep_alive(),
            self.on_response_complete,
        )
        cycle.outbox = self._outbox
        return cycle

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a request's body for the application; while it is busy, no more than a little is read."""
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End a request's body."""
        self._bytes = 0
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        """Close a connection that was not used for long enough: one timer, set again rather than once a request."""
        self._idle_timer = None
        cycle: RequestResponseCycle | None = self.cycle
        if self._reading_head or (cycle is not None and not cycle.response_complete):
            return  # at work; the end of this answer sets it again
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._look)
        elif not self.transport.is_closing():
            self.transport.close()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEADER_TIMEOUT_S, self._give_up)

    def _give_up(self) -> None:
        """Close the connection of a head that does not come to its end, behind the answer to the request before it."""
        self._outbox.flush()
        self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, error: MeshError) -> None:
        """Answer without the application, which never saw this request, and close."""
        self._refused = True
        self._outbox.flush()
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self.transport.close()  # an answer has begun: another one in its middle would be garbage
            return
        name = request_id()
        body = msgspec.json.encode(error_body(error, name))
        head = (
            f"HTTP/1.1 {error.status} Refused\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {name}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def _headers_too_large() -> HeadersTooLarge:
    return HeadersTooLarge(
        f"Request line and headers are larger than {MAX_HEADER_BYTES // 1024} KiB, the limit of this server."
    )
