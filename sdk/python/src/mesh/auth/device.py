"""The device flow (RFC 8628): a person confirms a code on any device while this one asks again and again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urlsplit

from mesh._answers import seconds
from mesh._plan import Plan, Told, Wait, attempt
from mesh._transport import Reply
from mesh.auth.discovery import Settings
from mesh.auth.logins import Login, from_answer
from mesh.auth.oauth import body, client_members, error_of, form, no_reply, refusal, replied
from mesh.errors import local_error

GRANT = "urn:ietf:params:oauth:grant-type:device_code"

#: Seconds between two questions: the RFC's default, the least, and what `slow_down` adds (section 3.5).
_INTERVAL_S, _LEAST_INTERVAL_S, _SLOWER_S = 5.0, 1.0, 5.0
#: Seconds that a code lives at most, whatever the issuer says, and where it says nothing.
_MOST_LIFE_S, _ASSUMED_LIFE_S = 3600.0, 900.0

#: Errors that mean: this client may not log in this way. Another flow may still work.
_NOT_THIS_WAY = frozenset(
    {"unauthorized_client", "invalid_client", "unsupported_grant_type", "invalid_request", "invalid_scope"}
)


class NotThisWay(Exception):
    """The issuer has no device flow for this client; `reason` is told where no other flow follows."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """What a person is shown, and what is asked with meanwhile.

    Attributes:
        user_code: for the person to compare or type.
        url: where to type it.
        complete_url: the same with the code in it, where the issuer has one.
        lives_s: seconds that the person has.
    """

    device_code: str = field(repr=False)
    user_code: str
    url: str
    complete_url: str | None
    lives_s: float
    interval_s: float


def log_in(settings: Settings, show: Callable[[DeviceCode], None]) -> Plan[Login]:
    """Ask for a code, show it, and wait until somebody has confirmed it.

    Raises:
        NotThisWay: if the issuer has no such flow for this client.
        LoginFailed: if the person declined, nobody came in time, or the issuer refused.
        ConnectionFailed: if the issuer can't be reached to begin with.
    """
    code = yield from begin(settings)
    show(code)
    reply = yield from _confirmed(settings, code)
    return from_answer(reply, settings)


def begin(settings: Settings) -> Plan[DeviceCode]:
    """Ask for a code (section 3.1)."""
    if settings.device_endpoint is None or "device" not in settings.flows:
        raise NotThisWay(
            local_error("issuer_refused", f"{settings.issuer} offers no device flow.", {"issuer": settings.issuer})
        )
    members = client_members(settings.client_id, settings.client_secret)
    members |= {"scope": settings.scope, "audience": settings.audience}
    told = yield from attempt(form(settings.device_endpoint, members))
    reply = replied(told, settings.issuer)
    if reply.status >= 500 or reply.status == 429:
        raise local_error("login_unavailable", f"{settings.issuer} gives no code now (status {reply.status}).")
    if reply.status != 200:
        raise NotThisWay(refusal(reply, "the device flow", settings.issuer))
    return _code(body(reply), settings)


def _code(told: dict[str, Any], settings: Settings) -> DeviceCode:
    device, user = told.get("device_code"), told.get("user_code")
    url = told.get("verification_uri") or told.get("verification_url")  # the second is Google's name for it
    if not all(isinstance(text, str) and text for text in (device, user, url)) or not _showable(url):
        raise local_error("issuer_refused", f"{settings.issuer} answered with no code that can be shown.")
    complete = told.get("verification_uri_complete")
    return DeviceCode(
        device_code=str(device),
        user_code="".join(c for c in str(user) if c.isprintable())[:64],
        url=str(url),
        complete_url=complete if isinstance(complete, str) and _showable(complete) else None,
        lives_s=min(_number(told.get("expires_in"), _ASSUMED_LIFE_S), _MOST_LIFE_S),
        interval_s=max(_number(told.get("interval"), _INTERVAL_S), _LEAST_INTERVAL_S),
    )


def _confirmed(settings: Settings, code: DeviceCode) -> Plan[Reply]:
    """Ask until there is an answer (section 3.4), riding out whatever may pass."""
    members = client_members(settings.client_id, settings.client_secret)
    request = form(settings.token_endpoint, {**members, "grant_type": GRANT, "device_code": code.device_code})
    deadline = time.monotonic() + code.lives_s
    interval = code.interval_s
    while time.monotonic() + interval < deadline:
        yield Wait(interval)
        told = yield from attempt(request)
        if isinstance(told, Reply) and told.status == 200:
            return told
        interval = max(interval, _next_interval(told, interval, settings))
    raise local_error("login_timed_out", f"Nobody confirmed the code {code.user_code} within {code.lives_s:.0f} s.")


def _next_interval(told: Told, interval: float, settings: Settings) -> float:
    """Return the seconds until the next question; raises where there must be none.

    The JSON `error` decides, never the status: Auth0 says "pending" with 403 and "slow down" with 429.
    """
    if not isinstance(told, Reply):
        if told.kind in {"closed", "forked"}:
            raise no_reply(told, settings.issuer)
        # No answer may mean that the issuer is overloaded: section 3.5 asks for longer pauses then.
        return min(interval * 2, 60.0) if told.kind == "timeout" else interval
    error = error_of(told)
    if error == "authorization_pending":
        return interval
    if error == "slow_down":
        return max(interval + _SLOWER_S, seconds(told.headers.get("retry-after")) or 0.0)
    if error is None and (told.status >= 500 or told.status == 429):
        return max(interval, min(seconds(told.headers.get("retry-after")) or 0.0, 60.0))
    if told.status >= 500 and error not in {"access_denied", "expired_token"}:
        return interval
    return _refused(told, error, settings)


def _refused(told: Reply, error: str | None, settings: Settings) -> NoReturn:
    if error == "access_denied":
        raise local_error("login_denied", f"The login at {settings.issuer} was declined.")
    if error in {"expired_token", "invalid_grant"}:
        raise local_error("login_timed_out", "The code is no longer valid.")
    reason = refusal(told, "the device flow", settings.issuer)
    if error in _NOT_THIS_WAY:
        raise NotThisWay(reason)
    raise reason


def _showable(url: object) -> bool:
    """Return whether an address may be shown and opened: a terminal obeys what it prints."""
    text = str(url)
    return text.isascii() and text.isprintable() and " " not in text and urlsplit(text).scheme in {"https", "http"}


def _number(value: object, default: float) -> float:
    try:
        number = float(value) if isinstance(value, (int, float, str)) else default
    except ValueError:
        return default
    return number if 0 < number < float("inf") else default
