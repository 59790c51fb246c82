"""What the proofs do: enrol a value, challenge whoever claims it, judge the answer. The steps are those of SPEC.md."""

import os
from collections.abc import Callable
from typing import TypeVar

from mesh_protocol import opaque, proof, zkp
from mesh_protocol.group import DecodingError
from mesh_protocol.ksf import DEFAULT, Ksf
from mesh_protocol.zkp import CHALLENGE_BYTES, LIFETIME_S, Subject
from mesh_server.accounts.models import Account, Principal
from mesh_server.audit.chain import KeyedHash
from mesh_server.audit.service import Audit
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.errors import (
    ChallengeUnusable,
    InvalidRequest,
    MeshError,
    RecordExists,
    RecordNotFound,
    RecordSuperseded,
    ServerIdentityMismatch,
    StartupError,
)
from mesh_server.ids import now_us
from mesh_server.proofs import challenges, limits, records
from mesh_server.proofs.challenges import PendingChallenge, PendingEnrollment
from mesh_server.proofs.limits import Buckets
from mesh_server.proofs.models import (
    Caller,
    EnrolledRecord,
    OpenChallenge,
    OpenEnrollment,
    Rates,
    Target,
)
from mesh_server.proofs.records import FIRST_VERSION, Records, StoredRecord
from mesh_server.proofs.roots import Roots

MAX_PAGE = 200
_LIFETIME_US = LIFETIME_S * 1_000_000
_ID_BYTES = 16

T = TypeVar("T")


class Proofs:
    """The enrolled values of every account, each reachable by its own principal only.

    Args:
        database: where records, challenges and limits are.
        roots: what the seeds are derived from; not in the database.
        server_id: this server's identity, MESH_SERVER_ID.
        rates: how often a value may be tried.
        audit: is told of enrolments, proofs and removals.
        keyed_hash: proves that records are as this server wrote them.

    Raises:
        StartupError: if the identity can't be one.
    """

    def __init__(
        self, database: Database, roots: Roots, server_id: str, rates: Rates, audit: Audit, keyed_hash: KeyedHash
    ) -> None:
        if not 1 <= len(server_id.encode()) <= zkp.MAX_SERVER_ID_BYTES:
            raise StartupError(f"MESH_SERVER_ID must have 1 to {zkp.MAX_SERVER_ID_BYTES} bytes.")
        self._database = database
        self._roots = roots
        self._server_id = server_id
        self._rates = rates
        self._audit = audit
        self._records = Records(keyed_hash)

    def target(self, principal: Principal, *, suite: str, server_id: str, namespace: str, name: str) -> Target:
        """Return what a request is about; it must mean this server, before anything else is looked at.

        Raises:
            ServerIdentityMismatch: if it means another one.
            InvalidRequest: if suite, namespace or name can't be one.
        """
        if server_id != self._server_id:
            raise ServerIdentityMismatch("The client means another server: `serverId` is not the identity of this one.")
        if suite != zkp.SUITE:
            raise InvalidRequest(f"`suite` must be {zkp.SUITE}; this server knows no other.")
        if name in {".", ".."} or "\0" in name or "\0" in namespace:
            raise InvalidRequest("A key can't have this name: it holds a zero byte, or means another place in a path.")
        try:
            user = zkp.user_of(principal.account_id, namespace)
            return Target(Subject(server_id, principal.tenant_id, user, name), namespace, name)
        except ValueError as problem:
            raise InvalidRequest(f"The request names something out of its limits: {problem}.") from None

    # --- enrolment ---

    async def start_enrollment(
        self, principal: Principal, caller: Caller, target: Target, blinded: bytes, *, overwrite: bool
    ) -> OpenEnrollment:
        """Evaluate a blinded value for an enrolment (step 4). Counts against the limits as a challenge does.

        Raises:
            ScopeMissing: without `keys:write`.
            InvalidRequest: if the blinded value is no element.
            RecordExists: if something is enrolled and is not to be overwritten.
            RateLimited: if there were too many attempts.
        """
        principal.require("keys:write")
        buckets = self._buckets(principal, target.record_id, caller.address)
        before = await self._database.read(lambda tx: self._records.find(tx, principal, target.record_id), principal)
        _check_overwrite(before, overwrite=overwrite)
        version = FIRST_VERSION if before is None else before.version + 1
        seeds = self._roots.current_seeds(principal.tenant_id)
        evaluated = _evaluated(lambda: seeds.evaluate(target.subject, version, blinded))
        now, name, challenge = now_us(), os.urandom(_ID_BYTES), os.urandom(CHALLENGE_BYTES)
        pending = PendingEnrollment(
            tenant_id=principal.tenant_id,
            id=name.hex(),
            owner_id=principal.account_id,
            namespace=target.namespace,
            name=target.name,
            bind=caller.bind,
            record_id=target.record_id,
            version=version,
            root_id=self._roots.current,
            blinded=blinded,
            answered=evaluated + seeds.server_public_key,
            challenge=challenge,
            overwrite=overwrite,
            address=caller.address,
        )

        async def work(tx: Transaction) -> None:
            await buckets.take(tx, now)
            await challenges.remember(tx, pending, now=now, expires_at=now + _LIFETIME_US)

        await self._database.write(work, principal)
        return OpenEnrollment(
            id=name,
            evaluated=evaluated,
            server_public_key=seeds.server_public_key,
            challenge=challenge,
            version=version,
            expires_at=now + _LIFETIME_US,
        )

    async def finish_enrollment(
        self, principal: Principal, caller: Caller, name: bytes, ksf: bytes, record: bytes, made: bytes
    ) -> EnrolledRecord:
        """Store a record under the version that its enrolment was begun for. The enrolment is used up, whatever comes.

        Raises:
            ScopeMissing: without `keys:write`.
            InvalidRequest: if the parameters are out of bounds, or record and proof are not right.
            ChallengeUnusable: if there is no such enrolment of this login.
            RecordExists, RecordSuperseded: if something else was enrolled meanwhile.
        """
        principal.require("keys:write")
        now = now_us()

        async def work(tx: Transaction) -> EnrolledRecord | Exception:
            pending = await challenges.take_enrollment(tx, principal, name, now)
            if pending is None or not proof.equal(pending.bind, caller.bind):
                return _unusable("enrolment")
            problem: MeshError | None = self._judge_enrollment(pending, ksf, record, made)
            if problem is None and not await self._records.put(tx, pending, ksf, record, now):
                found = await self._records.find(tx, principal, pending.record_id)
                problem = _beaten(pending, found)
            if problem is not None:
                return problem
            await self._buckets(principal, pending.record_id, pending.address).give_back(tx)
            details = {"version": pending.version, "namespace": pending.namespace}
            await self._audit.record(tx, principal, "proof.enrolled", pending.name, details=details)
            return EnrolledRecord(
                name=pending.name, namespace=pending.namespace, version=pending.version, created_at=now
            )

        # A refusal is returned, not raised, so that using the enrolment up is committed with it.
        return _raised(await self._database.write(work, principal))

    def _judge_enrollment(
        self, pending: PendingEnrollment, ksf: bytes, record: bytes, made: bytes
    ) -> InvalidRequest | None:
        """Return what is wrong with the end of an enrolment (steps 5, 6 and 10)."""
        try:
            if not Ksf.decode(ksf).acceptable:
                return InvalidRequest("`ksf` is out of the bounds that clients accept at a verification.")
            public_key = opaque.Record.decode(record).public_key
        except DecodingError as problem:
            return InvalidRequest(f"`ksf` or `record` is not what it must be: {problem}.")
        user = zkp.user_of(pending.owner_id, pending.namespace)
        subject = Subject(self._server_id, pending.tenant_id, user, pending.name)
        digest = zkp.enroll_digest(
            subject, ksf, pending.blinded, pending.answered, record, pending.challenge, pending.bind
        )
        if not proof.verify(public_key, zkp.tag_of(digest), made):
            return InvalidRequest("`proof` does not belong to this record and this enrolment.")
        return None

    # --- verification ---

    async def challenge(self, principal: Principal, caller: Caller, target: Target, blinded: bytes) -> OpenChallenge:
        """Return a challenge with the credential response (steps 4 and 7); the same for what is not enrolled.

        Raises:
            ScopeMissing: without `verify`.
            InvalidRequest: if the blinded value is no element.
            RateLimited: if there were too many attempts; also for what is not enrolled.
        """
        principal.require("verify")
        buckets = self._buckets(principal, target.record_id, caller.address)
        found = await self._database.read(lambda tx: self._records.find(tx, principal, target.record_id), principal)
        current = self._roots.current_seeds(principal.tenant_id)
        record, seeds, ksf, version = current.fake, current, DEFAULT.encode(), FIRST_VERSION
        if found is not None and found.record is not None and found.ksf is not None:
            own = self._roots.seeds(principal.tenant_id, found.root_id)
            if own is not None:  # else its root is lost: nobody can prove it any more
                record, seeds, ksf, version = found.record, own, found.ksf, found.version
        response = _evaluated(
            lambda: seeds.respond(record, target.subject, version, blinded, os.urandom(opaque.NONCE_BYTES))
        )
        now, name, challenge = now_us(), os.urandom(_ID_BYTES), os.urandom(CHALLENGE_BYTES)
        pending = PendingChallenge(
            tenant_id=principal.tenant_id,
            id=name.hex(),
            owner_id=principal.account_id,
            bind=caller.bind,
            record_id=target.record_id,
            version=version,
            digest=zkp.verify_digest(target.subject, ksf, blinded, response, challenge, caller.bind),
            public_key=record.public_key,
            address=caller.address,
        )

        async def work(tx: Transaction) -> None:
            await buckets.take(tx, now)
            await challenges.remember(tx, pending, now=now, expires_at=now + _LIFETIME_US)

        await self._database.write(work, principal)
        return OpenChallenge(id=name, challenge=challenge, ksf=ksf, response=response, expires_at=now + _LIFETIME_US)

    async def verify(self, principal: Principal, caller: Caller, name: bytes, made: bytes) -> tuple[bool, bool]:
        """Judge the answer to a challenge (step 10). The challenge is used up, whatever comes.

        Returns:
            Whether the proof is right, and whether the record should be enrolled again.

        Raises:
            ScopeMissing: without `verify`.
            ChallengeUnusable: if there is no such challenge of this login.
        """
        principal.require("verify")
        now = now_us()

        async def work(tx: Transaction) -> tuple[bool, bool] | Exception:
            pending = await challenges.take_challenge(tx, principal, name, now)
            if pending is None or not proof.equal(pending.bind, caller.bind):
                return _unusable("challenge")
            found = await self._records.find(tx, principal, pending.record_id)
            # Judged in any case, so that what is not enrolled takes as long; 0.2 ms of arithmetic in the writer's turn
            # are cheaper than a second transaction (docs/adr/0032).
            right = proof.verify(pending.public_key, zkp.tag_of(pending.digest), made)
            right = right and found is not None and found.record is not None and found.version == pending.version
            await self._audit.record(
                tx,
                principal,
                "proof.verified" if right else "proof.refused",
                found.name if found is not None else pending.record_id,  # of what was never enrolled no name is kept
                outcome="ok" if right else "denied",
                details={"version": pending.version},
            )
            if found is None or not right:
                return False, False
            await self._buckets(principal, pending.record_id, pending.address).give_back(tx)
            return True, found.root_id != self._roots.current and "keys:write" in principal.scopes

        return _raised(await self._database.write(work, principal))

    # --- what is enrolled ---

    async def remove(self, principal: Principal, name: str, *, namespace: str = "") -> None:
        """Remove a record; its version is never used again.

        Raises:
            ScopeMissing: without `keys:write`.
            RecordNotFound: if nothing is enrolled under this name.
        """
        principal.require("keys:write")
        _check_texts(name, namespace)

        async def work(tx: Transaction) -> bool:
            await challenges.abandon(tx, principal, namespace, name)
            removed = await self._records.remove(tx, principal, namespace, name, now_us())
            if removed:
                await self._audit.record(tx, principal, "proof.removed", name, details={"namespace": namespace})
            return removed

        if not await self._database.write(work, principal):
            raise RecordNotFound(f"Nothing is enrolled under {name!r}.")

    async def list_records(
        self, principal: Principal, *, namespace: str = "", after: str = "", limit: int = MAX_PAGE
    ) -> tuple[list[EnrolledRecord], str | None]:
        """Return a page of the caller's records by name, and the name after which the next page begins.

        Raises:
            ScopeMissing: without `keys:read`: whoever may only verify must not learn which names exist.
            InvalidRequest: if an argument is out of its limits.
        """
        principal.require("keys:read")
        _check_texts(after, namespace)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidRequest(f"`limit` must be between 1 and {MAX_PAGE}.")
        found = await self._database.read(
            lambda tx: records.page(tx, principal, namespace, after, limit + 1), principal
        )
        return found[:limit], found[limit - 1].name if len(found) > limit else None

    # --- what the vault tells (docs/adr/0033) ---

    async def value_changed(
        self,
        tx: Transaction,
        holder: Account,
        namespace: str,
        name: str,
        provable: bool | bytes,  # noqa: FBT001 - handed over by the vault
    ) -> None:
        """Forget the verifier of a key whose value is another now, or gone; part of the transaction of that change.

        Args:
            tx: that transaction.
            holder: the account that holds the key.
            namespace: within it.
            name: of the key.
            provable: the enrolment under way that is of the new value; True for all of them, False for none.
        """
        enrolled, under_way = await records.known(tx, holder, namespace, name)
        if under_way and provable is not True:
            await challenges.abandon(tx, holder, namespace, name, but=provable or b"")
        if enrolled:
            await self._records.remove(tx, holder, namespace, name, now_us())

    async def provable(self, tx: Transaction, holder: Account, namespace: str, first: str, last: str) -> set[str]:
        """Return which names, from the first to the last, can be verified."""
        return await records.names_between(tx, holder, namespace, first, last)

    async def purge(self) -> None:
        """Forget challenges that have expired and buckets that are full."""

        async def work(tx: Transaction) -> None:
            now = now_us()
            await challenges.purge(tx, now)
            await limits.purge(tx, now)

        await self._database.write(work, ServerWork.PURGE)

    def _buckets(self, principal: Principal, record_id: str, address: str) -> Buckets:
        owner = principal.account_id
        return Buckets(self._rates, principal.tenant_id, record_id=record_id, owner=owner, address=address)


def _check_overwrite(found: StoredRecord | None, *, overwrite: bool) -> None:
    if found is not None and found.record is not None and not overwrite:
        raise RecordExists("Something is enrolled under this name already.")


def _beaten(pending: PendingEnrollment, found: StoredRecord | None) -> RecordExists | RecordSuperseded:
    if found is not None and found.record is not None and not pending.overwrite:
        return RecordExists("Something was enrolled under this name meanwhile.")
    return RecordSuperseded("Another enrolment of this key was finished first.")


def _unusable(what: str) -> ChallengeUnusable:
    return ChallengeUnusable(f"There is no such {what} for this login: it is unknown, expired or used.")


def _evaluated(work: Callable[[], bytes]) -> bytes:
    try:
        return work()
    except DecodingError:
        raise InvalidRequest("`blinded` is no element of the group.") from None


def _raised(outcome: T | Exception) -> T:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _check_texts(name: str, namespace: str) -> None:
    for text in (name, namespace):
        if "\0" in text or len(text.encode(errors="replace")) > zkp.MAX_NAME_BYTES:
            raise InvalidRequest(f"A name has at most {zkp.MAX_NAME_BYTES} bytes, none of them zero.")
