"""A login from its beginning to its end: device flow first, a browser where that is not to be had."""

import time
from collections.abc import Sequence

from mesh import _answers
from mesh._plan import Plan, Wait, attempt, do
from mesh._transport import Reply, WireRequest
from mesh.auth import browser, device, page
from mesh.auth.browser import Authorization, Stray
from mesh.auth.callback import Listener, Visit
from mesh.auth.discovery import Settings
from mesh.auth.logins import Login
from mesh.auth.oauth import REQUEST_S
from mesh.auth.screen import Screen
from mesh.errors import MeshError, local_error
from mesh_protocol.wire import API_PREFIX

#: Seconds that a person has in the browser.
_BROWSER_S = 600.0
_LOOK_S = 0.1


def log_in(settings: Settings, screen: Screen, ports: Sequence[int], *, headless: bool = False) -> Plan[Login]:
    """Let the person log in.

    Args:
        settings: where.
        screen: how the person is spoken to.
        ports: for the browser's way back.
        headless: the device flow or nothing.

    Raises:
        LoginFailed: if the person declined, did not come, or the issuer refused.
        ConnectionFailed: if the issuer can't be reached.
    """
    try:
        login = yield from device.log_in(settings, screen.show_code)
    except device.NotThisWay as no:
        if headless:
            raise no.reason from None
    else:
        yield from _accepted(screen, login)
        return login
    return (yield from in_browser(settings, screen, ports))


def _accepted(screen: Screen, login: Login) -> Plan[None]:
    """Ask the server whether it accepts the login, before anything is stored or said.

    Raises:
        LoginFailed: if the server refuses it: its settings and those of the issuer don't fit.
    """
    headers = (("authorization", f"Bearer {login.access_token.reveal()}"), ("accept", "application/json"))
    url = f"{screen.server}{API_PREFIX}/auth/profile"
    told = yield from attempt(WireRequest("GET", url, headers, None, REQUEST_S, streamed=False))
    if isinstance(told, Reply) and told.status in {401, 403}:
        problem = _answers.failure(told)
        raise local_error(
            "issuer_refused",
            f"You logged in at {login.issuer}, but {screen.server} does not accept it: {problem.message}",
            {"code": problem.code, "request_id": problem.request_id},
        )
    if not isinstance(told, Reply) or told.status != 200:
        screen.say(f"{screen.server} could not be asked whether it accepts the login; the first call will tell.")


def in_browser(settings: Settings, screen: Screen, ports: Sequence[int]) -> Plan[Login]:
    """Let the person log in with a browser that comes back to this machine, or whose last address is pasted."""
    listener = Listener(ports)
    try:
        authorization = browser.begin(settings, listener.redirect_uri)
        opened = yield from do(lambda: screen.open(authorization.url))
        screen.show_address(authorization.url, opened=opened)
        deadline = time.monotonic() + _BROWSER_S
        while time.monotonic() < deadline:
            visit = listener.heard()
            query = visit.query if visit else _pasted(authorization, screen)
            login = None
            if query is not None:
                login = yield from _answered(settings, authorization, screen, visit, query)
            if login is not None:
                return login
            if visit is None:
                yield Wait(_LOOK_S)
        raise local_error("login_timed_out", f"No browser came back within {_BROWSER_S / 60:.0f} minutes.")
    finally:
        listener.close()


def _pasted(authorization: Authorization, screen: Screen) -> str | None:
    line = screen.pasted()
    if line is None:
        return None
    try:
        return browser.pasted_query(authorization, line)
    except Stray:
        screen.say(f"That is not it: the address begins with {authorization.redirect_uri}?")
        return None


def _answered(
    settings: Settings, authorization: Authorization, screen: Screen, visit: Visit | None, query: str
) -> Plan[Login | None]:
    """Finish the login if this is its answer, and show the browser what came of it; None where it is a stray one."""
    try:
        code = browser.read_redirect(authorization, settings, query)
        login = yield from browser.exchange(settings, authorization, code)
        yield from _accepted(screen, login)
    except Stray:
        if visit is None:
            screen.say("That address belongs to another login. Paste the one that this login ended at.")
        else:
            visit.answer(400, page.stray())
        return None
    except MeshError as problem:
        if visit is not None:
            visit.answer(400, page.failed(problem.message))
        raise
    if visit is not None:
        visit.answer(200, page.done(screen.server))
    return login
