"""Calls to an issuer: short, bounded, straight to the configured address, never along a redirect."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, urlsplit

import msgspec

from mesh_server.errors import IssuerUnavailable
from mesh_server.native import settle_at_exit

if TYPE_CHECKING:  # loaded by the first call: seven megabytes that a server without an issuer does not pay
    from pyreqwest.client import Client
    from pyreqwest.response import Response

#: Seconds for a whole call to an issuer.
TIMEOUT_S = 10.0
#: Largest document in bytes that is read from an issuer.
MAX_DOCUMENT_BYTES = 256 * 1024

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an issuer answered.

    Attributes:
        status: of HTTP.
        body: the JSON object; empty where the body is none.
        clock_skew_s: seconds by which its clock is ahead of ours; None where it does not say.
    """

    status: int
    body: dict[str, Any] = field(repr=False)
    clock_skew_s: float | None


class Fetcher:
    """Connections to issuers: through the environment's proxies, and straight to this machine."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._clients: dict[bool, Client] = {}

    async def get(self, url: str) -> Fetched:
        """Fetch a document.

        Raises:
            IssuerUnavailable: if nothing usable came in time.
        """
        return await self._call("GET", url, None, None)

    async def post_form(self, url: str, form: dict[str, str], *, basic: tuple[str, str] | None = None) -> Fetched:
        """Send a form, as OAuth's endpoints take it, and return the answer.

        Args:
            url: of the endpoint.
            form: its fields.
            basic: user and password of HTTP Basic authentication.

        Raises:
            IssuerUnavailable: if nothing usable came in time.
        """
        return await self._call("POST", url, form, basic)

    async def close(self) -> None:
        """Close every connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    async def _call(self, method: str, url: str, form: dict[str, str] | None, basic: tuple[str, str] | None) -> Fetched:
        from pyreqwest.exceptions import PyreqwestError  # noqa: PLC0415 - see above

        try:
            request = self._client(url).request(method, url).header("accept", "application/json")
            if basic is not None:
                request = request.basic_auth(*map(quote_plus, basic))  # RFC 6749, section 2.3.1
            if form is not None:
                request = request.form(form)
            async with asyncio.timeout(self._timeout_s), request.build_streamed() as response:
                body = await _read(response)
        except TimeoutError:
            raise _unavailable(url, f"it gave no answer within {self._timeout_s:.0f} s") from None
        except (PyreqwestError, ValueError):  # the latter for an address that the library does not take
            # Only the kind of the failure goes on: the library's text may hold what was sent.
            raise _unavailable(url, "no connection could be made, or it broke") from None
        return Fetched(response.status, _object(body), _skew(response.get_header("date")))

    def _client(self, url: str) -> "Client":
        local = urlsplit(url).hostname in _LOOPBACK
        client = self._clients.get(local)
        if client is None:
            from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - see above

            settle_at_exit()
            builder = (
                ClientBuilder()
                .user_agent("mesh-server")
                .timeout(timedelta(seconds=self._timeout_s))
                .follow_redirects(enable=False)
                .referer(enable=False)
            )
            client = self._clients[local] = (builder.no_proxy() if local else builder).build()
        return client


async def _read(response: "Response") -> bytes:
    chunks: list[bytes] = []
    size = 0
    while (chunk := await response.body_reader.read_chunk()) is not None:
        size += len(chunk)
        if size > MAX_DOCUMENT_BYTES:
            raise IssuerUnavailable("The issuer's answer is larger than any such answer should be.")
        chunks.append(bytes(chunk))
    return b"".join(chunks)


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _skew(date: str | None) -> float | None:
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return None


def _unavailable(url: str, why: str) -> IssuerUnavailable:
    return IssuerUnavailable(f"The issuer at {urlsplit(url).netloc} can't be used now: {why}.")
