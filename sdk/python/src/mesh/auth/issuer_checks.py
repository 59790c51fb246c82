"""What a login needs of the server and its issuer, as far as it shows from outside. Auth0's needs are known by name."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from mesh._plan import Plan, attempt, do
from mesh._transport import Reply
from mesh.auth import browser, device, discovery
from mesh.auth.checks import Check, reachable
from mesh.auth.discovery import Settings
from mesh.auth.oauth import get
from mesh.auth.overrides import Overrides, issuer_of
from mesh.auth.ports import FIRST_PORT, PORTS
from mesh.errors import MeshError

#: Seconds that the clocks of this machine and of the issuer may differ: servers tolerate a minute.
_SKEW_S = 30.0


def all_of(url: str, given: Overrides) -> Plan[list[Check]]:
    """Check server and issuer; what depends on something that fails is left out."""
    found = yield from _server(url)
    if found[-1].verdict == "bad":
        return found
    try:
        settings = yield from discovery.discover(url, given)
    except MeshError as problem:
        step = " ".join(problem.troubleshooting[:1])
        found.append(Check("Issuer", "bad", problem.message, step))
        if problem.code == "login_unavailable" and given.domain:
            issuer = issuer_of(given.domain)
            found.append((yield from do(lambda: reachable("Issuer's network", issuer))))
        return found
    found.append(Check("Issuer", "good", f"{settings.issuer}, client {settings.client_id}."))
    found.append((yield from _clock(settings)))
    found.append(_audience(settings))
    found.append((yield from _device(settings)))
    found.append((yield from _browser(settings)))
    found.append(_offline(settings))
    return found


def _server(url: str) -> Plan[list[Check]]:
    told = yield from attempt(get(f"{url}/api/v1/auth/config"))
    if isinstance(told, Reply):
        return [Check("Server", "good", f"{url} answers.")]
    return [(yield from do(lambda: reachable("Server", url)))]


def _clock(settings: Settings) -> Plan[Check]:
    before = time.time()
    told = yield from attempt(get(settings.issuer.rstrip("/") + "/.well-known/openid-configuration"))
    after = time.time()
    difference = _difference(told.headers, (before + after) / 2) if isinstance(told, Reply) else None
    if difference is None:
        return Check("Clock", "note", "The issuer does not say what time it is.")
    if abs(difference) <= _SKEW_S:
        return Check("Clock", "good", f"Within {max(1.0, abs(difference)):.0f} s of the issuer's.")
    way = "ahead of" if difference > 0 else "behind"
    return Check(
        "Clock",
        "bad",
        f"{abs(difference):.0f} s {way} the issuer's: tokens look expired, or not valid yet.",
        "Let the system set its clock (Linux: timedatectl set-ntp true; WSL: wsl --shutdown).",
    )


def _difference(headers: Mapping[str, str], here: float) -> float | None:
    try:
        return here - parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return None


def _audience(settings: Settings) -> Check:
    if settings.audience:
        return Check("Audience", "good", settings.audience)
    verdict = "bad" if settings.is_auth0 else "note"
    return Check(
        "Audience",
        verdict,  # type: ignore[arg-type]
        "None is set: Auth0 then gives opaque access tokens, which no server can check.",
        "Set AUTH0_AUDIENCE, best on the server, to the identifier of the API (Auth0: APIs > your API > Settings).",
    )


def _device(settings: Settings) -> Plan[Check]:
    try:
        yield from device.begin(settings)
    except device.NotThisWay as no:
        return Check("Device flow", "note", f"Not offered: {no.reason}", _device_step(settings))
    except MeshError as problem:
        return Check("Device flow", "bad", problem.message, problem.troubleshooting[0])
    return Check("Device flow", "good", "The issuer gives codes.")


def _device_step(settings: Settings) -> str:
    if settings.is_auth0:
        return (
            "Auth0: Applications > your application: type Native; Advanced Settings > Grant Types: Device Code. "
            "Without it, `mesh-auth` uses a browser."
        )
    return "Allow the device authorization grant for this client at the issuer. Without it, a browser is used."


def _browser(settings: Settings) -> Plan[Check]:
    """Ask for the login page as a browser would, for the first and the last callback address."""
    for port in (FIRST_PORT, FIRST_PORT + PORTS - 1):
        redirect = f"http://localhost:{port}{browser.CALLBACK_PATH}"
        try:
            authorization = browser.begin(settings, redirect)
        except MeshError as problem:
            return Check("Browser flow", "note", problem.message)
        told = yield from attempt(get(authorization.url))
        if isinstance(told, Reply) and (told.status >= 400 or _complains(told)):
            return Check(
                "Browser flow", "bad", f"The issuer refuses the callback address {redirect}.", _callbacks(settings)
            )
    return Check("Browser flow", "good", "The issuer shows its login page.")


def _complains(reply: Reply) -> bool:
    """Return whether a redirect goes to an error page, as some issuers answer."""
    return 300 <= reply.status < 400 and "error=" in reply.headers.get("location", "")


def _callbacks(settings: Settings) -> str:
    where = "Auth0: Applications > your application > Allowed Callback URLs" if settings.is_auth0 else "At the issuer"
    last = FIRST_PORT + PORTS - 1
    return f"{where}: add http://localhost:{FIRST_PORT}/callback and so on to http://localhost:{last}/callback."


def _offline(settings: Settings) -> Check:
    if "offline_access" not in settings.scope.split():
        return Check(
            "Renewal",
            "note",
            "The server asks for no offline access: logins end with their token.",
            "Ask its operator.",
        )
    if settings.is_auth0:
        return Check(
            "Renewal",
            "note",
            "Two settings do not show from outside.",
            "Auth0: APIs > your API > Allow Offline Access; Applications > your application > Refresh Token Rotation: "
            "Rotation Overlap Period 30 s or more, so that a reply lost on the way ends no login.",
        )
    return Check("Renewal", "good", "Offline access is asked for.")
