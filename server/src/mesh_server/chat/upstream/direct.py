"""Our own connections to providers: kept, bounded, and straight to their address (`http1` is what runs on one)."""

import asyncio
import contextlib
import math
import ssl
import sys
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from mesh_server.chat.upstream.failures import Crowded, Unreachable, no_connection
from mesh_server.chat.upstream.http1 import READ_BYTES, Connection, default_tls, request_bytes
from mesh_server.chat.upstream.names import Names

CONNECT_S = 5.0
#: Connections to one origin; more calls wait for their turn as long as connecting may take.
MOST_CONNECTIONS = 4096
#: Seconds that an unused connection is kept where its server does not say: less than servers commonly do, so that a
#: request is not sent into a connection that is being closed.
KEEP_S = 20.0
#: The same for a server on this machine: Python's keep unused connections for five seconds, and a new one is cheap.
KEEP_LOOPBACK_S = 3.0

#: Largest answer in bytes that is read whole.
MAX_ANSWER_BYTES = 64 * 1024 * 1024

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Origin:
    """Scheme, host and port of a provider, with the connections to it."""

    def __init__(self, scheme: str, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.tls = scheme == "https"
        shown = f"[{host}]" if ":" in host else host
        self.name = shown if port == (443 if self.tls else 80) else f"{shown}:{port}"
        self.keep_s = KEEP_LOOPBACK_S if host in _LOOPBACK else KEEP_S
        self.idle: list[Connection] = []
        self.open = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class DirectAnswer:
    """An answer whose body is still to be read."""

    __slots__ = ("_closed", "_connection", "_direct", "_origin", "status")

    def __init__(self, direct: "Direct", origin: Origin, connection: Connection) -> None:
        self._direct = direct
        self._origin = origin
        self._connection = connection
        self._closed = False
        self.status = connection.status

    def header(self, name: str) -> str | None:
        """Return a header's value by its lower-case name, or None."""
        return self._connection.fields.get(name)

    def headers(self, *prefixes: str) -> dict[str, str]:
        """Return the headers whose lower-case names begin so."""
        return {name: value for name, value in self._connection.fields.items() if name.startswith(prefixes)}

    async def chunk(self) -> bytes:
        """Return what came of the body since the last time, or empty at its end; little is read ahead of the caller.

        Raises:
            Stalled, Broken: if it does not come to its end.
        """
        return await self._connection.chunk()

    async def read(self, limit: int = MAX_ANSWER_BYTES) -> bytes:
        """Return the whole body.

        Raises:
            Stalled, Broken: if it does not come to its end, or is larger than `limit`.
        """
        return await self._connection.read(limit)

    async def close(self) -> None:
        """End the exchange: keep the connection, or close it where the answer did not come to its end."""
        if not self._closed:  # a connection that is given back twice would serve two exchanges at a time
            self._closed = True
            self._direct.give(self._origin, self._connection)


class Direct:
    """Connections to every provider that is reached without a proxy.

    Args:
        tls: how certificates are verified; by default by the machine's own trust store.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._origins: dict[str, Origin] = {}
        self._names = Names()
        self._room = bytearray(READ_BYTES)
        self._find = lru_cache(256)(self._look)
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        idle_s: float,
        within_s: float | None = None,
    ) -> DirectAnswer:
        """Send a request and return its answer, which has to be closed, once its head is there.

        Args:
            method: of HTTP.
            url: absolute.
            headers: sent as they are.
            body: sent whole.
            idle_s: seconds without a byte after which it fails.
            within_s: seconds after which it fails however far it is; None for no such limit.

        Raises:
            Unreachable: if no connection came about.
            Crowded: if there is no room for one.
            Stalled, Broken: afterwards.
            ValueError: if a header would break out of its line.
        """
        origin, target = self._find(url)
        head, content = request_bytes(method, target, origin.name, headers, body)
        ends_at, connect_s = math.inf, CONNECT_S
        if within_s is not None:
            ends_at = asyncio.get_running_loop().time() + within_s
            connect_s = min(connect_s, within_s)
        connection = await self.take(origin, connect_s)
        try:
            await connection.exchange(head, content, idle_s, ends_at)
        except BaseException:  # also a caller that went away: what is in the middle of an exchange serves no other one
            connection.abort()
            self.give(origin, connection)
            raise
        return DirectAnswer(self, origin, connection)

    def origins(self) -> Mapping[str, Origin]:
        """Return the connections by what the addresses behind them begin with."""
        return self._origins

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        self._names.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for origin in self._origins.values():
            for connection in origin.idle:
                connection.abort()
            origin.idle.clear()
        await asyncio.sleep(0)  # the transports close in the loop's next turn

    async def take(self, origin: Origin, connect_s: float = CONNECT_S) -> Connection:
        """Return a connection for one exchange, the one used last or a new one.

        Args:
            origin: where to.
            connect_s: seconds that a turn may take, and connecting.

        Raises:
            Unreachable: if none could be made within the time that connecting may take.
            Crowded: if there is no room for one.
        """
        idle, now = origin.idle, asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if connection.usable and now - connection.idle_since < _keep(origin, connection):
                return connection
            origin.open -= 1
            connection.abort()
        if self._closed:
            raise Unreachable("the server is stopping")
        if origin.open >= MOST_CONNECTIONS:
            await self._turn(origin, connect_s)
            return await self.take(origin, connect_s)
        origin.open += 1
        try:
            return await self._connect(origin, connect_s)
        except BaseException:
            self._left(origin)
            raise

    def give(self, origin: Origin, connection: Connection) -> None:
        """Take a connection back after its exchange."""
        if not connection.finish() or self._closed:
            connection.abort()
            self._left(origin)
            return
        origin.idle.append(connection)
        self._wake_next(origin)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(1.0, self._sweep)

    async def _turn(self, origin: Origin, connect_s: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        origin.waiting.append(turn)
        try:
            async with asyncio.timeout(connect_s):
                await turn
        except TimeoutError:
            raise Crowded("every connection to the provider is in use") from None
        except BaseException:
            if turn.done():  # its turn had come: somebody else's, then
                self._wake_next(origin)
            raise
        finally:
            if not turn.done():
                turn.cancel()  # passed over when its turn comes

    async def _connect(self, origin: Origin, connect_s: float) -> Connection:
        try:
            async with asyncio.timeout(connect_s):
                return await self._connect_one(origin, await self._names.addresses(origin.host, origin.port))
        except (OSError, TimeoutError):  # ssl.SSLError is an OSError
            self._names.forget(origin.host, origin.port)
            # From None: the library's text may name the address, which is the operator's matter.
            raise no_connection() from None

    async def _connect_one(self, origin: Origin, addresses: list[str]) -> Connection:
        """Return a connection to the first address that takes one."""
        loop = asyncio.get_running_loop()
        for number, address in enumerate(addresses, 1):
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, self._room),
                    address,
                    origin.port,
                    ssl=self._context() if origin.tls else None,
                    server_hostname=origin.host if origin.tls else None,
                )
            except OSError:
                if number == len(addresses):
                    raise
            else:
                return connection
        raise OSError("a name without an address")

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = default_tls()
        return self._tls

    def _look(self, url: str) -> tuple[Origin, str]:
        """Return the origin of an address, and what is behind it."""
        scheme, slash, rest = url.partition("://")
        authority, _, path = rest.partition("/")
        prefix = f"{scheme}{slash}{authority}"
        return self._origins.get(prefix) or self._origin(prefix), f"/{path}"

    def _origin(self, prefix: str) -> Origin:
        parts = urlsplit(prefix)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        origin = self._origins[prefix] = Origin(parts.scheme, parts.hostname or "", port)
        return origin

    def _left(self, origin: Origin) -> None:
        origin.open -= 1
        self._wake_next(origin)

    @staticmethod
    def _wake_next(origin: Origin) -> None:
        while origin.waiting:
            turn = origin.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _sweep(self) -> None:
        """Close what was not used for long enough; once a second while there is something to look at."""
        self._sweeping = None
        loop = asyncio.get_running_loop()
        now, left = loop.time(), 0
        for origin in self._origins.values():
            kept = []
            for connection in origin.idle:
                if connection.usable and now - connection.idle_since < _keep(origin, connection):
                    kept.append(connection)
                else:
                    connection.abort()
                    origin.open -= 1
            origin.idle[:] = kept
            left += len(kept)
        if left:
            with contextlib.suppress(RuntimeError):  # the loop is closing
                self._sweeping = loop.call_later(1.0, self._sweep)


def _keep(origin: Origin, connection: Connection) -> float:
    """Return the seconds that an unused connection is kept: what its server says, a second less, or ours."""
    return origin.keep_s if connection.keep_s is None else min(origin.keep_s, max(connection.keep_s - 1.0, 0.0))


def has_roots() -> bool:
    """Return whether this Python finds certificates to trust; elsewhere the other library knows the system's store."""
    paths = ssl.get_default_verify_paths()
    if sys.platform == "win32" or paths.cafile:
        return True
    return bool(paths.capath and any(Path(paths.capath).iterdir()))
