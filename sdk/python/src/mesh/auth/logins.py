"""A login as it is kept, and how one is read from a token endpoint's answer (RFC 6749 section 5.1)."""

import base64
import time
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from mesh._secret import Secret
from mesh._transport import Reply
from mesh.auth.discovery import Settings
from mesh.auth.oauth import body, printable
from mesh.errors import local_error

#: A token for which the issuer names no life is asked for anew after this many seconds.
_ASSUMED_LIFE_S = 3600.0
#: A clock that went back by more than this many seconds says nothing about when a token ends.
_CLOCK_TOLERANCE_S = 60.0

_decoder = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One login at one issuer for one server. `repr` shows no token.

    Attributes:
        access_token: what is sent to the server.
        refresh_token: what gets the next one; None where the issuer gave none.
        obtained_at, expires_at: seconds since the epoch, by the clock of this machine.
        issuer, client_id, audience: whom and what it was issued by and for.
        token_endpoint, revocation_endpoint: where it is renewed and revoked.
        subject, name: who logged in, as far as the issuer said.
    """

    access_token: Secret = field(repr=False)
    refresh_token: Secret | None = field(repr=False)
    obtained_at: float
    expires_at: float
    issuer: str
    client_id: str
    audience: str | None
    token_endpoint: str
    revocation_endpoint: str | None
    subject: str | None
    name: str | None

    def renew_at(self, margin: float, share: float = 1.0) -> float:
        """Return when to renew it, seconds since the epoch: exp - min(margin, max(1 s, 20 % of its life)).

        Of that time before its end only a `share` is counted for who leaves the first move to somebody else.
        """
        life = self.expires_at - self.obtained_at
        return self.expires_at - share * min(margin, max(1.0, 0.2 * life))

    def due(self, margin: float, share: float = 1.0) -> bool:
        """Return whether it is time to renew it."""
        now = time.time()
        return now >= self.renew_at(margin, share) or now < self.obtained_at - _CLOCK_TOLERANCE_S

    def expired(self) -> bool:
        """Return whether the access token is of no more use."""
        return time.time() >= self.expires_at

    def encode(self) -> bytes:
        """Return it as bytes for the store, tokens and all."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        for name in ("access_token", "refresh_token"):
            plain[name] = plain[name] and plain[name].reveal()
        return msgspec.json.encode(plain)

    @classmethod
    def decode(cls, content: bytes) -> "Login":
        """Return the login that `encode` wrote.

        Raises:
            ValueError: if it is none.
        """
        try:
            plain = _decoder.decode(content)
            known = {name: plain[name] for name in cls.__slots__}
            known["access_token"] = Secret(known["access_token"])
            known["refresh_token"] = Secret(known["refresh_token"]) if known["refresh_token"] else None
            return cls(**known)
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
            raise ValueError("no login") from None


def from_answer(reply: Reply, settings: Settings, *, nonce: str | None = None) -> Login:
    """Return the login that a token endpoint gave.

    Args:
        reply: with status 200.
        settings: what it was asked with.
        nonce: what the ID token must carry, where the flow sent one (OpenID Connect Core 1.0, section 3.1.3.7).

    Raises:
        LoginFailed: if it gave none, an opaque one, or one that contradicts what was asked for.
    """
    told = body(reply)
    access = told.get("access_token")
    if not isinstance(access, str) or not access or str(told.get("token_type", "Bearer")).lower() != "bearer":
        raise local_error("issuer_refused", f"{settings.issuer} answered the login without a bearer token.")
    claims = _id_claims(told.get("id_token"), settings, nonce)
    access_claims = _payload(access)
    if access_claims is None:
        raise local_error(
            "login_token_opaque",
            f"{settings.issuer} gave an access token that is opaque, no JWT: it was asked for no API that it knows.",
            {"audience": settings.audience},
        )
    refresh = told.get("refresh_token")
    now = time.time()
    who = claims or access_claims
    return Login(
        access_token=Secret(access),
        refresh_token=Secret(refresh) if isinstance(refresh, str) and refresh else None,
        obtained_at=now,
        expires_at=now + lifetime(told, access_claims),
        issuer=settings.issuer,
        client_id=settings.client_id,
        audience=settings.audience,
        token_endpoint=settings.token_endpoint,
        revocation_endpoint=settings.revocation_endpoint,
        subject=_text(who.get("sub")),
        name=_text(who.get("email")) or _text(who.get("name")) or _text(who.get("preferred_username")),
    )


def lifetime(told: dict[str, Any], claims: dict[str, Any] | None) -> float:
    """Return the seconds that an access token lives from now on.

    `expires_in` first: it needs no clock that agrees with the issuer's, as `exp` does.
    """
    named = told.get("expires_in")
    if isinstance(named, (int, float, str)) and not isinstance(named, bool):
        try:
            return max(0.0, float(named))
        except ValueError:
            pass
    stamps = [(claims or {}).get(name) for name in ("exp", "iat")]
    if all(isinstance(stamp, (int, float)) for stamp in stamps):
        return max(0.0, float(stamps[0]) - float(stamps[1]))  # type: ignore[arg-type]
    return _ASSUMED_LIFE_S


def renewed(old: Login, reply: Reply) -> Login:
    """Return the login that a refresh gave; the old refresh token stays where no other came (RFC 6749 section 6).

    Raises:
        LoginFailed: if it holds no access token.
    """
    told = body(reply)
    access, refresh = told.get("access_token"), told.get("refresh_token")
    if not isinstance(access, str) or not access:
        raise local_error("issuer_refused", f"{old.issuer} answered the refresh without a token.")
    now = time.time()
    return replace(
        old,
        access_token=Secret(access),
        refresh_token=Secret(refresh) if isinstance(refresh, str) and refresh else old.refresh_token,
        obtained_at=now,
        expires_at=now + lifetime(told, _payload(access)),
    )


def _id_claims(token: object, settings: Settings, nonce: str | None) -> dict[str, Any] | None:
    """Check an ID token. It came straight from the token endpoint, so TLS vouches for it in place of its signature."""
    if not isinstance(token, str):
        return None
    claims = _payload(token) or {}
    audience = claims.get("aud")
    good = claims.get("iss") == settings.issuer and settings.client_id in (
        audience if isinstance(audience, list) else [audience]
    )
    if not good or (nonce is not None and claims.get("nonce") != nonce):
        raise local_error(
            "login_not_genuine", f"The ID token from {settings.issuer} does not belong to the login that was begun."
        )
    return claims


def _payload(token: str) -> dict[str, Any] | None:
    """Return the claims of a JWT, unverified; None where it is none (RFC 7519 section 3)."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        header, claims = (
            _decoder.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2]
        )
    except (ValueError, msgspec.DecodeError, RecursionError):
        return None
    return claims if isinstance(header.get("alg"), str) else None


def _text(value: object) -> str | None:
    return printable(value) if isinstance(value, str) and value else None
