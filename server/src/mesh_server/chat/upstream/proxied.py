"""Calls through a proxy, or where Python finds no certificates to trust: by the library, which knows both.

Loaded by the first such call: it is seven megabytes that a server which reaches its providers straight does not pay.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import DetailedPyreqwestError, PyreqwestError, RequestTimeoutError
from pyreqwest.response import Response

from mesh_server.chat.upstream.direct import CONNECT_S, MAX_ANSWER_BYTES
from mesh_server.chat.upstream.failures import Broken, Stalled, UpstreamFailure, no_connection
from mesh_server.native import settle_at_exit

_SECRET_HEADERS = frozenset({"authorization", "x-api-key"})


class ProxiedAnswer:
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


class Proxied:
    """The library's connections, by the silence in seconds that they bear."""

    def __init__(self) -> None:
        self._clients: dict[float, Client] = {}

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        idle_s: float,
        within_s: float | None,
    ) -> ProxiedAnswer:
        """Send a request and return its answer, which has to be closed; as `Direct.request`."""
        builder = self._client(idle_s).request(method, url)
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
        return ProxiedAnswer(sending, response)

    async def close(self) -> None:
        """Close every connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    def _client(self, idle_s: float) -> Client:
        client = self._clients.get(idle_s)
        if client is None:
            settle_at_exit()
            client = self._clients[idle_s] = (
                ClientBuilder()
                .user_agent("mesh-server")
                .connect_timeout(timedelta(seconds=CONNECT_S))
                .read_timeout(timedelta(seconds=idle_s))
                .follow_redirects(enable=False)
                .referer(enable=False)
                .build()
            )
        return client


def _failure(problem: PyreqwestError) -> UpstreamFailure:
    # Only the kind of the failure goes on: the library's text holds the address, which may hold a credential.
    if _never_connected(problem):
        return no_connection()
    if isinstance(problem, RequestTimeoutError):
        return Stalled("nothing came for too long")
    return Broken("the connection ended before the answer did")


def _never_connected(problem: PyreqwestError) -> bool:
    """Return whether nothing was sent.

    The library's classes do not tell: a `ConnectError` may also come after the whole request.
    """
    causes = problem.details["causes"] if isinstance(problem, DetailedPyreqwestError) else None
    return any(cause["message"] == "client error (Connect)" for cause in causes or ())
