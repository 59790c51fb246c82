"""The endpoints of the published clients' old scheme: they answer that it is gone, and what took its place.

What they proved could be forged by anybody who had asked for the commitment, so nothing of it is served.
"""

from mesh_server.asgi import PUBLIC, Endpoint, Request, Send
from mesh_server.errors import ProtocolUpgradeRequired

_ENDPOINTS = (
    ("POST", "/api/v1/storeKeyZKP"),
    ("GET", "/api/v1/getChallenge"),
    ("GET", "/v1/mesh/getChallenge"),
    ("GET", "/api/v1/getCommitment"),
    ("POST", "/api/v1/verifyProof"),
)


async def refuse(_request: Request, _send: Send) -> None:
    """Answer 426 (RFC 9110, section 15.5.22); nothing of the request is read.

    Raises:
        ProtocolUpgradeRequired: always.
    """
    raise ProtocolUpgradeRequired(
        "This protocol of proofs is no longer spoken: it proved nothing to whoever knew its commitments. "
        "Its successor is under /api/v1/zkp/."
    )


def endpoints() -> list[Endpoint]:
    """Return what is refused; public, because there is nothing behind it."""
    return [
        Endpoint(
            method=method,
            path=path,
            handler=refuse,
            summary="Gone: the old scheme of proofs",
            access=PUBLIC,
            errors=("protocol_upgrade_required",),
        )
        for method, path in _ENDPOINTS
    ]
