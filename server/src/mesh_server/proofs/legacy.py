"""The endpoints of the published clients' old scheme: they answer that it is gone, and what took its place.

What they proved could be forged by anybody who had asked for the commitment, so nothing of it is served, unless the
operator sets `legacy_zkp` (legacy_routes.py).
"""

from mesh_server.asgi import PUBLIC, Endpoint, Request, Send
from mesh_server.errors import ProtocolUpgradeRequired
from mesh_server.telemetry import logger

_ENDPOINTS = (
    ("POST", "/api/v1/storeKeyZKP"),
    ("GET", "/api/v1/getChallenge"),
    ("GET", "/v1/mesh/getChallenge"),
    ("GET", "/api/v1/getCommitment"),
    ("POST", "/api/v1/verifyProof"),
    ("POST", "/v1/mesh/storeKeyZKP"),
    ("GET", "/v1/mesh/getCommitment"),
    ("POST", "/v1/mesh/verifyProof"),
)


_log = logger("mesh.proofs")


def warn() -> None:
    """Say in the log that the old scheme is answered; once, by whoever starts the server."""
    _log.warning(
        "MESH_LEGACY_ZKP is on: the published clients' old proofs are answered. They are checked honestly, but are not "
        "zero-knowledge: whoever reads the database can test guesses. Read docs/security/proofs.md."
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
            deprecated=True,
        )
        for method, path in _ENDPOINTS
    ]
