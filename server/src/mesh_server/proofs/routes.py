"""HTTP endpoints of the proofs: messages in and out, each byte string checked before anything is done with it."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from mesh_protocol import messages, opaque
from mesh_protocol.group import ELEMENT_BYTES, DecodingError
from mesh_protocol.ksf import KSF_BYTES
from mesh_protocol.messages import ID_BYTES, MAX_MESSAGE_BYTES, from_text, to_text
from mesh_protocol.proof import PROOF_BYTES
from mesh_protocol.zkp import bind_of
from mesh_server.accounts.credentials import credential_of
from mesh_server.addresses import network_of
from mesh_server.asgi import Endpoint, Handler, Parameter, Request, Send, send_json
from mesh_server.errors import InvalidRequest
from mesh_server.ids import moment
from mesh_server.proofs.models import Caller, Target
from mesh_server.proofs.service import MAX_PAGE, Proofs

T = TypeVar("T")

_PREFIX = "/api/v1/zkp"
_NO_STORE = (b"cache-control", b"no-store")
_USER_ID = Parameter(name="user_id", description="A namespace inside your own account; none by default.")


class RecordName(msgspec.Struct):
    """What is known of an enrolled value."""

    name: str
    user_id: str | None
    record_version: int
    created_at: datetime


class RecordList(msgspec.Struct):
    """A page of enrolled names, and the name after which the next page begins."""

    records: list[RecordName]
    next_after: str | None
    success: bool = True


class RemovedRecord(msgspec.Struct):
    """The name of a record that was removed."""

    name: str
    success: bool = True


_start = msgspec.json.Decoder(messages.StartEnrollment)
_finish = msgspec.json.Decoder(messages.FinishEnrollment)
_ask = msgspec.json.Decoder(messages.AskChallenge)
_submit = msgspec.json.Decoder(messages.SubmitProof)


class ProofRoutes:
    """Handlers of the proof endpoints.

    Args:
        proofs: the service.
        hash_address: a keyed hash, so that the limits keep no addresses.
    """

    def __init__(self, proofs: Proofs, hash_address: Callable[[bytes], bytes]) -> None:
        self._proofs = proofs
        self._hash_address = hash_address

    async def start_enrollment(self, request: Request, send: Send) -> None:
        """Begin an enrolment."""
        body = await request.json(_start, MAX_MESSAGE_BYTES)
        target = self._target(request, body)
        made = await self._proofs.start_enrollment(
            request.principal,
            self._caller(request),
            target,
            _bytes(body.blinded, ELEMENT_BYTES, "blinded"),
            overwrite=body.overwrite,
        )
        answer = messages.EnrollmentStarted(
            enrollment_id=to_text(made.id),
            evaluated=to_text(made.evaluated),
            server_public_key=to_text(made.server_public_key),
            challenge=to_text(made.challenge),
            record_version=made.version,
            expires_at=moment(made.expires_at),
        )
        await send_json(send, answer, headers=[_NO_STORE])

    async def finish_enrollment(self, request: Request, send: Send) -> None:
        """Store the record."""
        body = await request.json(_finish, MAX_MESSAGE_BYTES)
        made = await self._proofs.finish_enrollment(
            request.principal,
            self._caller(request),
            _bytes(body.enrollment_id, ID_BYTES, "enrollmentId"),
            _bytes(body.ksf, KSF_BYTES, "ksf"),
            _bytes(body.record, opaque.RECORD_BYTES, "record"),
            _bytes(body.proof, PROOF_BYTES, "proof"),
        )
        answer = messages.Enrolled(record_version=made.version, created_at=moment(made.created_at))
        await send_json(send, answer, headers=[_NO_STORE])

    async def challenge(self, request: Request, send: Send) -> None:
        """Hand out a challenge."""
        body = await request.json(_ask, MAX_MESSAGE_BYTES)
        target = self._target(request, body)
        blinded = _bytes(body.blinded, ELEMENT_BYTES, "blinded")
        made = await self._proofs.challenge(request.principal, self._caller(request), target, blinded)
        answer = messages.Challenge(
            challenge_id=to_text(made.id),
            challenge=to_text(made.challenge),
            ksf=to_text(made.ksf),
            credential_response=to_text(made.response),
            expires_at=moment(made.expires_at),
        )
        await send_json(send, answer, headers=[_NO_STORE])

    async def verify(self, request: Request, send: Send) -> None:
        """Judge a proof. One that can't even be read is a wrong one."""
        body = await request.json(_submit, MAX_MESSAGE_BYTES)
        try:
            made = from_text(body.proof, PROOF_BYTES)
        except DecodingError:
            made = b""
        name = _bytes(body.challenge_id, ID_BYTES, "challengeId")
        verified, reenroll = await self._proofs.verify(request.principal, self._caller(request), name, made)
        await send_json(send, messages.Verified(verified=verified, reenroll=reenroll), headers=[_NO_STORE])

    async def remove(self, request: Request, send: Send) -> None:
        """Remove a record."""
        query = request.parameters("user_id")
        name = request.path_params["name"]
        await self._proofs.remove(request.principal, name, namespace=query.get("user_id", ""))
        await send_json(send, RemovedRecord(name))

    async def list_records(self, request: Request, send: Send) -> None:
        """Answer which names are enrolled, a page at a time."""
        query = request.parameters("user_id", "after", "limit")
        limit = query.get("limit", str(MAX_PAGE))
        if not re.fullmatch(r"[0-9]{1,9}", limit):
            raise InvalidRequest("`limit` must be a whole number.")
        found, after = await self._proofs.list_records(
            request.principal, namespace=query.get("user_id", ""), after=query.get("after", ""), limit=int(limit)
        )
        shown = [RecordName(r.name, r.namespace or None, r.version, moment(r.created_at)) for r in found]
        await send_json(send, RecordList(shown, after), headers=[_NO_STORE])

    def _target(self, request: Request, body: messages.StartEnrollment | messages.AskChallenge) -> Target:
        return self._proofs.target(
            request.principal,
            suite=body.suite,
            server_id=body.server_id,
            namespace=body.user_id or "",
            name=body.key_name,
        )

    def _caller(self, request: Request) -> Caller:
        credential = credential_of(request.header(b"authorization"), request.header(b"x-api-key"))
        network = network_of(request.address)
        address = self._hash_address(network.encode())[:16].hex() if network else ""
        return Caller(bind_of(credential), address)

    def endpoints(self) -> list[Endpoint]:
        """Return what this capability serves."""
        return [
            _post("enroll/start", self.start_enrollment, "Begin to enrol a value", "keys:write", _STARTED),
            _post("enroll/finish", self.finish_enrollment, "Store the record of a value", "keys:write", _FINISHED),
            _post("challenge", self.challenge, "Ask for a challenge", "verify", _CHALLENGED),
            _post("verify", self.verify, "Answer a challenge with a proof", "verify", _VERIFIED),
            Endpoint(
                method="GET",
                path=f"{_PREFIX}/records",
                handler=self.list_records,
                summary="List the names of your enrolled values",
                access="keys:read",
                answer=RecordList,
                parameters=(
                    _USER_ID,
                    Parameter(name="after", description="`next_after` of the page before."),
                    Parameter(name="limit", description=f"1 to {MAX_PAGE}.", schema=int),
                ),
            ),
            Endpoint(
                method="DELETE",
                path=f"{_PREFIX}/records/{{name}}",
                handler=self.remove,
                summary="Remove an enrolled value",
                access="keys:write",
                answer=RemovedRecord,
                parameters=(_USER_ID,),
                errors=("record_not_found", "storage_read_only"),
            ),
        ]


def endpoints(proofs: Proofs, hash_address: Callable[[bytes], bytes]) -> list[Endpoint]:
    """Return what this capability serves."""
    return ProofRoutes(proofs, hash_address).endpoints()


_LIMITED = ("rate_limited", "storage_read_only")
_STARTED = (
    messages.StartEnrollment,
    messages.EnrollmentStarted,
    ("server_identity_mismatch", "record_exists", *_LIMITED),
)
_FINISHED = (
    messages.FinishEnrollment,
    messages.Enrolled,
    ("challenge_unusable", "record_exists", "record_superseded", "storage_read_only"),
)
_CHALLENGED = (messages.AskChallenge, messages.Challenge, ("server_identity_mismatch", *_LIMITED))
_VERIFIED = (messages.SubmitProof, messages.Verified, ("challenge_unusable", "storage_read_only"))


def _post(
    path: str, handler: Handler, summary: str, access: str, types: tuple[type, type, tuple[str, ...]]
) -> Endpoint:
    body, answer, errors = types
    return Endpoint(
        method="POST",
        path=f"{_PREFIX}/{path}",
        handler=handler,
        summary=summary,
        access=access,
        body=body,
        answer=answer,
        errors=errors,
    )


def _bytes(text: str, length: int, member: str) -> bytes:
    try:
        return from_text(text, length)
    except DecodingError as problem:
        raise InvalidRequest(f"`{member}`: {problem}.") from None
