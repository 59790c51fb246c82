"""A caller's own `httpx2` client as what sends requests: for its proxies, its certificates, its event hooks.

    client = mesh.MeshClient(transport=Httpx2Transport(httpx2.Client(proxy="http://proxy:3128")))

The client stays the caller's: it is not closed here. A call costs several times what Mesh's own transport makes of it.
Its limits are per phase, so that a call may take its time twice before it ends.
"""

import ssl
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2

from mesh._transport import Reply, TransportFailure, WireRequest

__all__ = ["AsyncHttpx2Transport", "Httpx2Transport"]

#: Nothing was sent when one of these is raised.
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)


class Httpx2Transport:
    """Sends the requests of a `MeshClient` through an `httpx2.Client`.

    Args:
        client: yours; it is not closed here.

    Raises:
        TypeError: if it is none.
    """

    def __init__(self, client: httpx2.Client) -> None:
        if not isinstance(client, httpx2.Client):
            raise TypeError(f"client must be an httpx2.Client, not {type(client).__name__}")
        self._client = client

    def send(self, request: WireRequest) -> Reply:
        """Send one request."""
        deadline = time.monotonic() + request.timeout
        try:
            response = self._client.send(_built(self._client, request), stream=True, auth=None, follow_redirects=False)
        except (httpx2.HTTPError, RuntimeError) as problem:
            raise _failure(problem) from None
        body = _Pieces(response)
        reply = Reply(response.status_code, _headers(response))
        if request.streamed and reply.status == 200:
            reply.stream = body
            return reply
        pieces = []
        try:
            for piece in body:
                pieces.append(piece)
                if time.monotonic() > deadline:
                    raise TransportFailure("timeout")
        finally:
            body.close()
        reply.body = b"".join(pieces)
        return reply

    def close(self) -> None:
        """Leave the client as it is: it is the caller's."""


class AsyncHttpx2Transport:
    """Sends the requests of an `AsyncMeshClient` through an `httpx2.AsyncClient`.

    Args:
        client: yours; it is not closed here.

    Raises:
        TypeError: if it is none.
    """

    def __init__(self, client: httpx2.AsyncClient) -> None:
        if not isinstance(client, httpx2.AsyncClient):
            raise TypeError(f"client must be an httpx2.AsyncClient, not {type(client).__name__}")
        self._client = client

    async def send(self, request: WireRequest) -> Reply:
        """Send one request."""
        deadline = time.monotonic() + request.timeout
        try:
            built = _built(self._client, request)
            response = await self._client.send(built, stream=True, auth=None, follow_redirects=False)
        except (httpx2.HTTPError, RuntimeError) as problem:
            raise _failure(problem) from None
        body = _AsyncPieces(response)
        reply = Reply(response.status_code, _headers(response))
        if request.streamed and reply.status == 200:
            reply.stream = body
            return reply
        pieces = []
        try:
            async for piece in body:
                pieces.append(piece)
                if time.monotonic() > deadline:
                    raise TransportFailure("timeout")
        finally:
            await body.aclose()
        reply.body = b"".join(pieces)
        return reply

    async def close(self) -> None:
        """Leave the client as it is: it is the caller's."""


class _Pieces:
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_bytes()
        except (httpx2.HTTPError, httpx2.StreamError) as problem:
            raise _failure(problem) from None

    def close(self) -> None:
        self._response.close()


class _AsyncPieces:
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._response.aiter_bytes():
                yield piece
        except (httpx2.HTTPError, httpx2.StreamError) as problem:
            raise _failure(problem) from None

    async def aclose(self) -> None:
        await self._response.aclose()


def _built(client: Any, request: WireRequest) -> httpx2.Request:
    built: httpx2.Request = client.build_request(
        request.method, request.url, headers=list(request.headers), content=request.body, timeout=request.timeout
    )
    return built


def _headers(response: httpx2.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _failure(problem: Exception) -> TransportFailure:
    # Only the kind goes on: the library's text may hold the address.
    if isinstance(problem, _UNSENT):
        untrusted = isinstance(problem.__cause__, ssl.SSLError) or "CERTIFICATE" in str(problem)
        return TransportFailure("connect", "certificate" if untrusted else None)
    if isinstance(problem, httpx2.TimeoutException):
        return TransportFailure("timeout")
    if isinstance(problem, RuntimeError):  # what it raises once it was closed
        return TransportFailure("closed")
    return TransportFailure("broken")
