"""The one way out: HTTP to providers, with connections kept, limits on time and size, and no redirects."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import DetailedPyreqwestError, PyreqwestError, RequestTimeoutError
from pyreqwest.response import Response

CONNECT_S = 5.0
#: Seconds without a byte of a stream after which a provider counts as stalled.
IDLE_S = 300.0
#: Seconds that a whole answer may take to begin: as long as the official clients wait for one.
WHOLE_S = 600.0
#: Largest answer in bytes that is read whole.
MAX_ANSWER_BYTES = 64 * 1024 * 1024

_SECRET_HEADERS = frozenset({"authorization", "x-api-key"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class UpstreamFailure(Exception):
    """A call that brought no answer. Its text never holds what was sent."""


class Unreachable(UpstreamFailure):
    """No connection could be made: nothing was sent."""


class Stalled(UpstreamFailure):
    """A connection was there, but nothing came for too long."""


class Broken(UpstreamFailure):
    """The connection ended in the middle, or what came is no HTTP or too much."""


class UpstreamAnswer:
    """An answer whose body is still to be read."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self.status = response.status

    def header(self, name: str) -> str | None:
        """Return a header's value, or None."""
        return self._response.get_header(name)

    def headers(self, *prefixes: str) -> dict[str, str]:
        """Return the headers whose names begin so."""
        return {name: value for name, value in self._response.headers.items() if name.startswith(prefixes)}

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes; the next piece is asked for only when the last one was dealt with.

        Raises:
            Stalled, Broken: if it does not come to its end.
        """
        reader = self._response.body_reader
        while True:
            try:
                chunk = await reader.read_chunk()
            except PyreqwestError as problem:
                raise _failure(problem) from None
            if chunk is None:
                return
            yield bytes(chunk)

    async def read(self, limit: int = MAX_ANSWER_BYTES) -> bytes:
        """Return the whole body.

        Raises:
            Stalled, Broken: if it does not come to its end, or is larger than `limit`.
        """
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise Broken("the answer is larger than any answer should be")
            chunks.append(chunk)
        return b"".join(chunks)


class Pool:
    """Connections to providers: through the environment's proxies, and straight to this machine.

    Args:
        idle_s: seconds without a byte after which a stream fails.
        whole_s: seconds without a byte after which another call fails.
    """

    def __init__(self, *, idle_s: float = IDLE_S, whole_s: float = WHOLE_S) -> None:
        self._idle_s = idle_s
        self._whole_s = whole_s
        self._clients: dict[tuple[bool, bool], Client] = {}

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        streams: bool = False,
        within_s: float | None = None,
    ) -> AsyncIterator[UpstreamAnswer]:
        """Send a request; leaving the context before the body's end closes its connection.

        Args:
            method: of HTTP.
            url: absolute.
            headers: sent as they are; those with a key are treated as secrets.
            body: sent whole.
            streams: the answer comes piece by piece.
            within_s: seconds after which the call ends, however far it is.

        Raises:
            Unreachable: before anything was sent.
            Stalled, Broken: afterwards.
        """
        builder = self._client(url, streams=streams).request(method, url)
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
        try:
            yield UpstreamAnswer(response)
        finally:
            await sending.__aexit__(None, None, None)

    async def close(self) -> None:
        """Close every connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    def _client(self, url: str, *, streams: bool) -> Client:
        local = urlsplit(url).hostname in _LOOPBACK
        client = self._clients.get((local, streams))
        if client is None:
            builder = (
                ClientBuilder()
                .user_agent("mesh-server")
                .connect_timeout(timedelta(seconds=CONNECT_S))
                .read_timeout(timedelta(seconds=self._idle_s if streams else self._whole_s))
                .follow_redirects(enable=False)
                .referer(enable=False)
            )
            client = self._clients[local, streams] = (builder.no_proxy() if local else builder).build()
        return client


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
