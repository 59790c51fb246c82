"""HTTP endpoints of the published clients' old scheme, for operators who still need it (docs/adr/0035)."""

from collections.abc import Callable

import msgspec

from mesh_protocol.messages import MAX_MESSAGE_BYTES
from mesh_protocol.quiet import Quiet
from mesh_server.addresses import network_of
from mesh_server.asgi import Endpoint, Parameter, Request, Send, send_json
from mesh_server.errors import InvalidRequest
from mesh_server.proofs.legacy_service import LegacyProofs

_NO_STORE = (b"cache-control", b"no-store")
_NAME = (
    Parameter(name="userId", description="Whose the key is, inside your own account."),
    Parameter(name="keyName", description="The key; some clients put the `userId` and `_` before it."),
)


class StoreCommitment(Quiet, msgspec.Struct, rename="camel"):
    """A commitment to a value. Members that are not named here are not looked at."""

    user_id: str
    key_name: str
    commitment: str


class CommitmentStored(msgspec.Struct):
    """That it is kept."""

    success: bool = True


class OldChallenge(msgspec.Struct):
    """Random bytes in hexadecimal digits, good once and for two minutes."""

    challenge: str
    success: bool = True


class Commitment(msgspec.Struct):
    """A commitment whose proofs are held against the value in the vault."""

    commitment: str
    success: bool = True


class SubmitOldProof(Quiet, msgspec.Struct, rename="camel"):
    """A proof. Members that are not named here are not looked at, such as what the client takes for the commitment."""

    user_id: str
    key_name: str
    proof: str
    challenge: str
    nullifier: str | None = None


class OldVerdict(msgspec.Struct):
    """Whether a proof is right."""

    verified: bool
    success: bool = True


_store = msgspec.json.Decoder(StoreCommitment)
_submit = msgspec.json.Decoder(SubmitOldProof)


class LegacyRoutes:
    """Handlers of the old scheme's endpoints.

    Args:
        proofs: the service.
        hash_address: a keyed hash, so that the limits keep no addresses.
    """

    def __init__(self, proofs: LegacyProofs, hash_address: Callable[[bytes], bytes]) -> None:
        self._proofs = proofs
        self._hash_address = hash_address

    async def store(self, request: Request, send: Send) -> None:
        """Keep a commitment."""
        body = await request.json(_store, MAX_MESSAGE_BYTES)
        await self._proofs.store(request.principal, body.user_id, body.key_name, body.commitment)
        await send_json(send, CommitmentStored(), headers=[_NO_STORE])

    async def challenge(self, request: Request, send: Send) -> None:
        """Hand out a challenge."""
        network = network_of(request.address)
        address = self._hash_address(network.encode())[:16].hex() if network else ""
        made = await self._proofs.challenge(request.principal, *_name_of(request), address)
        await send_json(send, OldChallenge(made), headers=[_NO_STORE])

    async def commitment(self, request: Request, send: Send) -> None:
        """Answer a commitment, where that makes no proof forgeable."""
        told = await self._proofs.commitment(request.principal, *_name_of(request))
        await send_json(send, Commitment(told), headers=[_NO_STORE])

    async def verify(self, request: Request, send: Send) -> None:
        """Judge a proof."""
        body = await request.json(_submit, MAX_MESSAGE_BYTES)
        verified = await self._proofs.verify(
            request.principal, body.user_id, body.key_name, body.challenge, body.proof, body.nullifier
        )
        await send_json(send, OldVerdict(verified), headers=[_NO_STORE])

    def endpoints(self) -> list[Endpoint]:
        """Return what this capability serves."""
        return [endpoint for prefix in ("/api/v1", "/v1/mesh") for endpoint in self._under(prefix)]

    def _under(self, prefix: str) -> list[Endpoint]:
        return [
            Endpoint(
                method="POST",
                path=f"{prefix}/storeKeyZKP",
                handler=self.store,
                summary="Keep a commitment (old scheme)",
                access="keys:write",
                body=StoreCommitment,
                answer=CommitmentStored,
                errors=("storage_read_only",),
                deprecated=True,
            ),
            Endpoint(
                method="GET",
                path=f"{prefix}/getChallenge",
                handler=self.challenge,
                summary="Ask for a challenge (old scheme)",
                access="verify",
                answer=OldChallenge,
                parameters=_NAME,
                errors=("rate_limited", "storage_read_only"),
                deprecated=True,
            ),
            Endpoint(
                method="GET",
                path=f"{prefix}/getCommitment",
                handler=self.commitment,
                summary="Read a commitment whose value is in the vault (old scheme)",
                access="verify",
                answer=Commitment,
                parameters=_NAME,
                errors=("record_not_found", "storage_read_only"),
                deprecated=True,
            ),
            Endpoint(
                method="POST",
                path=f"{prefix}/verifyProof",
                handler=self.verify,
                summary="Answer a challenge with a proof (old scheme)",
                access="verify",
                body=SubmitOldProof,
                answer=OldVerdict,
                errors=("record_not_found", "rate_limited", "storage_read_only"),
                deprecated=True,
            ),
        ]


def endpoints(proofs: LegacyProofs, hash_address: Callable[[bytes], bytes]) -> list[Endpoint]:
    """Return what this capability serves."""
    return LegacyRoutes(proofs, hash_address).endpoints()


def _name_of(request: Request) -> tuple[str, str]:
    query = request.parameters("userId", "keyName")
    for member in ("userId", "keyName"):
        if member not in query:
            raise InvalidRequest(f"The parameter `{member}` is missing.")
    return query["userId"], query["keyName"]
