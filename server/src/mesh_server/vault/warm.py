"""Keys that calls to providers use again and again: kept sealed for a second, so that a call reads no database.

What is kept is what the database has, the sealed value and its sealed data key; it is opened for each call anew and
only for as long as that lasts. A key or a grant that is taken away is refused within two seconds (docs/adr/0057).
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mesh_server.accounts.models import Account, Principal
from mesh_server.ids import now_us
from mesh_server.vault.sealed import SealedKey

#: Seconds for which a key is kept.
KEEP_S = 1.0
_MOST = 10_000

Place = tuple[str, str, str | None, str | None, tuple[str, ...], str | None]


@dataclass(frozen=True, slots=True)
class WarmKey:
    """A sealed key, and the account that holds it."""

    holder: Account
    key: SealedKey
    until: float


class Warm:
    """What one process keeps."""

    def __init__(self) -> None:
        self._kept: dict[Place, WarmKey] = {}
        self._forgotten = 0

    @property
    def moment(self) -> int:
        """How often everything was forgotten; to be taken before the database is asked, and handed to `keep`."""
        return self._forgotten

    def find(self, place: Place) -> WarmKey | None:
        """Return what is kept for a place, if it may still be used."""
        known = self._kept.get(place)
        if known is None or known.until < time.monotonic():
            return None
        expires_at = known.key.record.expires_at
        return None if expires_at is not None and expires_at <= now_us() else known

    def keep(self, moment: int, place: Place, holder: Account, key: SealedKey) -> None:
        """Keep a key, unless everything was forgotten while it was being read."""
        if moment != self._forgotten:
            return
        if len(self._kept) >= _MOST:
            self._kept.clear()
        self._kept[place] = WarmKey(holder, key, time.monotonic() + KEEP_S)

    def forget(self) -> None:
        """Forget everything: something was changed or taken away."""
        self._forgotten += 1
        self._kept.clear()

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Forget everything when a change is over, whatever came of it."""
        try:
            yield
        finally:
            self.forget()


def place_of(principal: Principal, names: tuple[str, ...], owner: str | None) -> Place:
    """Return what tells two uses apart: who calls by which credential, and which keys are looked for, whose."""
    return principal.tenant_id, principal.account_id, principal.token_id, principal.acting, names, owner
