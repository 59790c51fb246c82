"""Who a client is.

In this order: (1) the `auth_token` argument; (2) MESH_AUTH_TOKEN; (3) the login stored for this server, renewed when it
is due; (4) the token in the profile, as `mesh-server dev` leaves it; (5) where a person is at a terminal: a login, now.

(1) and (2) are never stored and never renewed. To a server that nobody chose nothing is sent before a person agreed.
"""

import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mesh import _debug
from mesh._config import HOSTED_URL, Config, profile_token
from mesh._plan import Plan, acquire, do, finish
from mesh._secret import Secret
from mesh.auth.overrides import Overrides, issuer_of
from mesh.auth.terminal import interactive
from mesh.errors import MeshError, SessionEnded, local_error

if TYPE_CHECKING:  # they are loaded where a stored login is looked for: a token that was given needs none of it
    from mesh.auth.logins import Login
    from mesh.auth.store import Store

#: Seconds before its end that a login is renewed, at most.
REFRESH_MARGIN_S = 300.0
#: Seconds that a caller waits for another process that renews, and for another thread whose person logs in.
_RENEW_WAIT_S, _PERSON_WAIT_S = 90.0, 3600.0
#: Seconds in which a failed renewal is not tried again while the old token is still good.
_PAUSE_S = 10.0


class Credentials:
    """The login of one client. Safe over threads, event loops and processes."""

    def __init__(
        self,
        config: Config,
        overrides: Overrides,
        *,
        ports: Sequence[int],
        auto_refresh: bool = True,
    ) -> None:
        self._config = config
        self._overrides = overrides
        self._ports = ports
        self._auto = auto_refresh
        self._opened: Store | None = None
        self._agreed, self._declined = config.agreed, False
        self._kept: Login | None = None
        self._unsaved: Login | None = None
        self._from_profile: Secret | None = None
        self._pause_until = 0.0
        self._busy = threading.Lock()
        self._process = os.getpid()
        #: Seconds before its end that a login is renewed; of a short one, a fifth of its life at most.
        self.margin = REFRESH_MARGIN_S
        #: The share of that time which calls wait for: less than all of it where a thread renews in the background.
        self.share = 1.0
        #: Whether the last call found no login, and nobody to ask.
        self.missing = False

    @property
    def renewable(self) -> bool:
        """Whether a login is looked for that may be renewed: not where a token was given, or nothing shall be."""
        return self._auto and self._config.token is None

    @property
    def kept(self) -> "Login | None":
        """The stored login as it was last seen; None before it was needed, or where there is none."""
        return self._kept

    def ready(self) -> Secret | None:
        """Return the token if nothing has to be done for it: no file, no lock, no network."""
        login = self._kept
        if login is not None:
            if not self._auto:
                return None if login.expired() else login.access_token
            if not login.due(self.margin, self.share):
                return login.access_token
            paused = login.refresh_token is None or time.monotonic() < self._pause_until
            return login.access_token if paused and not login.expired() else None
        if not self._agreed:
            return None
        return self._config.token or self._from_profile

    def token(self) -> Plan[Secret]:
        """Return the token to send.

        Raises:
            AuthenticationError: if there is no login, or it has ended.
            ConfigurationError: if nobody agreed to the server, or the store can't be read.
            ConnectionFailed: if it must be renewed and can't be now.
        """
        ready = self.ready()
        if ready is not None:
            return ready
        if not self._agreed:
            yield from self._agreement()
        if self._config.token is not None:  # (1), (2)
            return self._config.token
        self.missing = False
        login = self._kept or (yield from self._stored())
        if login is not None:  # (3)
            return (yield from self._current(login, self.share)).access_token
        self._from_profile = yield from do(self._profile_token)  # (4)
        if self._from_profile is not None:
            return self._from_profile
        return (yield from self._person()).access_token  # (5)

    def renew(self, refused: Secret) -> Plan[Secret | None]:
        """Return a new token in place of one that the server refused; None where this login can't be renewed.

        Raises:
            MeshError: as `token`.
        """
        if self._kept is None or not self.renewable:
            self._from_profile = None  # its file may hold another one by now: the next call looks
            return None
        return (yield from finish(self._renewed(refused))).access_token

    def renew_in_background(self) -> Plan[float | None]:
        """Renew the login if that is due, and return the seconds until it is again; None: there is nothing to renew."""
        login = self._kept or (yield from self._stored())
        if login is None or login.refresh_token is None or not self.renewable:
            return None
        login = yield from self._current(login, 1.0)
        pause = self._pause_until - time.monotonic()
        return max(0.05, pause, login.renew_at(self.margin) - time.time())

    def keep(self, login: "Login") -> Plan[None]:
        """Store a new login in place of whatever is there."""
        yield from do(self._store.prepare)
        yield from self._locked()
        try:
            yield from do(lambda: self._store.save(login))
        finally:
            self._store.lock.release()
        self._kept, self._from_profile, self._unsaved = login, None, None

    # --- the stored login ---

    @property
    def _store(self) -> "Store":
        if self._opened is None:
            from mesh.auth.store import Store  # noqa: PLC0415 - see above

            self._opened = Store(self._config.folder, self._config.server_url)
        return self._opened

    def _stored(self) -> Plan["Login | None"]:
        if self._config.token is not None:
            return None
        login = yield from do(self._load)
        if login is not None and not self._fits(login):
            login = None
        self._kept = login
        return login

    def _load(self) -> "Login | None":
        """Read the store; what is damaged is put aside, once."""
        from mesh.auth.store import Damaged  # noqa: PLC0415 - see above

        try:
            return self._store.load()
        except Damaged:
            pass
        deadline = time.monotonic() + _RENEW_WAIT_S
        while not self._try_file():
            if time.monotonic() > deadline:
                raise self._held()
            time.sleep(0.02)
        try:
            self._store.set_aside()
        finally:
            self._store.lock.release()
        return None

    def _fits(self, login: "Login") -> bool:
        """Return whether a login is of the issuer and the client that were named, where they were."""
        named = self._overrides
        return (
            (named.client_id is None or named.client_id == login.client_id)
            and (named.audience is None or named.audience == login.audience)
            and (named.domain is None or issuer_of(named.domain).rstrip("/") == login.issuer.rstrip("/"))
        )

    def _current(self, login: "Login", share: float) -> Plan["Login"]:
        """Return the login, renewed if that is due; while the old token is good, a failure of that can wait."""
        if not self._auto:
            return ((yield from self._stored()) or login) if login.expired() else login
        paused = login.refresh_token is None or time.monotonic() < self._pause_until
        if not login.due(self.margin, share) or (paused and not login.expired()):
            return login
        try:
            return (yield from finish(self._renewed(None)))
        except SessionEnded:
            raise
        except MeshError as problem:
            if login.expired():
                raise
            self._pause_until = time.monotonic() + _PAUSE_S
            _debug.tell("the login could not be renewed yet: %s", problem.code)
            return login

    def _renewed(self, refused: Secret | None) -> Plan["Login"]:
        """Thread lock, file lock, re-read, refresh, store: so that of all who want it, one does it."""
        yield from self._alone(_RENEW_WAIT_S)
        try:
            if self._kept is not None and self._good(self._kept, refused):
                return self._kept  # another thread was faster
            yield from do(self._store.prepare)
            yield from self._locked()
            try:
                return (yield from self._renewed_alone(refused))
            finally:
                self._store.lock.release()
        finally:
            self._busy.release()

    def _renewed_alone(self, refused: Secret | None) -> Plan["Login"]:
        from mesh.auth import refresh  # noqa: PLC0415 - once an hour

        stored = yield from do(self._stored_now)
        if stored is None or not self._fits(stored):
            self._kept = None
            raise local_error("session_ended", f"The login for {self._config.server_url} was ended by a logout.")
        if self._good(stored, refused):  # another process was faster
            self._kept = stored
            return stored
        try:
            fresh = yield from refresh.renew(stored, self._overrides.client_secret)
        except SessionEnded:
            if stored.refresh_token is not None:
                yield from do(self._store.erase)
            self._kept = self._unsaved = None
            raise
        _debug.tell("the login for %s was renewed", self._config.server_url)
        self._kept = self._unsaved = fresh
        yield from do(lambda: self._save(fresh))
        return fresh

    def _stored_now(self) -> "Login | None":
        """Return what is stored, or what a full disk kept from being stored. The lock is held."""
        from mesh.auth.store import Damaged  # noqa: PLC0415 - see above

        try:
            stored = self._store.load()
        except Damaged:
            self._store.set_aside()
            stored = None
        unsaved = self._unsaved
        if unsaved is not None and stored is not None and stored.obtained_at < unsaved.obtained_at:
            return unsaved
        return stored

    def _save(self, login: "Login") -> None:
        try:
            self._store.save(login)
        except MeshError as problem:
            _debug.warn("The renewed login could not be stored, and ends with this program: %s", problem.message)
        else:
            self._unsaved = None

    def _good(self, login: "Login", refused: Secret | None) -> bool:
        """Return whether a login is another than the one that was refused, and not due."""
        other = refused is None or login.access_token != refused
        return other and not login.due(self.margin)

    # --- locks ---

    def _alone(self, limit_s: float) -> Plan[None]:
        if self._process != os.getpid():  # the thread that held it in the parent is not here
            self._busy, self._process = threading.Lock(), os.getpid()
        if not (yield from acquire(lambda: self._busy.acquire(blocking=False), limit_s)):
            raise self._held()

    def _locked(self) -> Plan[None]:
        if not (yield from acquire(self._try_file, _RENEW_WAIT_S)):
            raise self._held()

    def _try_file(self) -> bool:
        try:
            return self._store.lock.try_acquire()
        except OSError as problem:
            raise local_error(
                "login_store_unreadable", f"{self._store.path.parent} can't be used ({problem.strerror})."
            ) from None

    def _held(self) -> MeshError:
        return local_error("login_unavailable", f"Another program holds the login for {self._config.server_url}.")

    # --- the profile, and the person ---

    def _profile_token(self) -> Secret | None:
        return profile_token(self._config.profile, self._config.server_url)

    def _agreement(self) -> Plan[None]:
        from mesh.auth.screen import Screen  # noqa: PLC0415 - at most once

        yield from self._alone(_PERSON_WAIT_S)
        try:
            if not self._agreed and not self._declined and interactive():
                question = f"No server is configured. Log in at {HOSTED_URL}? Set MESH_API_URL for your own."
                screen = Screen(HOSTED_URL)
                self._agreed = yield from do(lambda: screen.ask(question))
                self._declined = not self._agreed
        finally:
            self._busy.release()
        if not self._agreed:
            raise local_error("server_not_configured", "No server is configured.")

    def _person(self) -> Plan["Login"]:
        """Let a person log in; of several threads one asks, and the others get what it got."""
        url = self._config.server_url
        if not interactive():
            self.missing = True
            raise local_error("not_logged_in", f"There is no login for {url}.")
        from mesh.auth import discovery, flows, profile  # noqa: PLC0415 - at most once
        from mesh.auth.screen import Screen  # noqa: PLC0415 - as above

        yield from self._alone(_PERSON_WAIT_S)
        try:
            login = self._kept or (yield from self._stored())
            if login is not None:
                return login
            settings = yield from discovery.discover(url, self._overrides)
            login = yield from flows.log_in(settings, Screen(url), self._ports)
            yield from self.keep(login)
            try:
                yield from do(lambda: profile.remember(self._config.folder, url))
            except MeshError as problem:
                _debug.warn("You are logged in, but the profile was not written: %s", problem.message)
            return login
        finally:
            self._busy.release()
