"""An issuer's documents and public keys, as they are now.

Keys are good for ten minutes. A key that is not among them is looked for at most once in 30 seconds, whoever asks, so
that forged tokens can't make this server knock at an issuer's door. While the issuer is down, known keys serve on.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from mesh_server.accounts.oidc.fetch import Fetcher
from mesh_server.accounts.oidc.models import Issuer
from mesh_server.errors import IssuerUnavailable
from mesh_server.telemetry import logger

#: Seconds for which fetched keys are good.
KEYS_LIVE_S = 600.0
#: Seconds between two fetches for the sake of an unknown key.
UNKNOWN_KEY_S = 30.0
#: Seconds for which known keys serve while the issuer can't be reached.
KEYS_SERVE_S = 86_400.0
#: Longest time in seconds between two tries to reach an issuer that failed.
MOST_WAIT_S = 30.0
_MOST_KEYS = 64
_LEAST_RSA_BITS = 2048

Algorithm = Literal["RS256", "ES256"]
VerifyKey = RSAKey | ECKey

_log = logger("mesh.oidc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What an issuer's discovery document says (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str | None
    token_endpoint: str | None
    device_endpoint: str | None
    auth_methods: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of an issuer.

    Attributes:
        metadata: its discovery document.
        keys: algorithm, key id (None where it has none) and key, as published.
        clock_skew_s: seconds by which its clock is ahead of ours; None where it does not say.
    """

    metadata: Metadata
    keys: tuple[tuple[Algorithm, str | None, VerifyKey], ...]
    clock_skew_s: float | None

    def candidates(self, algorithm: Algorithm, kid: str | None) -> list[VerifyKey]:
        """Return the keys that may have signed a token: the one of its key id, or all where it names none."""
        return [key for alg, name, key in self.keys if alg == algorithm and kid in {None, name}]


class IssuerKeys:
    """Keeps what is known of one issuer fresh; one fetch at a time, however many ask."""

    def __init__(self, issuer: Issuer, fetcher: Fetcher) -> None:
        self._issuer = issuer
        self._fetcher = fetcher
        self._known: Known | None = None
        self._fetched_at = float("-inf")
        self._looked_at = float("-inf")
        self._failures = 0
        self._retry_at = float("-inf")
        self._why = ""
        self._fetching: asyncio.Task[None] | None = None

    async def known(self) -> Known:
        """Return what is known, fetched anew where it is older than ten minutes.

        Raises:
            IssuerUnavailable: if the issuer can't be reached and nothing of it is known.
        """
        if time.monotonic() - self._fetched_at > KEYS_LIVE_S:
            await self._refresh()
        known = self._known
        if known is None or time.monotonic() - self._fetched_at > KEYS_SERVE_S:
            raise IssuerUnavailable(
                self._why or f"The issuer {self._issuer.name} can't be reached.",
                retry_after=max(1.0, self._retry_at - time.monotonic()),
            )
        return known

    async def look_again(self) -> Known:
        """Return what is known after a look for new keys, if the last look is 30 seconds ago.

        Raises:
            IssuerUnavailable: as `known`.
        """
        if time.monotonic() - max(self._looked_at, self._fetched_at) > UNKNOWN_KEY_S or self._fetching is not None:
            await self._refresh()
        return await self.known()

    async def close(self) -> None:
        """Stop a fetch that is running."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    async def _refresh(self) -> None:
        if self._fetching is None:
            if time.monotonic() < self._retry_at:
                return
            self._fetching = asyncio.create_task(self._fetch())
        # Shielded: a caller that hangs up must not end the fetch that the others wait for.
        await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        self._looked_at = time.monotonic()
        try:
            self._known = await self._read()
        except IssuerUnavailable as problem:
            self._failures += 1
            self._retry_at = time.monotonic() + min(MOST_WAIT_S, 2.0 ** min(self._failures, 5))
            self._why = problem.message
            _log.warning("an issuer can't be used now", issuer=self._issuer.name, reason=problem.message)
        else:
            self._failures, self._retry_at, self._why = 0, float("-inf"), ""
            self._fetched_at = time.monotonic()
        finally:
            self._fetching = None

    async def _read(self) -> Known:
        name = self._issuer.name
        found = await self._fetcher.get(f"{name}/.well-known/openid-configuration")
        if found.status != 200:
            raise IssuerUnavailable(f"The issuer {name} answers its discovery document with status {found.status}.")
        metadata = read_metadata(self._issuer, found.body)
        answer = await self._fetcher.get(metadata.jwks_uri)
        if answer.status != 200:
            raise IssuerUnavailable(f"The issuer {name} answers its keys with status {answer.status}.")
        keys = read_keys(answer.body)
        if not keys:
            raise IssuerUnavailable(f"The issuer {name} publishes no key for RS256 or ES256.")
        return Known(metadata=metadata, keys=keys, clock_skew_s=answer.clock_skew_s)


def read_metadata(issuer: Issuer, document: dict[str, Any]) -> Metadata:
    """Return an issuer's discovery document.

    Raises:
        IssuerUnavailable: if it is another's (Discovery, section 4.3) or points to where we don't go.
    """
    stated = document.get("issuer")
    if not isinstance(stated, str) or stated.rstrip("/") != issuer.name:
        raise IssuerUnavailable(f"The discovery document at {issuer.name} belongs to another issuer, or to none.")
    jwks_uri = _address(issuer, document, "jwks_uri")
    if jwks_uri is None:
        raise IssuerUnavailable(f"The discovery document at {issuer.name} does not say where the keys are.")
    methods = document.get("token_endpoint_auth_methods_supported")
    return Metadata(
        issuer=stated,
        jwks_uri=jwks_uri,
        authorization_endpoint=_address(issuer, document, "authorization_endpoint"),
        token_endpoint=_address(issuer, document, "token_endpoint"),
        device_endpoint=_address(issuer, document, "device_authorization_endpoint"),
        auth_methods=tuple(map(str, methods)) if isinstance(methods, list) else (),
    )


def _address(issuer: Issuer, document: dict[str, Any], name: str) -> str | None:
    found = document.get(name)
    if found is None:
        return None
    if not isinstance(found, str) or not _is_address(found, urlsplit(issuer.url).scheme):
        raise IssuerUnavailable(f"The discovery document at {issuer.name} has no usable {name}.")
    return found


def _is_address(text: str, issuers_scheme: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is no port
    except ValueError:
        return False
    # An issuer on this machine speaks http with us; no other may send us where nothing is encrypted.
    return bool(parts.hostname) and parts.scheme in {"https", issuers_scheme}


def read_keys(document: dict[str, Any]) -> tuple[tuple[Algorithm, str | None, VerifyKey], ...]:
    """Return the keys of a JWK set (RFC 7517) that can verify RS256 or ES256; others are passed over."""
    entries = document.get("keys")
    found: list[tuple[Algorithm, str | None, VerifyKey]] = []
    for entry in entries[:_MOST_KEYS] if isinstance(entries, list) else ():
        key = _key(entry) if isinstance(entry, dict) else None
        if key is not None:
            found.append(key)
    return tuple(found)


def _key(entry: dict[str, Any]) -> tuple[Algorithm, str | None, VerifyKey] | None:
    kid = entry.get("kid")
    if entry.get("use", "sig") != "sig" or not isinstance(kid, str | None):
        return None
    try:
        if entry.get("kty") == "RSA" and entry.get("alg", "RS256") == "RS256":
            if len(entry["n"]) * 6 < _LEAST_RSA_BITS:  # base64url: six bits a character
                return None
            # Only the public members: what else an issuer writes there is none of our business.
            rsa = RSAKey.import_key({"kty": "RSA", "n": entry["n"], "e": entry["e"]})
            return ("RS256", kid, rsa) if rsa.public_key.key_size >= _LEAST_RSA_BITS else None
        if entry.get("kty") == "EC" and entry.get("crv") == "P-256" and entry.get("alg", "ES256") == "ES256":
            curve_point = {"kty": "EC", "crv": "P-256", "x": entry["x"], "y": entry["y"]}
            return "ES256", kid, ECKey.import_key(curve_point)
    except (JoseError, ValueError, KeyError, TypeError):
        return None
    return None
