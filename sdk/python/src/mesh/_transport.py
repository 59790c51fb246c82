"""The one seam to the network: a request goes in, a reply or a `TransportFailure` comes out.

Everything above it is shared by both clients and knows no HTTP library; a test, or another library, is plugged in here.
"""

import atexit
import os
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from types import coroutine
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder, SyncClient, SyncClientBuilder
from pyreqwest.exceptions import (
    BuilderError,
    ClientClosedError,
    DetailedPyreqwestError,
    PyreqwestError,
    RequestTimeoutError,
)

from mesh._certificates import Verify, certificates
from mesh._interrupt import Helper, Pump
from mesh._native import built, headers_of

CONNECT_S = 5.0
#: Clients kept for different idle limits; calls mostly use one.
_MOST_CLIENTS = 8
_SETTLE_S = 0.03
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class TransportFailure(Exception):
    """No reply, or not all of it.

    Attributes:
        kind: `connect`: no connection was made, nothing was sent; `timeout`: the time passed; `broken`: the connection
            ended early; `closed`: the client was closed; `forked`: this process was forked from one that had used it.
        why: of a connection that was not made: `name`: the host's name has no address; `certificate`: the server's is
            not trusted; None: anything else.
    """

    def __init__(
        self,
        kind: Literal["connect", "timeout", "broken", "closed", "forked"],
        why: Literal["name", "certificate"] | None = None,
    ) -> None:
        super().__init__(kind)
        self.kind = kind
        self.why = why


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One HTTP request. `repr` shows neither headers nor body.

    Attributes:
        timeout: seconds for the whole reply; of a streamed one, the longest silence.
        streamed: the body of a reply with status 200 is handed on as it comes.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes | None = field(repr=False)
    timeout: float
    streamed: bool


@dataclass(slots=True)
class Reply:
    """One HTTP reply: with its body, or with where its body comes from.

    Attributes:
        headers: by lower-case name.
        stream: a `SyncBody` or `AsyncBody` where the body was asked for as a stream.
        span: of the stream, where somebody traces.
    """

    status: int
    headers: dict[str, str]
    body: bytes = field(default=b"", repr=False)
    stream: Any = None
    span: Any = None


class SyncBody(Protocol):
    """A body that comes in pieces."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the pieces; raises TransportFailure."""

    def close(self) -> None:
        """Give the rest up; closing twice is fine."""


class AsyncBody(Protocol):
    """A body that comes in pieces."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces; raises TransportFailure."""

    async def aclose(self) -> None:
        """Give the rest up; closing twice is fine."""


class SyncTransport(Protocol):
    """Sends requests for `MeshClient`."""

    def send(self, request: WireRequest) -> Reply:
        """Send one request; raises TransportFailure."""

    def close(self) -> None:
        """Close every connection."""


class AsyncTransport(Protocol):
    """Sends requests for `AsyncMeshClient`."""

    async def send(self, request: WireRequest) -> Reply:
        """Send one request; raises TransportFailure."""

    async def close(self) -> None:
        """Close every connection."""


def _failure(problem: PyreqwestError) -> TransportFailure:
    # Only the kind goes on: the library's text may hold the address.
    causes = problem.details["causes"] if isinstance(problem, DetailedPyreqwestError) else None
    said = [str(cause["message"]) for cause in causes or ()]
    # Its classes do not tell whether anything was sent: a `ConnectError` may also come after the whole request.
    if isinstance(problem, BuilderError) or "client error (Connect)" in said:
        if "dns error" in said:
            return TransportFailure("connect", "name")
        if any("certificate" in message for message in said):
            return TransportFailure("connect", "certificate")
        return TransportFailure("connect")
    if isinstance(problem, RequestTimeoutError):
        return TransportFailure("timeout")
    if isinstance(problem, ClientClosedError):
        return TransportFailure("closed")
    return TransportFailure("broken")


def _configured(builder: Any, request: WireRequest, verify: Verify, trusted: bytes | None) -> Any:
    builder = builder.user_agent("mesh-python").connect_timeout(timedelta(seconds=CONNECT_S))
    builder = builder.follow_redirects(enable=False).referer(enable=False)
    if request.streamed:
        builder = builder.read_timeout(timedelta(seconds=request.timeout))
    if urlsplit(request.url).hostname in _LOOPBACK:
        builder = builder.no_proxy()
    if trusted is not None:
        builder = builder.add_root_certificate_pem(trusted)
    if verify is False:
        builder = builder.danger_accept_invalid_certs(enable=True)
    return builder.build()


def _key(request: WireRequest) -> tuple[str, float]:
    # The total limit is set with each request, the longest silence of a stream only with a client; so streams with
    # different limits have different clients.
    parts = urlsplit(request.url)
    return f"{parts.scheme}://{parts.netloc}", request.timeout if request.streamed else 0.0


_Key = tuple[str, float, bool]

#: The process that first used the library: its threads do not live in a forked child, where every call would fail.
_used_by: int | None = None


def _check_process() -> None:
    global _used_by  # noqa: PLW0603 - one for the whole process, as the library's threads are
    if _used_by is None:
        _used_by = os.getpid()
    elif _used_by != os.getpid():
        raise TransportFailure("forked")


class HTTPTransport:
    """The default for `MeshClient`: HTTP/1.1 with kept connections, TLS by the system's trust store, proxies.

    Args:
        verify: a PEM file with certificates to trust beside the system's (and `SSL_CERT_FILE`'s); False checks nothing.
    """

    def __init__(self, verify: Verify = True) -> None:  # noqa: FBT002 - the field's usual name and kind
        self._verify, self._trusted = verify, certificates(verify)
        self._clients: dict[_Key, SyncClient] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._helper = Helper()

    def send(self, request: WireRequest) -> Reply:
        """Send one request."""
        client = self._client(request)
        return self._helper.run(lambda: self._exchange(client, request), lambda: self._give_up(client))

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        self._helper.stop()
        with self._lock:
            clients, self._clients = self._clients, {}
        if _used_by == os.getpid():
            for client in clients.values():
                client.close()

    def _exchange(self, client: SyncClient, request: WireRequest) -> Reply:
        try:
            sending = built(client, request)
            if not request.streamed:
                response = sending.send()
                return Reply(response.status, headers_of(response), bytes(response.bytes()))
            response = sending.__enter__()
        except PyreqwestError as problem:
            raise _failure(problem) from None
        body = _SyncPieces(sending, response)
        reply = Reply(response.status, headers_of(response))
        if reply.status == 200:
            reply.stream = body
            return reply
        try:
            reply.body = b"".join(body.rest())
        finally:
            body.close()
        return reply

    def _give_up(self, client: SyncClient) -> None:
        """Hang up whatever the client is doing: a person pressed Ctrl-C, and the server should know."""
        with self._lock:
            for key, known in list(self._clients.items()):
                if known is client:
                    del self._clients[key]
        client.close()

    def _client(self, request: WireRequest) -> SyncClient:
        if self._closed:
            raise TransportFailure("closed")
        _check_process()
        # The main thread has connections of its own: giving them up takes nothing from other threads.
        key = (*_key(request), threading.current_thread() is threading.main_thread())
        with self._lock:
            client = self._clients.get(key)
            if client is None:
                if len(self._clients) >= _MOST_CLIENTS:
                    del self._clients[next(iter(self._clients))]  # what it is doing goes on; then it is collected
                client = self._clients[key] = _configured(SyncClientBuilder(), request, self._verify, self._trusted)
        return client


class _SyncPieces:
    """The body of a reply, read ahead by a thread of its own.

    A native read that waits can't be ended from outside: after closing, the reader is over at once, and the connection
    when the read returns, that is with the next piece or at the limit of silence.
    """

    def __init__(self, sending: Any, response: Any) -> None:
        self._sending = sending
        self._reader = response.body_reader
        self._pump: Pump[bytes] | None = None
        self._lock = threading.Lock()
        self._reading = False
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        self._pump = Pump(self.rest, self.close)
        return iter(self._pump)

    def rest(self) -> Iterator[bytes]:
        """Yield the pieces, waiting in this thread."""
        while (piece := self._next()) is not None:
            yield piece

    def close(self) -> None:
        with self._lock:
            done, self._closed = self._closed or self._reading, True
        if self._pump is not None:
            self._pump.stop()
        if not done:
            self._sending.__exit__(None, None, None)

    def _next(self) -> bytes | None:
        with self._lock:
            if self._closed:
                return None
            self._reading = True
        try:
            chunk = self._reader.read_chunk()
        except PyreqwestError as problem:
            raise _failure(problem) from None
        finally:
            with self._lock:
                self._reading = False
                over = self._closed
            if over:  # closed meanwhile, by Ctrl-C or from another thread
                self._sending.__exit__(None, None, None)
        return None if chunk is None else bytes(chunk)


def _settle() -> None:
    """Wait at the process's end for the library's native threads.

    One that has just handed a result to an event loop may still hold on to the interpreter; ending while it does aborts
    the process (python/cpython#124619). Blocking calls have no such threads.
    """
    time.sleep(_SETTLE_S)


class AsyncHTTPTransport:
    """The default for `AsyncMeshClient`.

    Args:
        verify: as `HTTPTransport` has it.
    """

    def __init__(self, verify: Verify = True) -> None:  # noqa: FBT002 - the field's usual name and kind
        self._verify, self._trusted = verify, certificates(verify)
        self._clients: dict[tuple[str, float], Client] = {}
        self._closed = False
        atexit.unregister(_settle)
        atexit.register(_settle)

    async def send(self, request: WireRequest) -> Reply:
        """Send one request."""
        try:
            sending = built(self._client(request), request)
            if not request.streamed:
                response = await sending.send()
                return Reply(response.status, headers_of(response), bytes(await response.bytes()))
            response = await sending.__aenter__()
        except PyreqwestError as problem:
            raise _failure(problem) from None
        body = _AsyncPieces(sending, response)
        reply = Reply(response.status, headers_of(response))
        if reply.status == 200:
            reply.stream = body
            return reply
        try:
            reply.body = b"".join([piece async for piece in body])
        finally:
            await body.aclose()
        return reply

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        clients, self._clients = self._clients, {}
        if _used_by == os.getpid():
            for client in clients.values():
                await client.close()

    def _client(self, request: WireRequest) -> Client:
        if self._closed:
            raise TransportFailure("closed")
        _check_process()
        key = _key(request)
        client = self._clients.get(key)
        if client is None:
            if len(self._clients) >= _MOST_CLIENTS:
                del self._clients[next(iter(self._clients))]
            client = self._clients[key] = _configured(ClientBuilder(), request, self._verify, self._trusted)
        return client


@coroutine
def _two_turns() -> Generator[None, None, None]:
    """Give the event loop two turns: its other tasks have theirs, and the next pieces time to come (ADR 127)."""
    yield
    yield


class _AsyncPieces:
    def __init__(self, sending: Any, response: Any) -> None:
        self._sending = sending
        self._reader = response.body_reader

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                chunk = await self._reader.read_chunk()
            except PyreqwestError as problem:
                raise _failure(problem) from None
            if chunk is None:
                return
            yield bytes(chunk)
            await _two_turns()

    async def aclose(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            await sending.__aexit__(None, None, None)
