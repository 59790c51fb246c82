"""The one way out: HTTP to providers, with connections kept, limits on time and size, and no redirects."""

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from mesh_server.chat.upstream.direct import MAX_ANSWER_BYTES, Direct, Origin, has_roots

if TYPE_CHECKING:
    from mesh_server.chat.upstream.proxied import Proxied

#: Seconds without a byte of a stream after which a provider counts as stalled.
IDLE_S = 300.0
#: Seconds without a byte of a whole answer: as long as the official clients wait for one.
WHOLE_S = 600.0

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
        self._proxied: Proxied | None = None
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
            Unreachable, Crowded: before anything was sent.
            Stalled, Broken: afterwards.
        """
        origin = url[: url.find("/", 8)]
        straight = self._straight.get(origin)
        if straight is None:
            straight = self._straight[origin] = self._is_straight(origin)
        way = self._direct if straight else self._through_proxy()
        idle_s = self._idle_s if streams else self._whole_s
        return await way.request(method, url, headers=headers, body=body, idle_s=idle_s, within_s=within_s)

    def origins(self) -> Mapping[str, Origin]:
        """Return our own connections by what the addresses behind them begin with."""
        return self._direct.origins()

    async def close(self) -> None:
        """Close every connection."""
        await self._direct.close()
        if self._proxied is not None:
            await self._proxied.close()

    def _through_proxy(self) -> "Proxied":
        if self._proxied is None:
            from mesh_server.chat.upstream.proxied import Proxied  # noqa: PLC0415 - says itself why

            self._proxied = Proxied()
        return self._proxied

    def _is_straight(self, origin: str) -> bool:
        parts = urlsplit(origin)
        host = parts.hostname or ""
        if host in _LOOPBACK:
            return True
        proxied = (parts.scheme in self._proxies or "all" in self._proxies) and not proxy_bypass(host)
        return not proxied and (parts.scheme == "http" or self._roots)
