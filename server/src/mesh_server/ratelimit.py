"""A limit on how often one address may ask, for endpoints that nobody has to log in for."""

import time

from mesh_server.addresses import network_of
from mesh_server.errors import RateLimited

#: Addresses that are remembered.
_MOST_ADDRESSES = 10_000


class AddressLimit:
    """A token bucket for each address; kept in this process alone.

    Args:
        burst: requests that may come at once.
        every_s: seconds after which one more may come.
    """

    def __init__(self, *, burst: int, every_s: float) -> None:
        self._burst = burst
        self._every_s = every_s
        self._full_at: dict[str, float] = {}  # when each bucket will be full again

    def take(self, address: str) -> None:
        """Count one request.

        Raises:
            RateLimited: with the seconds until the next one may come.
        """
        now = time.monotonic()
        key = network_of(address) or address
        moment = max(self._full_at.get(key, now), now) + self._every_s
        wait = moment - now - self._burst * self._every_s
        if wait > 0:
            raise RateLimited("Too many requests from this address.", retry_after=wait)
        if len(self._full_at) >= _MOST_ADDRESSES:
            self._full_at = {known: full for known, full in self._full_at.items() if full > now}
        if len(self._full_at) >= _MOST_ADDRESSES and key not in self._full_at:
            del self._full_at[next(iter(self._full_at))]  # the one that has been known for longest
        self._full_at[key] = moment
