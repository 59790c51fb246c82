"""What was set by argument or environment about how to log in."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mesh._secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What was set by argument or environment, and wins over what the server says."""

    domain: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = field(default=None, repr=False)
    audience: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the server needn't be asked."""
        return None not in {self.domain, self.client_id, self.audience}


def overrides(
    env: Mapping[str, str],
    *,
    domain: str | None = None,
    client_id: str | None = None,
    client_secret: str | None = None,
    audience: str | None = None,
) -> Overrides:
    """Return what wins over the server's word: argument over environment."""
    secret = client_secret or env.get("AUTH0_CLIENT_SECRET") or None
    return Overrides(
        domain=domain or env.get("AUTH0_DOMAIN") or None,
        client_id=client_id or env.get("AUTH0_CLIENT_ID") or None,
        client_secret=Secret(secret) if secret else None,
        audience=audience or env.get("AUTH0_AUDIENCE") or None,
    )


def issuer_of(domain: str) -> str:
    """Return the issuer of a domain; one given as a URL is used as it is."""
    return domain if "://" in domain else f"https://{domain.strip('/')}/"
