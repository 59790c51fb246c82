"""The dev issuer's tokens and the keys that sign them."""

import base64
import hashlib
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from mesh_server.dev_issuer.errors import OAuthProblem
from mesh_server.dev_issuer.settings import AUDIENCE, CLIENT_ID, DevIssuerSettings
from mesh_server.dev_issuer.state import Grant, SigningKey, State
from mesh_server.ids import uuid7

#: ES256: a key is made in a millisecond.
ALGORITHM = "ES256"


class Signer:
    """Signs tokens with the newest key; keys take turns by their age."""

    def __init__(self, settings: DevIssuerSettings, state: State) -> None:
        self._settings = settings
        self._state = state

    def rotate(self, now: float) -> None:
        """Make a new key; the ones before stay published for as long as what they signed lives."""
        made = ECKey.generate_key("P-256")
        key = SigningKey(made.thumbprint(), dict(made.as_dict(private=True)), now)
        keys = self._state.keys
        # A key signs until the one before it in this list was made.
        self._state.keys = [
            key,
            *(
                old
                for newer, old in zip([key, *keys], keys, strict=False)
                if newer.made_at + self._settings.token_life_s > now
            ),
        ]

    def keep_fresh(self, now: float) -> bool:
        """Make a new key where the newest is too old, and return whether that was so."""
        if self._state.keys and now < self._state.keys[0].made_at + self._settings.key_life_s:
            return False
        self.rotate(now)
        return True

    def jwks(self) -> dict[str, Any]:
        """Return the public keys (RFC 7517)."""
        public = ("kty", "crv", "x", "y")
        return {
            "keys": [
                {name: key.private[name] for name in public} | {"kid": key.kid, "use": "sig", "alg": ALGORITHM}
                for key in self._state.keys
            ]
        }

    def tokens(self, grant: Grant, now: float) -> dict[str, Any]:
        """Return the answer of the token endpoint (RFC 6749, section 5.1; RFC 9068)."""
        lives = self._settings.token_life_s
        access_token = self._sign(
            {"aud": AUDIENCE, "client_id": CLIENT_ID, "scope": grant.scope, "sid": grant.family, **_about(grant)},
            now,
            media_type="at+jwt",
        )
        answer: dict[str, Any] = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": int(lives),
            "scope": grant.scope,
        }
        if grant.refresh_token is not None:
            answer["refresh_token"] = grant.refresh_token
        if "openid" in grant.scope.split():
            half = hashlib.sha256(access_token.encode()).digest()[:16]  # OpenID Connect Core 1.0, section 3.1.3.6
            claims = {
                "aud": CLIENT_ID,
                "azp": CLIENT_ID,
                "auth_time": int(grant.auth_time),
                "at_hash": base64.urlsafe_b64encode(half).decode().rstrip("="),
                **_about(grant),
            }
            if grant.nonce is not None:
                claims["nonce"] = grant.nonce
            answer["id_token"] = self._sign(claims, now, media_type="JWT")
        return answer

    def claims(self, access_token: str, now: float) -> dict[str, Any]:
        """Return the claims of one of our own access tokens.

        Raises:
            OAuthProblem: `invalid_token`.
        """
        for key in self._state.keys:
            try:
                token = jwt.decode(access_token, ECKey.import_key(key.private), algorithms=[ALGORITHM])
            except (JoseError, ValueError):
                continue
            if token.header.get("typ") == "at+jwt" and token.claims["exp"] > now:
                return token.claims
        raise OAuthProblem("invalid_token", "The access token is not one of this issuer's, or has expired.", status=401)

    def _sign(self, claims: dict[str, Any], now: float, *, media_type: str) -> str:
        key = self._state.keys[0]
        header = {"alg": ALGORITHM, "kid": key.kid, "typ": media_type}
        issued = {
            "iss": self._settings.url,
            "iat": int(now),
            "exp": int(now + self._settings.token_life_s),
            "jti": uuid7(),
        }
        return jwt.encode(header, issued | claims, ECKey.import_key(key.private))


def _about(grant: Grant) -> dict[str, Any]:
    """Return who it is: the name, and the address where the name is one."""
    scopes = grant.scope.split()
    claims: dict[str, Any] = {"sub": subject(grant.name)}
    if "profile" in scopes:
        claims["name"] = grant.name
    if "email" in scopes and "@" in grant.name:
        claims |= {"email": grant.name, "email_verified": False}
    return claims


def subject(name: str) -> str:
    """Return the subject of a name."""
    return f"dev|{name}"
