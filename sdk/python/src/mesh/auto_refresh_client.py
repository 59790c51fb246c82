"""A client that renews its login by itself, for programs that run for long."""

import os
import threading
import weakref
from typing import Any, TypeVar

from mesh import _debug
from mesh._plan import Plan, drive
from mesh._send import Found, Ready
from mesh._transport import HTTPTransport, SyncTransport
from mesh.auth.order import REFRESH_MARGIN_S, Credentials
from mesh.client import MeshClient
from mesh.errors import MeshError, SessionEnded

#: Seconds until the next look where there is nothing to renew, and after a renewal that failed.
_IDLE_S, _AGAIN_S = 30.0, 10.0
#: Seconds that closing waits for a renewal that is on its way.
_JOIN_S = 5.0

T = TypeVar("T")


class AutoRefreshMeshClient(MeshClient):
    """As `MeshClient`, and renews the login before it ends, in the background, so that no call waits for that.

    One daemon thread does it; it ends with `close()`, with the client, or with the program. A process that was forked
    gets one of its own.

    Args:
        server_url: as `MeshClient` has it, like all the other named arguments.
        auth_token: a token that is given is never renewed.
        auto_refresh: whether to renew at all; default: AUTO_REFRESH, then true.
        refresh_margin: seconds before its end that the login is renewed; of a short one, a fifth of its life at most.
        named: the other arguments of `MeshClient`.

    Raises:
        TypeError, ValueError: if an argument is wrong.
    """

    def __init__(
        self,
        server_url: str | None = None,
        auth_token: str | None = None,
        *,
        auto_refresh: bool | None = None,
        refresh_margin: float = REFRESH_MARGIN_S,
        **named: Any,
    ) -> None:
        check_margin(refresh_margin)
        super().__init__(server_url, auth_token, auto_refresh=auto_refresh, **named)
        self._renewer = Renewer(self._found, refresh_margin)

    def close(self) -> None:
        """Close the connections and end the background thread; closing twice is fine."""
        self._renewer.stop()
        super().close()

    def _run(self, plan: Plan[T]) -> T:
        """Do what the plan asks for; the first one starts the thread."""
        self._renewer.start(self)
        return super()._run(plan)


class Renewer:
    """The thread that renews the login of one client.

    Args:
        found: whose login.
        margin: seconds before its end that the login is renewed.
    """

    def __init__(self, found: Found, margin: float) -> None:
        self._found = found
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._starting = threading.Lock()
        if isinstance(found, Ready):
            found.credentials.margin = float(margin)
            found.credentials.share = 0.5

    def start(self, client: object) -> None:
        """Start the thread where there is none in this process; it ends with the client at the latest."""
        if self._thread is not None and self._process == os.getpid():
            return
        if self._process != os.getpid():  # the parent's thread and lock are not here
            self._thread, self._process = None, os.getpid()
            self._starting, self._stop = threading.Lock(), threading.Event()
        found = self._found
        if not isinstance(found, Ready) or not found.credentials.renewable:
            return
        with self._starting:
            if self._thread is None and not self._stop.is_set():
                # The thread knows nothing of the client, which can so be collected.
                weakref.finalize(client, self._stop.set)
                self._thread = threading.Thread(
                    target=_serve, args=(found.credentials, self._stop), name="mesh-refresh", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """End the thread; a renewal on its way is stored before the program goes on."""
        self._stop.set()
        thread = self._thread if self._process == os.getpid() else None
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)


def check_margin(refresh_margin: float) -> None:
    """Refuse a margin that is none.

    Raises:
        ValueError: if it is no number of seconds, or negative.
    """
    if not 0 <= refresh_margin < float("inf"):
        raise ValueError("refresh_margin must be a number of seconds, not negative")


def _serve(credentials: Credentials, stop: threading.Event) -> None:
    transport = HTTPTransport()
    try:
        while not stop.wait(_renew(credentials, transport)):
            pass
    finally:
        transport.close()


def _renew(credentials: Credentials, transport: SyncTransport) -> float:
    """Renew if that is due, and return the seconds until the next look. What fails is told by the calls."""
    try:
        pause = drive(credentials.renew_in_background(), transport)
    except SessionEnded:
        return _IDLE_S
    except MeshError as problem:
        _debug.tell("the login could not be renewed yet: %s", problem.code)
        return _AGAIN_S
    return _IDLE_S if pause is None else min(pause, _IDLE_S)
