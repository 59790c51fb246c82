"""The prover's side of the proofs, as plans (mesh_protocol/SPEC.md).

What takes long, the key stretching, is a step of its own (`Do`), so that an asynchronous client does it in a thread.
"""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from mesh import _account, _answers, _config, _operations, _requests
from mesh._account import Account
from mesh._operations import KeyArguments
from mesh._plan import Plan, do
from mesh._requests import Request
from mesh._send import Found, send
from mesh._transport import Reply
from mesh.errors import MeshError, local_error
from mesh.results import EnrolledKey, StoredKey, VerifiedKey
from mesh_protocol import messages, opaque, oprf, proof, zkp
from mesh_protocol.group import ELEMENT_BYTES, DecodingError
from mesh_protocol.ksf import DEFAULT, IDENTITY, KSF_BYTES, NONE, Ksf
from mesh_protocol.messages import from_text, to_text
from mesh_protocol.wire import API_PREFIX
from mesh_protocol.zkp import CHALLENGE_BYTES, Begun, Subject

if TYPE_CHECKING:
    from mesh.keys.cache import KeyCache

__all__ = ["Ksf"]

T = TypeVar("T")

_encoder = msgspec.json.Encoder()

#: One at a time: Argon2id with several lanes in several threads can wait for ever in the library, and it uses several
#: cores anyhow.
_stretching = threading.Lock()


@dataclass(frozen=True, slots=True)
class ValueCall:
    """A value and whose it is. `repr` does not show the value."""

    name: str
    value: bytes = field(repr=False)
    namespace: str


# --- arguments: what is wrong with a call is said before anything is sent ---


def value_call(
    positional: Sequence[Any], user_id: str | None, key_name: str | None, key_value: str | bytes | None
) -> ValueCall:
    """Return the call that positional arguments or keywords make.

    Raises:
        TypeError, ValueError: if it is wrong; the value is never part of the message.
    """
    if positional:
        if (user_id, key_name, key_value) != (None, None, None):
            raise TypeError(
                "give user_id, key_name and key_value all by position or all by keyword: mixed, a secret could land in "
                "the wrong place"
            )
        if len(positional) not in {2, 3}:
            raise TypeError(f"takes (key_name, key_value) or (user_id, key_name, key_value), not {len(positional)}")
        user_id, key_name, key_value = positional if len(positional) == 3 else (None, *positional)
    if key_name is None or key_value is None:
        raise TypeError("key_name and key_value are needed")
    namespace = _requests.check_names(key_name, user_id)
    return ValueCall(key_name, _requests.value_bytes(key_value), namespace)


def chosen_ksf(ksf: Ksf | None, *, high_entropy: bool) -> Ksf:
    """Return the key stretching function of an enrolment.

    Raises:
        TypeError: if it is none.
        ValueError: if it is out of bounds, or the identity without a promise about the value.
    """
    if ksf is None:
        return NONE if high_entropy else DEFAULT
    if not isinstance(ksf, Ksf):
        raise TypeError(f"ksf must be a mesh.Ksf, not {type(ksf).__name__}")
    if ksf.kind == IDENTITY and not high_entropy:
        raise ValueError("a value without key stretching must be beyond guessing: say high_entropy=True if it is")
    if ksf.kind not in {IDENTITY, DEFAULT.kind} or not ksf.acceptable:
        raise ValueError(
            "ksf must have 8 MiB to 1 GiB of memory, 1 to 10 passes, 1 to 16 lanes, and at most 4 GiB passed"
        )
    return ksf


# --- plans ---


def store(found: Found, account: Account, call: ValueCall, ksf: Ksf, *, overwrite: bool) -> Plan[EnrolledKey]:
    """Enrol a value. Where the login was renewed between start and finish, the flow begins again, once."""
    begun, started = yield from _start(found, account, call, overwrite=overwrite)
    asked_as = yield from _account.credential(found)
    try:
        return (yield from _finish(found, call, begun, started, ksf))
    except MeshError as problem:
        # The server binds an enrolment to the login that began it, and refuses another before it does anything.
        if problem.code != "challenge_unusable" or (yield from _account.credential(found)) == asked_as:
            raise
    begun, started = yield from _start(found, account, call, overwrite=overwrite)
    return (yield from _finish(found, call, begun, started, ksf))


def verify(found: Found, account: Account, call: ValueCall) -> Plan[VerifiedKey]:
    """Prove a value. Where the login was renewed between challenge and proof, the flow begins again, once."""
    try:
        verified, again, reply = yield from _verify(found, account, call)
    except MeshError as problem:
        if problem.code != "challenge_unusable":
            raise
        verified, again, reply = yield from _verify(found, account, call)
    warnings = [] if again is None else (yield from _enroll_again(found, account, call, again))
    return VerifiedKey(
        success=True,
        verified=verified,
        name=call.name,
        user_id=call.namespace or None,
        warnings=warnings,
        request_id=reply.headers.get("x-request-id"),
    )


def store_provable(
    found: Found,
    account: Account,
    name: str,
    value: str | bytes,
    arguments: KeyArguments,
    cache: "KeyCache | None" = None,
) -> Plan[StoredKey]:
    """Store a value and its verifier: begin to enrol, store, finish.

    In this order nothing is stored where nothing could be enrolled; storing ends the old value's verifier and every
    other enrolment, so that whatever fails, no verifier outlives its value.
    """
    call = value_call((), arguments.user_id, name, value)
    _operations.store_request(name, value, arguments)  # a wrong call is raised before anything is sent
    begun, started = yield from _start(found, account, call, overwrite=True)
    enrollment = started.enrollment_id
    stored = yield from _operations.store_key(found, name, value, arguments, provable=enrollment, cache=cache)
    try:
        enrolled = yield from _finish(found, call, begun, started, DEFAULT)
    except MeshError as problem:
        raise _half_done(problem, stored) from None
    return StoredKey({**stored, "provable": True, "record_version": enrolled.record_version})


def _half_done(problem: MeshError, stored: StoredKey) -> MeshError:
    return type(problem)(
        f"The key is stored as version {stored.version}, but can't be verified: {problem.message}",
        code=problem.code,
        details={"stored": True, "version": stored.version, "rev": stored.rev, "cause": problem.details},
        troubleshooting=["Enrol it now: store_key_zkp(…, overwrite=True).", *problem.troubleshooting],
        status=problem.status,
        request_id=problem.request_id,
    )


def _start(
    found: Found, account: Account, call: ValueCall, *, overwrite: bool
) -> Plan[tuple[Begun, messages.EnrollmentStarted]]:
    begun = yield from _begin(found, account, call)
    body = messages.StartEnrollment(
        suite=zkp.SUITE,
        server_id=begun.subject.server_id,
        key_name=call.name,
        user_id=call.namespace or None,
        blinded=to_text(begun.blinded),
        overwrite=overwrite,
    )
    reply = yield from send(found, _post("enroll/start", body), None)
    return begun, _read(reply, messages.EnrollmentStarted)


def _finish(
    found: Found, call: ValueCall, begun: Begun, started: messages.EnrollmentStarted, ksf: Ksf
) -> Plan[EnrolledKey]:
    # Of the login that asked: read when its answer is there, after any renewal.
    bind = zkp.bind_of((yield from _account.credential(found)))

    def work() -> tuple[bytes, bytes]:
        return zkp.enroll(
            begun,
            ksf,
            from_text(started.evaluated, ELEMENT_BYTES),
            from_text(started.server_public_key, ELEMENT_BYTES),
            from_text(started.challenge, CHALLENGE_BYTES),
            bind,
            os.urandom(opaque.NONCE_BYTES + proof.NONCE_ENTROPY_BYTES),
        )

    record, made = yield from _compute(work)
    body = messages.FinishEnrollment(
        enrollment_id=started.enrollment_id, ksf=to_text(ksf.encode()), record=to_text(record), proof=to_text(made)
    )
    reply = yield from send(found, _post("enroll/finish", body), None)
    enrolled = _read(reply, messages.Enrolled)
    return EnrolledKey(
        success=True,
        name=call.name,
        user_id=call.namespace or None,
        record_version=enrolled.record_version,
        created_at=enrolled.created_at.isoformat().replace("+00:00", "Z"),
        request_id=reply.headers.get("x-request-id"),
    )


def _verify(found: Found, account: Account, call: ValueCall) -> Plan[tuple[bool, Ksf | None, Reply]]:
    """Return whether the value is right, with which stretching it should be enrolled again, and the last reply."""
    begun = yield from _begin(found, account, call)
    asking = messages.AskChallenge(
        suite=zkp.SUITE,
        server_id=begun.subject.server_id,
        key_name=call.name,
        user_id=call.namespace or None,
        blinded=to_text(begun.blinded),
    )
    reply = yield from send(found, _post("challenge", asking), None)
    challenge = _read(reply, messages.Challenge)
    bind = zkp.bind_of((yield from _account.credential(found)))  # as in _finish

    def work() -> bytes | None:
        ksf = Ksf.decode(from_text(challenge.ksf, KSF_BYTES))
        if not ksf.acceptable:
            raise local_error("proof_parameters_refused", "The server asks for more work than a client does for it.")
        return zkp.answer(
            begun,
            ksf,
            from_text(challenge.credential_response, opaque.RESPONSE_BYTES),
            from_text(challenge.challenge, CHALLENGE_BYTES),
            bind,
            os.urandom(proof.NONCE_ENTROPY_BYTES),
        )

    made = yield from _compute(work)
    if made is None:  # another value, or another server: nothing more is sent
        return False, None, reply
    body = messages.SubmitProof(challenge_id=challenge.challenge_id, proof=to_text(made))
    reply = yield from send(found, _post("verify", body), None)
    answered = _read(reply, messages.Verified)
    again = answered.verified and answered.reenroll
    return answered.verified, Ksf.decode(from_text(challenge.ksf, KSF_BYTES)) if again else None, reply


def _enroll_again(found: Found, account: Account, call: ValueCall, ksf: Ksf) -> Plan[list[str]]:
    """Enrol a value that was just verified, because the server asks for it; return what is to be said of it.

    With the stretching that it was enrolled with, which is its owner's choice.
    """
    try:
        yield from store(found, account, call, ksf, overwrite=True)
    except MeshError as problem:
        return [f"The value is right, but could not be enrolled again as the server asks: {problem.message}"]
    return []


def _begin(found: Found, account: Account, call: ValueCall) -> Plan[Begun]:
    if isinstance(found, MeshError):
        raise found
    known = yield from _account.known(found, account)
    try:
        user = zkp.user_of(known.id, call.namespace)
        subject = Subject(_config.server_id(found.config), known.tenant, user, call.name)
    except ValueError as problem:
        raise local_error("invalid_request", f"This can't be enrolled or verified: {problem}.") from None
    return zkp.begin(subject, call.value, os.urandom(oprf.BLIND_ENTROPY_BYTES))


def _compute(work: Callable[[], T]) -> Plan[T]:
    """Do what takes long, and raise what it found wrong in an answer of the server."""

    def checked() -> T | MeshError:
        try:
            with _stretching:
                return work()
        except DecodingError:
            return local_error("answer_invalid", "The server's part of a proof is not what it must be.")
        except MeshError as problem:
            return problem

    outcome = yield from do(checked)
    if isinstance(outcome, MeshError):
        raise outcome
    return outcome


def _post(path: str, body: msgspec.Struct) -> Request:
    target = f"{API_PREFIX}/zkp/{path}"
    return Request(method="POST", route=target, path=target, body=_encoder.encode(body))


def _read(reply: Reply, kind: type[T]) -> T:
    if not 200 <= reply.status < 300:
        raise _answers.failure(reply)
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _answers.invalid(reply, "something that is no part of a proof") from None
