"""The grants of the dev issuer, as a state machine: no I/O, no clock of its own.

Device codes (RFC 8628), authorization codes with PKCE (RFC 6749, RFC 7636), refresh tokens that rotate, where a reuse
ends the login (RFC 9700, section 4.14.2), and revocation (RFC 7009).
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Callable

from mesh_server.dev_issuer.errors import OAuthProblem
from mesh_server.dev_issuer.settings import DevIssuerSettings
from mesh_server.dev_issuer.state import Code, Device, Family, Grant, State, digest

#: Letters of a user code: no vowels, so that no words appear (RFC 8628, section 6.1).
USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
#: Seconds that `slow_down` adds to the interval (RFC 8628, section 3.5).
SLOW_DOWN_S = 5.0
#: Devices and logins that are remembered, and refresh tokens of one login.
MOST_DEVICES = 200
MOST_FAMILIES = 1000
MOST_TOKENS = 2000

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class Grants:
    """Changes the state; what it returns goes out only after the state was kept.

    Args:
        settings: how long things live.
        state: what there is.
        random: returns a random text of 256 bits.
    """

    def __init__(
        self, settings: DevIssuerSettings, state: State, random: Callable[[], str] = secrets.token_urlsafe
    ) -> None:
        self._settings = settings
        self._state = state
        self._random = random

    # --- devices ---

    def begin_device(self, scope: str, now: float) -> tuple[str, Device]:
        """Return a device code and what belongs to it.

        Raises:
            OAuthProblem: `slow_down` where too many devices wait.
        """
        self._forget(now)
        if len(self._state.devices) >= MOST_DEVICES:
            raise OAuthProblem("slow_down", "Too many devices wait for a login here.", status=429)
        device_code = self._random()
        user_code = "".join(secrets.choice(USER_CODE_LETTERS) for _ in range(8))
        device = Device(user_code, scope, now + self._settings.device_life_s, self._settings.interval_s)
        self._state.devices[digest(device_code)] = device
        return device_code, device

    def waiting_device(self, user_code: str, now: float) -> Device | None:
        """Return the device that shows this code and waits; None where there is none."""
        wanted = "".join(letter for letter in user_code.upper() if letter.isalnum())
        for device in self._state.devices.values():
            if secrets.compare_digest(device.user_code.encode(), wanted.encode()):
                return device if device.status == "waiting" and device.expires_at > now else None
        return None

    def decide_device(self, device: Device, name: str | None, now: float) -> None:
        """Let a device in as `name`, or not (None)."""
        device.status = "denied" if name is None else "allowed"
        device.name = name or ""
        device.decided_at = now

    def poll_device(self, device_code: str, now: float) -> Grant:
        """Return what a person granted to a device.

        Raises:
            OAuthProblem: `authorization_pending`, `slow_down`, `access_denied`, `expired_token`, `invalid_grant`.
        """
        key = digest(device_code)
        device = self._state.devices.get(key)
        if device is None:
            raise OAuthProblem("invalid_grant", "This device code was not given out here, or was used.")
        if device.expires_at <= now:
            raise OAuthProblem("expired_token", "The device code has expired: begin again.")
        if device.status == "denied":
            raise OAuthProblem("access_denied", "The login was denied.")
        if device.status == "waiting":
            # A second's grace: the device's timer is not ours.
            too_soon = now < device.polled_at + device.interval_s - min(1.0, device.interval_s / 2)
            device.polled_at = now
            if too_soon:
                device.interval_s += SLOW_DOWN_S
                raise OAuthProblem("slow_down", f"Poll no more often than each {device.interval_s:.0f} s.")
            raise OAuthProblem("authorization_pending", "Nobody has decided yet.")
        del self._state.devices[key]
        return self._new_login(device.name, device.scope, device.decided_at, None, now)

    # --- authorization codes ---

    def issue_code(
        self, *, redirect_uri: str, challenge: str, scope: str, nonce: str | None, name: str, now: float
    ) -> str:
        """Return a code for a person who signed in."""
        self._forget(now)
        code = self._random()
        self._state.codes[digest(code)] = Code(
            redirect_uri, challenge, scope, nonce, name, now, now + self._settings.code_life_s
        )
        return code

    def redeem_code(self, code: str, redirect_uri: str, verifier: str, now: float) -> Grant:
        """Return what a code stands for, once.

        Raises:
            OAuthProblem: `invalid_grant`; a second use also ends the login that the first one began (RFC 6749, 4.1.2).
        """
        found = self._state.codes.get(digest(code))
        if found is None or found.expires_at <= now:
            raise OAuthProblem("invalid_grant", "The code was not given out here, or has expired.")
        if found.used_by is not None:
            self._end(found.used_by)
            raise OAuthProblem("invalid_grant", "The code was used before: the login that it began has ended.")
        if found.redirect_uri != redirect_uri:
            raise OAuthProblem("invalid_grant", "`redirect_uri` is not the one that the code was asked for with.")
        if not _VERIFIER.fullmatch(verifier) or not secrets.compare_digest(s256(verifier), found.challenge):
            raise OAuthProblem("invalid_grant", "`code_verifier` does not fit the `code_challenge`.")
        grant = self._new_login(found.name, found.scope, found.auth_time, found.nonce, now)
        found.used_by = grant.family
        return grant

    # --- refresh tokens ---

    def refresh(self, refresh_token: str, now: float) -> Grant:
        """Return a login's grant with the refresh token that takes this one's place.

        The one before the newest is still taken for a while, since an answer can get lost; an older one, or that one
        later, was copied: the login ends for everybody.

        Raises:
            OAuthProblem: `invalid_grant`.
        """
        family = self._family_of(refresh_token)
        if family is None:
            raise OAuthProblem("invalid_grant", "The refresh token was not given out here.")
        if family.ended or family.expires_at <= now:
            raise OAuthProblem("invalid_grant", "The login has ended.")
        behind = family.generation - family.tokens[digest(refresh_token)]
        if behind > 1 or (behind == 1 and now > family.rotated_at + self._settings.refresh_overlap_s):
            self._end(family.id)
            raise OAuthProblem("invalid_grant", "The refresh token was used before: the login has ended.")
        if behind == 0:
            family.generation += 1
            family.rotated_at = now
        family.expires_at = now + self._settings.refresh_life_s
        return Grant(family.name, family.scope, family.auth_time, family.id, refresh_token=self._next_token(family))

    def revoke(self, token: str) -> None:
        """End the login that a refresh token belongs to; anything else is no error (RFC 7009, section 2.2)."""
        family = self._family_of(token)
        if family is not None:
            self._end(family.id)

    def is_live(self, family_id: str, now: float) -> bool:
        """Return whether a login goes on."""
        family = self._state.families.get(family_id)
        return family is not None and not family.ended and family.expires_at > now

    # --- inside ---

    def _new_login(self, name: str, scope: str, auth_time: float, nonce: str | None, now: float) -> Grant:
        self._forget(now)
        ends = now + (
            self._settings.refresh_life_s if "offline_access" in scope.split() else self._settings.token_life_s
        )
        family = Family(secrets.token_hex(16), name, scope, auth_time, 0, now, ends)
        self._state.families[family.id] = family
        refresh_token = self._next_token(family) if "offline_access" in scope.split() else None
        return Grant(name, scope, auth_time, family.id, nonce, refresh_token)

    def _next_token(self, family: Family) -> str:
        token = self._random()
        while len(family.tokens) >= MOST_TOKENS:
            del family.tokens[next(iter(family.tokens))]  # the oldest
        family.tokens[digest(token)] = family.generation
        return token

    def _family_of(self, refresh_token: str) -> Family | None:
        key = digest(refresh_token)
        return next((family for family in self._state.families.values() if key in family.tokens), None)

    def _end(self, family_id: str) -> None:
        family = self._state.families.get(family_id)
        if family is not None:
            family.ended = True

    def _forget(self, now: float) -> None:
        """Drop what has expired, and the oldest logins of very many."""
        state = self._state
        # An expired device is known for a while, so that it is told `expired_token`.
        keep_until = now - self._settings.device_life_s
        state.devices = {key: device for key, device in state.devices.items() if device.expires_at > keep_until}
        state.codes = {key: code for key, code in state.codes.items() if code.expires_at > now}
        state.families = {key: family for key, family in state.families.items() if family.expires_at > now}
        while len(state.families) >= MOST_FAMILIES:
            del state.families[next(iter(state.families))]


def s256(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636, section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
