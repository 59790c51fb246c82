"""Keys that calls to providers use again and again: kept ready to be opened, so that a call reads no database.

What is kept is the sealed value and the key of this one message (`crypto.Ready`); it is opened for each call anew, and
the value lives as long as that. A key or a grant that is taken away is refused within two seconds (docs/adr/0106).
"""

import time

from mesh_server.accounts.models import Account, Principal
from mesh_server.ids import now_us
from mesh_server.vault.crypto import Ready
from mesh_server.vault.models import KeyRecord

#: Seconds for which a key is kept where nobody confirms that nothing was changed.
KEEP_S = 1.0
#: Seconds for which a confirmation is believed: one more than until the next one.
CONFIRMED_S = 2.0
#: Seconds after its last use for which a key is kept at the most.
UNUSED_S = 60.0
_MOST = 10_000

Place = tuple[str, str, str | None, str | None, tuple[str, ...], str | None]


class WarmKey:
    """A key ready to be opened, and the account that holds it. `repr` shows nothing of it.

    `lasting` ones are kept for as long as nothing is changed; a shared one is not, for its grant ends by the clock.
    """

    __slots__ = ("holder", "lasting", "ready", "record", "until", "used_at")

    def __init__(self, holder: Account, record: KeyRecord, ready: Ready, *, lasting: bool) -> None:
        self.holder = holder
        self.record = record
        self.ready = ready
        self.lasting = lasting
        self.used_at = time.monotonic()
        self.until = self.used_at + KEEP_S


class Warm:
    """What one process keeps.

    Attributes:
        changing: the context of a change of a key or a grant: all is forgotten behind it.
    """

    def __init__(self) -> None:
        self.changing = _Changing(self)
        self._kept: dict[Place, WarmKey] = {}
        self._forgotten = 0
        self._confirmed_until = 0.0

    @property
    def moment(self) -> int:
        """How often everything was forgotten; to be taken before the database is asked, and handed to `keep`."""
        return self._forgotten

    def find(self, place: Place) -> WarmKey | None:
        """Return what is kept for a place, if it may still be used."""
        known = self._kept.get(place)
        if known is None:
            return None
        now = time.monotonic()
        if known.until < now and not (known.lasting and now <= self._confirmed_until):
            return None
        known.used_at = now
        expires_at = known.record.expires_at
        return None if expires_at is not None and expires_at <= now_us() else known

    def keep(self, moment: int, place: Place, key: WarmKey) -> None:
        """Keep a key, unless everything was forgotten while it was being read."""
        if moment != self._forgotten:
            return
        if len(self._kept) >= _MOST:
            self._kept.clear()
        self._kept[place] = key

    def forget(self) -> None:
        """Forget everything: something was changed or taken away."""
        self._forgotten += 1
        self._kept.clear()

    def confirm(self, asked_at: float) -> None:
        """Keep what is in use for longer: no other process had written anything by `asked_at` (seconds, monotonic)."""
        self._confirmed_until = asked_at + CONFIRMED_S
        unused = [place for place, key in self._kept.items() if key.used_at < asked_at - UNUSED_S]
        for place in unused:
            del self._kept[place]


class _Changing:
    """Forgets everything when a change is over, whatever came of it."""

    __slots__ = ("_warm",)

    def __init__(self, warm: Warm) -> None:
        self._warm = warm

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._warm.forget()


def place_of(principal: Principal, names: tuple[str, ...], owner: str | None) -> Place:
    """Return what tells two uses apart: who calls by which credential, and which keys are looked for, whose."""
    return principal.tenant_id, principal.account_id, principal.token_id, principal.acting, names, owner
