"""Signing in at the dev issuer: a one-time code on the server's console stands where others ask for a password.

A sign-in belongs to the browser that began it, by a cookie; its code can be tried a few times only.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from mesh_server.dev_issuer.errors import OAuthProblem
from mesh_server.dev_issuer.state import Device, digest

#: Seconds for which a sign-in can be finished.
LIFE_S = 600.0
#: Wrong codes for one sign-in, and over all sign-ins within `LIFE_S`.
MOST_TRIES = 5
MOST_WRONG = 30
#: Sign-ins that may be open at once.
MOST_OPEN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """An authorization request that was found right (RFC 6749, section 4.1.1)."""

    redirect_uri: str
    state: str | None
    scope: str
    challenge: str
    nonce: str | None


@dataclass(slots=True, kw_only=True)
class SignIn:
    """A page that waits for the one-time code.

    Attributes:
        id: in the page's form.
        browser: hash of the cookie of the browser that began it.
        target: what is granted by it.
        code: six digits; None once it was used or tried too often.
    """

    id: str
    browser: str
    target: Authorization | Device
    code: str | None = field(repr=False)
    expires_at: float
    tries: int = 0


class WrongCode(OAuthProblem):
    """The one-time code is not right; another try may be."""


class SignIns:
    """The sign-ins that are open.

    Args:
        show: shows a one-time code on the console.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._open: dict[str, SignIn] = {}
        self._wrong: list[float] = []

    def begin(self, target: Authorization | Device, browser: str, now: float) -> SignIn:
        """Open a sign-in and show its code.

        Args:
            target: what is granted by it.
            browser: the cookie.
            now: seconds since 1970.

        Raises:
            OAuthProblem: if too many are open.
        """
        self._open = {known: sign_in for known, sign_in in self._open.items() if sign_in.expires_at > now}
        if len(self._open) >= MOST_OPEN:
            raise OAuthProblem("slow_down", "Too many sign-ins are open; wait ten minutes.", status=429)
        made = SignIn(
            id=secrets.token_urlsafe(),
            browser=digest(browser),
            target=target,
            code=f"{secrets.randbelow(1_000_000):06}",
            expires_at=now + LIFE_S,
        )
        self._open[made.id] = made
        self._show(made.code or "")
        return made

    def find(self, sign_in_id: str, browser: str, now: float) -> SignIn:
        """Return an open sign-in of this browser.

        Raises:
            OAuthProblem: if it has none of that id.
        """
        found = self._open.get(sign_in_id)
        if (
            found is None
            or found.expires_at <= now
            or found.code is None
            or not secrets.compare_digest(found.browser, digest(browser))
        ):
            raise OAuthProblem("invalid_request", "This sign-in is over, or another browser began it: begin again.")
        return found

    def check(self, sign_in: SignIn, code: str, now: float) -> None:
        """Accept the one-time code, once.

        Raises:
            WrongCode: if it is not right and may be tried again.
            OAuthProblem: if there were too many tries.
        """
        self._wrong = [moment for moment in self._wrong if moment > now - LIFE_S]
        if len(self._wrong) >= MOST_WRONG:
            raise OAuthProblem("slow_down", "Too many wrong codes; wait ten minutes.", status=429)
        given = "".join(character for character in code if character.isascii() and character.isdigit())
        if not secrets.compare_digest(given, sign_in.code or "-"):
            self._wrong.append(now)
            sign_in.tries += 1
            if sign_in.tries >= MOST_TRIES:
                self.close(sign_in)
                raise OAuthProblem("access_denied", "Too many wrong codes for this sign-in: begin again.", status=403)
            raise WrongCode("access_denied", "That is not the code that the console shows.", status=403)
        self.close(sign_in)

    def close(self, sign_in: SignIn) -> None:
        """End a sign-in: nothing more is done by it."""
        sign_in.code = None
        self._open.pop(sign_in.id, None)
