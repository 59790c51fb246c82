"""Addresses of providers: a name is looked up once for all who ask at a time, and its addresses are known for a moment.

Names are looked up in a few threads of the event loop's library. Were each call to look for itself, the calls to one
provider whose name nobody answers for would take all of them for seconds, and calls to the others would wait behind.
"""

import asyncio
import ipaddress
import socket

#: Seconds for which addresses are known.
KEEP_S = 10.0

_Host = tuple[str, int]


class Names:
    """Looks names up, for one event loop."""

    def __init__(self) -> None:
        self._known: dict[_Host, tuple[float, list[str]]] = {}
        self._asked: dict[_Host, asyncio.Task[list[str]]] = {}

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, the preferred one first; a caller that goes away takes nothing from others.

        Args:
            host: its name, or an address.
            port: where it is called.

        Raises:
            OSError: if it has none, or nobody says.
        """
        if _is_address(host):
            return [host]
        place, loop = (host, port), asyncio.get_running_loop()
        known = self._known.get(place)
        if known is not None and loop.time() < known[0]:
            return known[1]
        asked = self._asked.get(place)
        if asked is None:
            asked = self._asked[place] = loop.create_task(self._look(place))
            asked.add_done_callback(_seen)
        await asyncio.wait((asked,))  # not the task itself: who is cancelled here ends nobody else's waiting
        if asked.cancelled():
            raise OSError("the server is stopping")
        return asked.result()

    def forget(self, host: str, port: int) -> None:
        """Forget addresses: none of them answered."""
        self._known.pop((host, port), None)

    def close(self) -> None:
        """Give up what is being looked for."""
        for asked in self._asked.values():
            asked.cancel()

    async def _look(self, place: _Host) -> list[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(*place, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(_text(address) for *_, address in found))
            self._known[place] = loop.time() + KEEP_S, addresses
            return addresses
        finally:
            del self._asked[place]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _text(address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    host, scope = str(address[0]), address[3] if len(address) == 4 else 0
    return f"{host}%{scope}" if scope and "%" not in host else host


def _seen(asked: "asyncio.Task[list[str]]") -> None:
    """Take note of a failure that nobody waits for any more; whoever waits is told of it as well."""
    if not asked.cancelled():
        asked.exception()
