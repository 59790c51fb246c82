"""HTTP/1.1 to one provider after another, for the path that every token takes (RFC 9110, RFC 9112).

One `Connection` is one socket with at most one exchange at a time; nothing is pipelined. A connection is kept only when
its last exchange came to a clean end: request written whole, answer read whole, no byte beyond it. Bodies are bounded
by the reader: while it is slow, nothing more is read from the socket. A request is never sent twice from here.
"""

import asyncio
import math
import re
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import httptools

from mesh_server.chat.upstream.failures import Broken, Stalled, Unreachable, UpstreamFailure
from mesh_server.outbox import outbox_of

#: Largest head of an answer in bytes, and the most header fields.
MAX_HEAD_BYTES = 64 * 1024
MAX_FIELDS = 256
#: Bytes of a body that wait for their reader before the socket is left alone.
HIGH_BYTES = 16 * 1024

#: Bytes that are read at once: what a stream's slow reader makes wait is a few of these.
READ_BYTES = 16 * 1024
#: Largest body that is copied behind its head, to leave in one plain write.
_JOINED_BYTES = 64 * 1024

#: What may stand in a request's target and in a field's value: anything else could begin another field or another
#: request (RFC 9112, 3.2; RFC 9110, 5.5).
_TARGET = re.compile(r"/[\x21-\x7e]*")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_KEEP_ALIVE = re.compile(rb"timeout\s*=\s*(\d{1,6})", re.IGNORECASE)


def request_bytes(
    method: str, target: str, host: str, headers: Mapping[str, str], body: bytes | None
) -> tuple[bytes, bytes]:
    """Return the head and the body of a request.

    Raises:
        ValueError: if the target or a header would break out of its line; never with its text in the message.
    """
    lines = [_start(method, target, host)]
    for name, value in headers.items():
        if _FIELD_VALUE.fullmatch(value) is None:
            raise ValueError(f"the header {name} holds a character that no header may hold")
        lines.append(f"{name}: {value}\r\n")
    lines.append("\r\n" if body is None else f"content-length: {len(body)}\r\n\r\n")
    return "".join(lines).encode("latin-1"), body or b""


@lru_cache(256)
def _start(method: str, target: str, host: str) -> str:
    """Return the lines that are the same for every request to an address."""
    if _TARGET.fullmatch(target) is None:
        raise ValueError("the address holds a character that no address may hold")
    return f"{method} {target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: mesh-server\r\naccept-encoding: identity\r\n"


class Connection(asyncio.BufferedProtocol):
    """One socket to one provider.

    Args:
        loop: that it runs on.
        room: what is read into, taken out of before the loop turns to another connection: one for all of a loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, room: bytearray) -> None:
        self._loop = loop
        self._outbox = outbox_of(loop)
        self._room = memoryview(room)
        self._idle_s = 0.0
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._active_at = 0.0
        self._ends_at = math.inf
        self._busy = False
        self._paused = False
        self._reset()
        self.keep_s: float | None = None
        self.idle_since = 0.0

    def _reset(self) -> None:
        self.status = 0
        self.fields: dict[str, str] = {}
        self._field_count = 0
        self._head_bytes = 0
        self._until_close = False
        self._kept = False
        self._head_done = False
        self._done = False
        self._failure: UpstreamFailure | None = None
        self._parts: list[bytes] = []
        self._waiting_bytes = 0

    # --- the exchange ---

    async def exchange(self, head: bytes, body: bytes, idle_s: float, ends_at: float = math.inf) -> None:
        """Send a request and wait for the head of its answer, which is in `status` and `fields` then.

        Args:
            head: of the request, as `request_bytes` made it.
            body: the same.
            idle_s: seconds without a byte in either direction after which the exchange has stalled.
            ends_at: time of the loop's clock at which it has stalled however far it is.

        Raises:
            Unreachable: if the connection was gone before anything was written.
            Stalled, Broken: afterwards.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise Unreachable("the connection was gone before anything was sent")
        self._reset()
        self._busy = True
        if self._parser is None:  # a connection serves again only after a clean end, and then its parser does
            self._parser = httptools.HttpResponseParser(self)
        self._active_at = self._loop.time()
        self._idle_s = idle_s
        self._ends_at = ends_at
        due = min(self._active_at + idle_s, ends_at)
        if self._timer is not None and self._timer.when() > due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._look)
        if len(body) > _JOINED_BYTES:
            transport.writelines((head, body))
        else:
            self._outbox.put(transport, head + body)
        while not self._head_done:
            if self._failure is not None:
                raise self._failure
            await self._wait()

    async def chunk(self) -> bytes:
        """Return all of the body that came since the last time, waiting for some; empty at its end.

        Raises:
            Stalled, Broken: if it does not come to its end.
        """
        while True:
            if self._parts:
                return self._take()
            if self._done:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._wait()

    async def read(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            Stalled, Broken: if it does not come to its end, or has more than `limit` bytes.
        """
        taken: list[bytes] = []
        size = 0
        while True:
            if self._parts:
                part = self._take()
                taken.append(part)
                size += len(part)
                if size > limit:
                    raise Broken("the answer is larger than any answer should be")
            elif self._done:
                return taken[0] if len(taken) == 1 else b"".join(taken)
            elif self._failure is not None:
                raise self._failure
            else:
                await self._wait()

    def finish(self) -> bool:
        """End the exchange and return whether the connection can serve another one; if not it is closed."""
        self._busy = False
        transport = self._transport
        good = (
            self._done
            and self._kept
            and not self._parts
            and transport is not None
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        )
        if not good:
            self._parts.clear()
            self.abort()
        elif self._paused and transport is not None:
            self._paused = False
            transport.resume_reading()
        self.idle_since = self._loop.time()
        return good

    def abort(self) -> None:
        """Close the socket at once, so that the provider sees that nobody reads any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    @property
    def usable(self) -> bool:
        """Whether an idle connection is still there."""
        return self._transport is not None and not self._transport.is_closing()

    def _take(self) -> bytes:
        parts = self._parts
        part = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._waiting_bytes = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._active_at = self._loop.time()  # while the reader was slow, the provider was not
            self._transport.resume_reading()
        return part

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: UpstreamFailure) -> None:
        if self._failure is None and not self._done:
            self._failure = failure
        self._wake()

    def _look(self) -> None:
        """See whether the exchange has stalled or is over: one timer, set again rather than once a byte."""
        self._timer = None
        if not self._busy:
            return
        now = self._loop.time()
        silent_at = self._active_at + self._idle_s
        if now >= self._ends_at:
            self._fail(Stalled("the time for the whole call was over"))
            self.abort()
        elif now >= silent_at and not self._paused:
            self._fail(Stalled("nothing came for too long"))
            self.abort()
        else:
            self._timer = self._loop.call_at(min(max(silent_at, now + 0.05), self._ends_at), self._look)

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - as much as there is room
        """Return what is read into."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what came; a byte that nobody asked for ends the connection."""
        if not self._busy or self._done:
            self.abort()
            return
        self._active_at = self._loop.time()
        if not self._head_done:
            self._head_bytes += nbytes
        try:
            self._parser.feed_data(self._room[:nbytes])
        except httptools.HttpParserUpgrade:
            self._fail(Broken("the provider changed the protocol"))
            self.abort()
        except (httptools.HttpParserError, UpstreamFailure) as problem:
            cause = problem.__context__ if isinstance(problem, httptools.HttpParserCallbackError) else problem
            self._fail(cause if isinstance(cause, UpstreamFailure) else Broken("what came is no HTTP"))
            self.abort()
        else:
            if not self._head_done and self._head_bytes > MAX_HEAD_BYTES:
                self._fail(Broken("the head of the answer is larger than any should be"))
                self.abort()
            elif self._waiting_bytes > HIGH_BYTES and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Count a request that is being read as life."""
        self._active_at = self._loop.time()

    def eof_received(self) -> bool:
        """Take the end of the stream as the end of an answer that has no other (RFC 9112, 6.3)."""
        if self._busy and self._head_done and self._until_close and not self._done:
            self._done = True
            self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - its text may name what was sent
        """Tell whoever waits."""
        self._transport = None
        self._parser = None  # the two hold each other: what nobody read would wait for the search for cycles
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fail(Broken("the connection ended before the answer did"))

    # --- httptools ---

    def on_message_begin(self) -> None:
        """Notice an answer behind the answer: it is not read, and nothing is sent on this connection again."""
        if self._done:
            self._kept = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header field; of one that comes twice, all its values. Trailers are not kept."""
        self._field_count += 1
        if self._field_count > MAX_FIELDS:
            raise Broken("the answer has more header fields than any should have")
        if self._head_done:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        known = self.fields.get(key)
        self.fields[key] = text if known is None else f"{known}, {text}"

    def on_headers_complete(self) -> None:
        """Read what the head says of the body."""
        if self._done:
            return
        self.status = self._parser.get_status_code()
        if 100 <= self.status < 200:
            return  # an interim answer; the real one follows
        fields = self.fields
        if fields.get("content-encoding", "identity") != "identity":
            raise Broken("the answer is compressed, which nobody asked for")
        if fields.get("transfer-encoding", "chunked").lower() != "chunked":
            raise Broken("the answer has a transfer coding that nobody asked for")
        self._kept = self._parser.should_keep_alive()
        bodyless = self.status in {204, 304}
        self._until_close = not bodyless and "content-length" not in fields and "transfer-encoding" not in fields
        kept = _KEEP_ALIVE.search(fields.get("keep-alive", "").encode("latin-1"))
        self.keep_s = float(kept[1]) if kept else None
        self._head_done = True
        self._wake()

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body for its reader."""
        if self._done:
            return
        self._parts.append(data)
        self._waiting_bytes += len(data)
        self._wake()

    def on_message_complete(self) -> None:
        """End the answer, or begin to wait for the one that follows an interim answer."""
        if self._done:
            return
        if 100 <= self.status < 200:
            self.fields, self.status = {}, 0
            return
        if self._until_close:
            return  # its end is that of the connection
        self._done = True
        self._wake()


def default_tls() -> ssl.SSLContext:
    """Return how providers are verified: host name, chain, TLS 1.2 at least; SSL_CERT_FILE is honoured."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
