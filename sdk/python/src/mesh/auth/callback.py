"""The loopback listener that a browser is sent back to (RFC 8252 section 7.3).

It listens on 127.0.0.1 and ::1 alike, for `localhost` is either to a browser; on one port, for an issuer like Auth0
knows the exact addresses. What it hears goes into a queue; what the browser sees is decided by who reads that queue.
"""

import contextlib
import errno
import http.server
import queue
import socket
import threading
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from mesh.auth import page
from mesh.auth.browser import CALLBACK_PATH
from mesh.errors import local_error

#: Seconds that a browser waits for the outcome, and that one may take to send its request.
_PATIENCE_S, _REQUEST_S = 60.0, 10.0
#: Seconds that closing waits for the last page to leave.
_LAST_PAGE_S = 2.0
#: A machine without IPv6 says one of these; then 127.0.0.1 is all there is to listen on.
_NO_SUCH_FAMILY = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})


class Visit:
    """A browser that came to the callback, and waits for a page."""

    def __init__(self, query: str) -> None:
        self.query = query
        self._page: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()

    def answer(self, status: int, content: bytes) -> None:
        """Show it a page."""
        self._page.put((status, content))

    def wait(self) -> tuple[int, bytes]:
        """Return the page once it is known."""
        try:
            return self._page.get(timeout=_PATIENCE_S)
        except queue.Empty:
            return 500, page.failed("The program that asked for the login is gone.")


class Listener:
    """Waits for a browser; close it in any case."""

    def __init__(self, ports: Iterable[int]) -> None:
        """Take the first port that is free on both loopback addresses.

        Raises:
            LoginFailed: `login_port_taken` if none is.
        """
        tried = list(ports)
        for port in tried:
            sockets = _bind(port)
            if sockets:
                break
        else:
            which = f"port {tried[0]} is" if len(tried) == 1 else f"ports {tried[0]} to {tried[-1]} are"
            raise local_error("login_port_taken", f"The {which} in use by other programs.", {"ports": tried})
        self.port: int = sockets[0].getsockname()[1]
        self.visits: queue.SimpleQueue[Visit] = queue.SimpleQueue()
        self._heard: list[Visit] = []
        self._servers = [_Server(found, self.visits) for found in sockets]
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.1,), name="mesh-login-callback", daemon=True)
            for server in self._servers
        ]
        for thread in self._threads:
            thread.start()

    @property
    def redirect_uri(self) -> str:
        """The address to register at the issuer."""
        return f"http://localhost:{self.port}{CALLBACK_PATH}"

    def heard(self) -> Visit | None:
        """Return the next visit, or None where there is none yet."""
        try:
            self._heard.append(self.visits.get_nowait())
        except queue.Empty:
            return None
        return self._heard[-1]

    def close(self) -> None:
        """Give the port back; browsers that still wait are told."""
        while self.heard():
            pass
        for visit in self._heard:  # who has an answer does not read this one
            visit.answer(410, page.failed("The login was given up before it was finished."))
        for server in self._servers:
            server.shutdown()
        for server in self._servers:
            server.server_close()
        for thread in self._threads:
            thread.join(5)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, bound: socket.socket, visits: "queue.SimpleQueue[Visit]") -> None:
        self.visits = visits
        self._idle: set[socket.socket] = set()
        self._working: set[socket.socket] = set()
        self._change = threading.Condition()
        super().__init__(bound.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()  # the one that the base class made; ours is bound already
        self.socket = bound
        self.port: int = bound.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._change:
            self._idle.add(request)
        super().process_request(request, client_address)

    def working(self, request: socket.socket) -> None:
        """Note that a connection has a request: it is not cut off at the end."""
        with self._change:
            self._idle.discard(request)
            self._working.add(request)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._change:
            self._idle.discard(request)
            self._working.discard(request)
            self._change.notify_all()

    def server_close(self) -> None:
        """Close, once the pages that are on their way have left: the program may end right after."""
        super().server_close()
        with self._change:
            self._change.wait_for(lambda: not self._working, timeout=_LAST_PAGE_S)
            for connection in self._idle:  # browsers open connections ahead of need
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that hung up: the base class would print a traceback."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = _REQUEST_S
    server_version = "mesh"
    sys_version = ""

    def do_GET(self) -> None:
        self.server.working(self.connection)
        parts = urlsplit(self.path)
        if not self._addressed() or parts.path != CALLBACK_PATH:
            self._send(404, page.stray())
            return
        visit = Visit(parts.query)
        self.server.visits.put(visit)
        self._send(*visit.wait())

    def _addressed(self) -> bool:
        """Return whether the browser meant this listener, and not a name that somebody bent to it."""
        port = self.server.port
        return self.headers.get("host", "").lower() in {f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"}

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        for name, value in page.HEADERS:
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Log nothing: the request line holds the code."""


def _bind(port: int) -> list[socket.socket]:
    """Return a socket for each loopback address, all on one port; none where the port is taken on any."""
    found: list[socket.socket] = []
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            made = socket.socket(family, socket.SOCK_STREAM)
        except OSError as problem:
            if found and problem.errno in _NO_SUCH_FAMILY:
                continue
            raise
        try:
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows would share the port with a thief
                made.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that is only cooling down is free
            made.bind((address, found[0].getsockname()[1] if found else port))
            made.listen(16)
        except OSError as problem:
            made.close()
            if found and problem.errno in _NO_SUCH_FAMILY:
                continue
            for other in found:
                other.close()
            return []
        found.append(made)
    return found
