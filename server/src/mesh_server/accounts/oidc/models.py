"""Plain records of logins."""

from dataclasses import dataclass, field
from typing import Literal

Flow = Literal["device", "browser"]
#: What a login asks for: who it is, and a refresh token.
LOGIN_SCOPE = "openid profile email offline_access"
#: How far an issuer's clock may be from ours, in seconds.
LEEWAY_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An issuer as it is configured. `repr` does not show its secret.

    Attributes:
        url: what its tokens have as `iss`, up to a slash at the end: the issuer's own document decides that.
        client_id: the application that people log in to.
        client_secret: of that application; None for a public one, which a native application is.
        audience: what an access token for this server has as `aud`.
        tenant: where its people's accounts are.
        flows: how people may log in, the one to try first first.
        admins: subjects whose login has the scope `admin`.
        is_auth0: whether it hands out refresh tokens without being made to ask for consent each time.
    """

    url: str
    client_id: str
    client_secret: str | None = field(repr=False)
    audience: str
    tenant: str
    flows: tuple[Flow, ...] = ("device", "browser")
    admins: frozenset[str] = frozenset()
    is_auth0: bool = False

    @property
    def name(self) -> str:
        """The issuer without a slash at its end: issuers that differ by nothing else are the same."""
        return self.url.rstrip("/")

    @property
    def domain(self) -> str:
        """What clients call it: the bare domain, as Auth0 shows it; the whole URL where it is not https."""
        return self.name.removeprefix("https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedClaims:
    """What a verified access token says of its bearer.

    Attributes:
        issuer: the configuration of who signed it.
        issuer_id: its exact `iss`; with `subject` the identity.
        subject: `sub`.
        email: for display only; never an identity.
        expires_at: the last moment at which it is accepted, leeway included, in microseconds since 1970.
    """

    issuer: Issuer
    issuer_id: str
    subject: str
    email: str | None
    expires_at: int
