"""Access tokens: from unverified text to signed claims, every refusal with its reason.

(0) size, (1) shape, (2) algorithm and header, (3) issuer, (4) signature, (5) is it an access token at all,
(6) audience, (7) times, (8) subject. Nothing of a token but what was compared is ever in a message.
"""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from joserfc import jws

from mesh_server.accounts.oidc.keys import Algorithm, VerifyKey
from mesh_server.accounts.oidc.models import Issuer
from mesh_server.errors import (
    TokenAlgorithm,
    TokenExpired,
    TokenInvalid,
    TokenIsIdToken,
    TokenMalformed,
    TokenNotYetValid,
    TokenSignature,
    TokenWrongAudience,
)

#: Longest token in bytes that is looked at.
MAX_TOKEN_BYTES = 16 * 1024
#: Longest subject and e-mail address in characters.
MAX_SUBJECT = 255
MAX_EMAIL = 320
#: Seconds since its end after which an expired token no longer hints at a wrong clock.
_FRESHLY_EXPIRED_S = 600.0

_SEGMENT = re.compile(rb"[A-Za-z0-9_-]+")
#: Media types of an access token (RFC 9068, section 2.1) and of a JWT that does not say what it is for.
_TYPES = frozenset({"jwt", "at+jwt"})
#: Uses of a JWT with our audience that are none of an access token: some issuers' refresh tokens are such JWTs.
_OTHER_USES = frozenset({"refresh", "refresh_token", "offline", "logout"})
#: Claims that only an ID token has (OpenID Connect Core 1.0, sections 2 and 3.3.2.11).
_ID_TOKEN_CLAIMS = ("nonce", "at_hash", "c_hash", "s_hash")

_ALGORITHMS = jws.JWSRegistry(algorithms=["RS256", "ES256"])


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token's parts, as anyone could have written them."""

    signed: bytes
    signature: bytes
    algorithm: Algorithm
    kid: str | None
    media_type: str
    issuer: str
    claims: dict[str, Any]

    def __repr__(self) -> str:
        """Return nothing of what is in it."""
        return "<UnverifiedToken>"


def read(token: str) -> UnverifiedToken:
    """Take a token apart: steps 0 to 2.

    Raises:
        TokenMalformed, TokenAlgorithm, TokenInvalid: saying what is wrong with it.
    """
    if len(token) > MAX_TOKEN_BYTES:  # (0)
        raise TokenMalformed(f"invalid token: it is longer than {MAX_TOKEN_BYTES // 1024} KiB, the limit here.")
    try:
        text = token.encode("ascii")
    except UnicodeEncodeError:
        raise _malformed() from None
    segments = text.split(b".")
    if len(segments) == 5:
        raise TokenInvalid("invalid token: it is an encrypted one (JWE); set the issuer to signed access tokens.")
    if len(segments) != 3:  # (1)
        raise _malformed()
    header, claims = _object(segments[0]), _object(segments[1])
    algorithm, kid, media_type = _algorithm(header), _kid(header), _media_type(header)
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise TokenInvalid("invalid token: it does not say who issued it (`iss`).")
    signed = text.rpartition(b".")[0]
    return UnverifiedToken(signed, _decode(segments[2]), algorithm, kid, media_type, issuer, claims)


def _algorithm(header: dict[str, Any]) -> Algorithm:
    """Return the algorithm (2): never what the token asks for, only one of ours that it happens to name."""
    match header.get("alg"):
        case "RS256":
            return "RS256"
        case "ES256":
            return "ES256"
    raise TokenAlgorithm("invalid token: it is signed with an algorithm other than RS256 and ES256, or not at all.")


def _kid(header: dict[str, Any]) -> str | None:
    """Return the key's id. `jwk`, `jku`, `x5c` and `x5u`, by which a token brings its own key, are ignored."""
    if "crit" in header or "b64" in header:  # RFC 7515, section 4.1.11: what is critical and unknown is refused
        raise TokenInvalid("invalid token: its header asks for an extension that this server does not know.")
    kid = header.get("kid")
    if kid is not None and (not isinstance(kid, str) or len(kid) > MAX_SUBJECT):
        raise _malformed()
    return kid


def _media_type(header: dict[str, Any]) -> str:
    named = header.get("typ", "JWT")
    media_type = named.lower().removeprefix("application/") if isinstance(named, str) else ""
    if media_type not in _TYPES:
        raise TokenInvalid("invalid token: its type (`typ`) is not that of an access token.")
    return media_type


def verify(unverified: UnverifiedToken, keys: list[VerifyKey]) -> dict[str, Any]:
    """Return the claims of a token that one of the keys signed: step 4.

    Raises:
        TokenSignature: if none of them did.
    """
    algorithm = _ALGORITHMS.get_alg(unverified.algorithm)
    if not any(algorithm.verify(unverified.signed, unverified.signature, key) for key in keys):
        raise TokenSignature("invalid token: its signature does not belong to its content; was it changed or cut?")
    return unverified.claims


def check(unverified: UnverifiedToken, issuer: Issuer, now: float, leeway: float, skew: float | None) -> None:
    """Check the claims of a token whose signature is good: steps 5 to 8.

    Args:
        unverified: whose signature was verified.
        issuer: who signed it.
        now: seconds since 1970.
        leeway: seconds by which clocks may differ.
        skew: seconds by which the issuer's clock was ahead of ours when its keys were fetched; for messages.

    Raises:
        TokenIsIdToken, TokenWrongAudience, TokenExpired, TokenNotYetValid, TokenInvalid: which of them.
    """
    claims = unverified.claims
    audiences = _audiences(claims)
    if _use(claims) in _OTHER_USES or "events" in claims:
        raise TokenInvalid("invalid token: it is no access token, but a refresh or logout token of the issuer.")
    if unverified.media_type != "at+jwt" and is_id_token(claims, audiences, issuer):  # (5)
        raise TokenIsIdToken("invalid token: it is an ID token, which says who logged in; send the access token.")
    if issuer.audience not in audiences:  # (6)
        raise TokenWrongAudience(
            f"invalid token: it was made for another audience than {issuer.audience!r}, the one of this server."
        )
    _check_times(claims, now, leeway, skew)  # (7)
    subject = claims.get("sub")  # (8)
    if not isinstance(subject, str) or not subject.strip() or len(subject) > MAX_SUBJECT or not subject.isprintable():
        raise TokenInvalid("invalid token: it does not say whose it is (`sub`).")


def is_id_token(claims: dict[str, Any], audiences: list[str], issuer: Issuer) -> bool:
    """Return whether a token looks like an ID token.

    No claim says so in every issuer's tokens, so: a claim that only ID tokens have (`nonce`, `at_hash`, …), a type
    that Keycloak (`typ`) and Cognito (`token_use`) write, or the client as only audience with nothing that was granted
    (`scope`, `scp`, `permissions`).
    """
    if any(name in claims for name in _ID_TOKEN_CLAIMS):
        return True
    if _use(claims) == "id":
        return True
    return audiences == [issuer.client_id] and not any(name in claims for name in ("scope", "scp", "permissions"))


def _use(claims: dict[str, Any]) -> str:
    """Return what an issuer says that a token is for, where it says so within the claims."""
    return str(claims.get("token_use") or claims.get("token_type") or claims.get("typ") or "").lower()


def email(claims: dict[str, Any]) -> str | None:
    """Return the e-mail address: `email`, or a claim whose name, a URL, ends so, as Auth0 has custom claims."""
    names = ["email", *(name for name in claims if name.startswith("https://") and name.endswith("/email"))]
    for name in names:
        value = claims.get(name)
        if isinstance(value, str) and "@" in value and len(value) <= MAX_EMAIL and value.isprintable():
            return value
    return None


def _check_times(claims: dict[str, Any], now: float, leeway: float, skew: float | None) -> None:
    expires = _moment(claims, "exp", required=True) or 0.0
    if expires + leeway <= now:
        late = now - expires
        hint = _clock(skew) if late <= _FRESHLY_EXPIRED_S else ""
        raise TokenExpired(f"The login has expired, {_span(late)} ago by this server's clock.{hint}")
    for name in ("nbf", "iat"):
        moment = _moment(claims, name, required=False)
        if moment is not None and moment > now + leeway:
            raise TokenNotYetValid(
                f"invalid token: it is valid only from {_span(moment - now)} in the future on (`{name}`), by this "
                f"server's clock: the clock of this server or of the issuer is wrong.{_measured(skew)}"
            )


def _clock(skew: float | None) -> str:
    return _measured(skew) or " If it was made just now, the clock of this server or of the issuer is wrong."


def _measured(skew: float | None) -> str:
    if skew is None or abs(skew) < 5:
        return ""
    side = "behind" if skew > 0 else "ahead of"
    return f" This server's clock is about {_span(abs(skew))} {side} the issuer's."


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 180 else f"{seconds / 60:.0f} min"


def _moment(claims: dict[str, Any], name: str, *, required: bool) -> float | None:
    value = claims.get(name)
    if value is None and not required:
        return None
    # RFC 7519, section 2: a NumericDate. A bool is an int in Python; the range keeps later arithmetic exact.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
        raise TokenInvalid(f"invalid token: `{name}` is not a moment in seconds since 1970.")
    return float(value)


def _audiences(claims: dict[str, Any]) -> list[str]:
    value = claims.get("aud")
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, str)]


def _decode(segment: bytes) -> bytes:
    """Return the bytes of a segment, which is base64url without padding (RFC 7515, section 2)."""
    if not _SEGMENT.fullmatch(segment) or len(segment) % 4 == 1:
        raise _malformed()
    return base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))


def _object(segment: bytes) -> dict[str, Any]:
    """Return a segment's JSON object; one that has a member twice could mean different things to two readers."""
    try:
        value = json.loads(_decode(segment), object_pairs_hook=_no_twice, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _malformed() from None
    if not isinstance(value, dict):
        raise _malformed()
    return value


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is there twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _malformed() -> TokenMalformed:
    return TokenMalformed("jwt malformed: this is no JWT, or not the whole of it.")
