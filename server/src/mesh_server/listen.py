"""The socket side of the server: binding, HTTP/1.1 with limits, and a shutdown that lets streams end.

uvicorn with httptools reads HTTP; it has no limit on the size of headers and no limit on the time
a client may take to send them, so both are added here.
"""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from mesh_protocol.wire import MAX_BODY_BYTES, MAX_HEADER_BYTES
from mesh_server.asgi import Hangup, error_body
from mesh_server.errors import BodyTooLarge, HeadersTooLarge, InvalidHTTP, MeshError, StartupError
from mesh_server.ids import request_id

#: Largest request in bytes with its framing: a body of many small chunks is mostly framing.
MAX_REQUEST_BYTES = 2 * MAX_BODY_BYTES + MAX_HEADER_BYTES
#: Seconds a client has for sending a request's line and headers.
HEADER_TIMEOUT_S = 20.0
#: Seconds that running answers have to end after a stop was asked for.
DRAIN_S = 30

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with limits on the size of a request and on the time its headers take."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bytes = 0  # of the request that is being read, framing included
        self._reading_head = True
        self._refusal: MeshError | None = None
        self._refused = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._hangups: list[Hangup] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first request's headers."""
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock, and tell whoever works on a request of this connection."""
        self._stop_head_timer()
        super().connection_lost(exc)
        hangups, self._hangups = self._hangups, []
        for hangup in hangups:
            hangup.happened()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, as long as the request stays within its limits."""
        if self._refused:
            return
        self._bytes += len(data)
        super().data_received(data)
        # The parser collects one header line, or one trailer after a chunked body, for as long as it comes:
        # only the bytes received bound it.
        if self._reading_head and self._bytes > MAX_HEADER_BYTES:
            self._refuse(_headers_too_large())
        elif self._bytes > MAX_REQUEST_BYTES:
            self._refuse(BodyTooLarge("The request is far larger than this server reads."))

    def on_message_begin(self) -> None:
        """Begin to count a request."""
        super().on_message_begin()
        self._reading_head = True
        if self._head_timer is None:
            self._start_head_timer()

    def on_headers_complete(self) -> None:
        """Refuse a head over the limit before the application sees it."""
        self._stop_head_timer()
        self._reading_head = False
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEADER_BYTES:
            self._refusal = _headers_too_large()
            raise self._refusal  # the parser stops, and uvicorn calls send_400_response
        before: RequestResponseCycle | None = self.cycle
        if before is None or before.response_complete:
            self._hangups.clear()  # else a pipelined request: the one before it is still worked on
        hangup = Hangup()
        self._hangups.append(hangup)
        self.scope["mesh.hangup"] = hangup  # type: ignore[typeddict-unknown-key]  # ours, for formats.sse
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Forget the request that was read."""
        self._bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that can't be read as a request; called by uvicorn."""
        self._refuse(self._refusal or InvalidHTTP(f"{msg.rstrip('.')}: this port speaks HTTP/1.1."))

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEADER_TIMEOUT_S, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, error: MeshError) -> None:
        """Answer without the application, which never saw this request, and close."""
        self._refused = True
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


class Server(uvicorn.Server):
    """uvicorn's server, with signals that end in a clean exit instead of being raised once more."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started
        self.interrupted = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, and tell it."""
        await super().startup(sockets)
        self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals that stop a server, and hand them back afterwards."""
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        self.should_exit = True

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self.interrupted = True
        if self.should_exit:
            self.force_exit = True  # the second signal: stop waiting for streams
        self.should_exit = True


def bind(host: str, port: int) -> list[socket.socket]:
    """Bind every address of a host, so that `localhost` answers on 127.0.0.1 and on ::1.

    Args:
        host: a name or an address.
        port: 0 for a free one, which is then the same on every address.

    Raises:
        StartupError: in one sentence, if the port is taken or the address is not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as problem:
        raise StartupError(f"The host {host!r} has no address here; set MESH_HOST to one that has.") from problem
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            sockets.append(_listen(family, (address[0], port or _port_of(sockets), *address[2:])))
    except OSError as problem:
        for sock in sockets:
            sock.close()
        raise StartupError(_bind_problem(problem, host, port), exit_status=5) from problem
    return sockets


def _port_of(sockets: list[socket.socket]) -> int:
    return int(sockets[0].getsockname()[1]) if sockets else 0


def _listen(family: int, address: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows: SO_REUSEADDR there would share a taken port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(2048)
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except OSError:
        sock.close()
        raise
    return sock


def _bind_problem(problem: OSError, host: str, port: int) -> str:
    if problem.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is in use, perhaps by another Mesh server: "
            f"stop that one, or choose a port with --port or MESH_PORT."
        )
    if problem.errno == errno.EACCES:
        return f"Port {port} needs rights that this user lacks; choose one above 1023 with --port or MESH_PORT."
    return f"Can't listen on {host} port {port}: {problem.strerror or problem}; check MESH_HOST."


async def serve(
    app: Callable[..., Awaitable[None]],
    sockets: list[socket.socket],
    *,
    trusted_proxies: tuple[str, ...],
    tls: tuple[Path, Path] | None,
    on_started: Callable[[], None],
    parent: int | None = None,
) -> bool:
    """Serve until SIGINT or SIGTERM, then let running answers end.

    Args:
        app: the ASGI application.
        sockets: listening sockets; closed at the end.
        trusted_proxies: addresses whose `X-Forwarded-*` headers are believed; none by default.
        tls: certificate and key file, or None for plain HTTP.
        on_started: called once, when connections are accepted.
        parent: a descriptor that is readable when the process that started this one is gone, which ends it, too.

    Returns:
        Whether a person interrupted it (SIGINT).

    Raises:
        StartupError: if the certificate or its key can't be used.
    """
    for name in ("uvicorn.error", "uvicorn.access", "uvicorn"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # our own guard logs each request and each failure
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_S,
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )
    try:
        config.load()
    except OSError as problem:  # ssl.SSLError is one, too
        raise StartupError(
            f"The certificate {tls[0] if tls else ''} or its key can't be used: {problem.strerror or problem}."
        ) from problem
    server = Server(config, on_started)
    loop = asyncio.get_running_loop()

    def parent_gone() -> None:
        loop.remove_reader(parent or 0)
        server.stop()

    if parent is not None:
        loop.add_reader(parent, parent_gone)
    try:
        await server.serve(sockets=sockets)
    finally:
        if parent is not None:
            loop.remove_reader(parent)
        for sock in sockets:
            sock.close()
    return server.interrupted
