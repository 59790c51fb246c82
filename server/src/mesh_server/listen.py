"""The socket side of the server: binding, serving, and a shutdown that lets streams end.

`protocol` is what speaks HTTP/1.1 on each connection.
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

import uvicorn

from mesh_server.errors import StartupError
from mesh_server.protocol import Protocol

#: Seconds that running answers have to end after a stop was asked for.
DRAIN_S = 30

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
