"""The one way out: HTTP to providers, with connections kept, limits on time and size, and no redirects."""

import ssl
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import DetailedPyreqwestError, PyreqwestError, RequestTimeoutError
from pyreqwest.request import RequestBuilder
from pyreqwest.response import Response

from mesh_server.chat.upstream.direct import CONNECT_S, MAX_ANSWER_BYTES, Direct, Origin, has_roots
from mesh_server.chat.upstream.failures import Broken, Stalled, Unreachable, UpstreamFailure
from mesh_server.native import settle_at_exit

#: Seconds without a byte of a stream after which a provider counts as stalled.
IDLE_S = 300.0
#: Seconds without a byte of a whole answer: as long as the official clients wait for one.
WHOLE_S = 600.0

_SECRET_HEADERS = frozenset({"authorization", "x-api-key"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class UpstreamAnswer(Protocol):
    """An answer whose body is still to be read."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    def header(self, name: str) -> str | None:
        """Return a header's value by its lower-case name, or None."""

    def headers(self, *prefixes: str) -> dict[str, str]:
        """Return the headers whose lower-case names begin so."""

    async def chunk(self) -> bytes:
        """Return what came of the body since the last time, or empty at its end; little is read ahead of the caller.

        Raises:
            Stalled, Broken: if it does not come to its end.
        """

    async def read(self, limit: int = MAX_ANSWER_BYTES) -> bytes:
        """Return the whole body.

        Raises:
            Stalled, Broken: if it does not come to its end, or is larger than `limit`.
        """

    async def close(self) -> None:
        """End the exchange; before the body's end this closes its connection."""


class _ProxiedAnswer:
    """An answer that came through the other library.

    Args:
        sending: the library's context of the exchange.
        response: what it gave.
    """

    def __init__(self, sending: Any, response: Response) -> None:
        self._sending = sending
        self._response = response
        self.status = response.status

    def header(self, name: str) -> str | None:
        """Return a header's value, or None."""
        return self._response.get_header(name)

    def headers(self, *prefixes: str) -> dict[str, str]:
        """Return the headers whose names begin so."""
        return {name: value for name, value in self._response.headers.items() if name.startswith(prefixes)}

    async def chunk(self) -> bytes:
        """Return the next piece of the body; empty at its end.

        Raises:
            Stalled, Broken: if it does not come to its end.
        """
        try:
            while (piece := await self._response.body_reader.read_chunk()) is not None:
                if piece:
                    return bytes(piece)
        except PyreqwestError as problem:
            raise _failure(problem) from None
        return b""

    async def read(self, limit: int = MAX_ANSWER_BYTES) -> bytes:
        """Return the whole body.

        Raises:
            Stalled, Broken: if it does not come to its end, or is larger than `limit`.
        """
        chunks: list[bytes] = []
        size = 0
        while piece := await self.chunk():
            size += len(piece)
            if size > limit:
                raise Broken("the answer is larger than any answer should be")
            chunks.append(piece)
        return b"".join(chunks)

    async def close(self) -> None:
        """End the exchange."""
        await self._sending.__aexit__(None, None, None)


class Pool:
    """Connections to providers: our own where they are reached straight, the library's through a proxy.

    Args:
        idle_s: seconds without a byte after which a stream fails.
        whole_s: seconds without a byte after which another call fails.
        tls: how certificates are verified; by default by the machine's trust store.
    """

    def __init__(self, *, idle_s: float = IDLE_S, whole_s: float = WHOLE_S, tls: ssl.SSLContext | None = None) -> None:
        self._idle_s = idle_s
        self._whole_s = whole_s
        self._direct = Direct(tls)
        self._clients: dict[bool, Client] = {}
        self._proxies = getproxies()
        self._straight: dict[str, bool] = {}
        self._roots = tls is not None or has_roots()

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        streams: bool = False,
        within_s: float | None = None,
    ) -> UpstreamAnswer:
        """Send a request and return its answer, which has to be closed, once its head is there.

        Args:
            method: of HTTP.
            url: absolute.
            headers: sent as they are; `authorization` is treated as a secret.
            body: sent whole.
            streams: the answer comes piece by piece.
            within_s: seconds after which the call ends, however far it is.

        Raises:
            Unreachable: before anything was sent.
            Stalled, Broken: afterwards.
        """
        origin = url[: url.find("/", 8)]
        straight = self._straight.get(origin)
        if straight is None:
            straight = self._straight[origin] = self._is_straight(origin)
        if straight:
            idle_s = self._idle_s if streams else self._whole_s
            return await self._direct.request(method, url, headers=headers, body=body, idle_s=idle_s, within_s=within_s)
        return await _proxied(self._library(streams=streams).request(method, url), headers, body, within_s)

    def origins(self) -> Mapping[str, Origin]:
        """Return our own connections by what the addresses behind them begin with."""
        return self._direct.origins()

    async def close(self) -> None:
        """Close every connection."""
        await self._direct.close()
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    def _is_straight(self, origin: str) -> bool:
        parts = urlsplit(origin)
        host = parts.hostname or ""
        if host in _LOOPBACK:
            return True
        proxied = (parts.scheme in self._proxies or "all" in self._proxies) and not proxy_bypass(host)
        return not proxied and (parts.scheme == "http" or self._roots)

    def _library(self, *, streams: bool) -> Client:
        client = self._clients.get(streams)
        if client is None:
            settle_at_exit()
            client = self._clients[streams] = (
                ClientBuilder()
                .user_agent("mesh-server")
                .connect_timeout(timedelta(seconds=CONNECT_S))
                .read_timeout(timedelta(seconds=self._idle_s if streams else self._whole_s))
                .follow_redirects(enable=False)
                .referer(enable=False)
                .build()
            )
        return client


async def _proxied(
    builder: RequestBuilder, headers: Mapping[str, str], body: bytes | None, within_s: float | None
) -> UpstreamAnswer:
    for name, value in headers.items():
        builder = builder.header(name, value, is_sensitive=name in _SECRET_HEADERS)
    if body is not None:
        builder = builder.body_bytes(body)
    if within_s is not None:
        builder = builder.timeout(timedelta(seconds=within_s))
    # Without a limit of 0 the library would wait for the first 64 KiB of a stream before it hands anything on.
    sending = builder.streamed_read_buffer_limit(0).build_streamed()
    try:
        response = await sending.__aenter__()
    except PyreqwestError as problem:
        raise _failure(problem) from None
    return _ProxiedAnswer(sending, response)


def _failure(problem: PyreqwestError) -> UpstreamFailure:
    # Only the kind of the failure goes on: the library's text holds the address, which may hold a credential.
    if _never_connected(problem):
        return Unreachable("no connection could be made")
    if isinstance(problem, RequestTimeoutError):
        return Stalled("nothing came for too long")
    return Broken("the connection ended before the answer did")


def _never_connected(problem: PyreqwestError) -> bool:
    """Return whether nothing was sent.

    The library's classes do not tell: a `ConnectError` may also come after the whole request.
    """
    causes = problem.details["causes"] if isinstance(problem, DetailedPyreqwestError) else None
    return any(cause["message"] == "client error (Connect)" for cause in causes or ())
