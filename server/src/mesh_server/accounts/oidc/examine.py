"""Looks whether an issuer is there, for `mesh-server doctor`."""

from dataclasses import dataclass

from mesh_server.accounts.oidc.fetch import Fetcher
from mesh_server.accounts.oidc.keys import IssuerKeys
from mesh_server.accounts.oidc.models import Issuer
from mesh_server.errors import IssuerUnavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What came of it.

    Attributes:
        problem: why nobody could log in; None where its documents are as they should be.
        keys: how many keys it signs with.
        has_device_flow, has_browser_flow: whether it says that it offers them.
        clock_skew_s: seconds by which its clock is ahead of ours; None where it does not say.
    """

    problem: str | None
    keys: int = 0
    has_device_flow: bool = False
    has_browser_flow: bool = False
    clock_skew_s: float | None = None


async def examine(issuer: Issuer) -> Examined:
    """Fetch an issuer's discovery document and keys, once."""
    fetcher = Fetcher()
    try:
        known = await IssuerKeys(issuer, fetcher).known()
    except IssuerUnavailable as problem:
        return Examined(problem=problem.message)
    finally:
        await fetcher.close()
    return Examined(
        problem=None,
        keys=len(known.keys),
        has_device_flow=known.metadata.device_endpoint is not None,
        has_browser_flow=known.metadata.authorization_endpoint is not None,
        clock_skew_s=known.clock_skew_s,
    )
