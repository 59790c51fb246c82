"""The configured issuers: verifies what they sign."""

import time
from collections.abc import Sequence

from mesh_server.accounts.oidc import claims
from mesh_server.accounts.oidc.fetch import Fetcher
from mesh_server.accounts.oidc.keys import IssuerKeys
from mesh_server.accounts.oidc.models import LEEWAY_S, Issuer, SignedClaims
from mesh_server.errors import TokenOpaque, TokenSignature, TokenWrongIssuer


class Issuers:
    """Every issuer whose logins this server accepts.

    Args:
        issuers: as configured; the first is the one that clients are told.
        leeway_s: seconds by which an issuer's clock may differ from ours.
    """

    def __init__(self, issuers: Sequence[Issuer] = (), *, leeway_s: float = LEEWAY_S) -> None:
        self.fetcher = Fetcher()
        self._issuers = {issuer.name: issuer for issuer in issuers}
        self._keys = {issuer.name: IssuerKeys(issuer, self.fetcher) for issuer in issuers}
        self._leeway_s = leeway_s

    @property
    def first(self) -> Issuer | None:
        """The issuer that clients are told; None where there is none."""
        return next(iter(self._issuers.values()), None)

    def keys(self, issuer: Issuer) -> IssuerKeys:
        """Return what is known of an issuer."""
        return self._keys[issuer.name]

    async def verify(self, token: str) -> SignedClaims:
        """Return what an access token says, if it is a good one of a configured issuer.

        Raises:
            TokenError: a class of it for each way in which it is not.
            IssuerUnavailable: if its issuer can't be reached and its keys are not known.
        """
        if "." not in token:
            raise TokenOpaque(
                "invalid token: this access token is opaque, it says nothing about its bearer. The login did not ask "
                "for this server's audience: AUTH0_AUDIENCE is missing where the login was made."
            )
        unverified = claims.read(token)
        issuer = self._issuers.get(unverified.issuer.rstrip("/"))
        if issuer is None:
            raise TokenWrongIssuer(f"invalid token: it comes from another issuer than {self._named()}.")
        keys = self._keys[issuer.name]
        known = await keys.known()
        if unverified.issuer != known.metadata.issuer:  # (3) exact, with its slash or without
            raise TokenWrongIssuer(f"invalid token: its `iss` is not exactly {known.metadata.issuer!r}.")
        candidates = known.candidates(unverified.algorithm, unverified.kid)
        if not candidates:
            known = await keys.look_again()
            candidates = known.candidates(unverified.algorithm, unverified.kid)
        if not candidates:
            raise TokenSignature("invalid token: it is signed with a key that its issuer does not publish.")
        signed = claims.verify(unverified, candidates)
        now = time.time()
        claims.check(unverified, issuer, now, self._leeway_s, known.clock_skew_s)
        return SignedClaims(
            issuer=issuer,
            issuer_id=known.metadata.issuer,
            subject=signed["sub"],
            email=claims.email(signed),
            expires_at=round((signed["exp"] + self._leeway_s) * 1_000_000),
        )

    async def close(self) -> None:
        """Close every connection."""
        for keys in self._keys.values():
            await keys.close()
        await self.fetcher.close()

    def _named(self) -> str:
        return " and ".join(self._issuers)
