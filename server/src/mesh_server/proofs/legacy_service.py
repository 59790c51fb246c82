"""The published clients' old scheme, answered honestly: no yes without a check, no commitment that makes one forgeable.

All hashes are SHA-256 of UTF-8 text, in lower-case hex. Of a key's full name n and its value v the scheme has the
nullifier N = H(n:v), the commitment C = H(v:N) and, to a challenge c, the proof H(N c C) without separators.

A client sends N or not; what it sends decides nothing here. A name that begins with the `userId` and `_` may have its
commitment told, so for it only the value in the vault is believed: N from a request would make the proof of whoever was
told C. Any other name never has its commitment told, so whoever sends H(N c C) knows C, and that takes the value.

Names are kept as keyed hashes: who confuses the arguments of a published client sends the value as a part of them.
"""

import hashlib
import os
import re
from typing import Protocol

from mesh_protocol import proof
from mesh_protocol.zkp import CHALLENGE_BYTES, LIFETIME_S, MAX_NAME_BYTES
from mesh_server.accounts.models import Principal
from mesh_server.audit.chain import KeyedHash
from mesh_server.audit.service import Audit
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.errors import InvalidRequest, MeshError, RateLimited, RecordNotFound
from mesh_server.ids import now_us
from mesh_server.proofs import legacy_store
from mesh_server.proofs.limits import Buckets
from mesh_server.proofs.models import OldName, Rates

_HEX = re.compile(r"[0-9a-f]{64}")
#: A name with a user's id and `_` before it.
_MOST_NAME_BYTES = 2 * MAX_NAME_BYTES + 1
_NOT_TOLD = ("Go on without it: the client computes its own from the value.",)
_LIFETIME_US = LIFETIME_S * 1_000_000


class PlainValues(Protocol):
    """What the vault offers: the caller's own values, for a check (docs/adr/0035)."""

    async def has(self, tx: Transaction, principal: Principal, namespace: str, name: str) -> bool:
        """Return whether there is one."""

    async def open(self, tx: Transaction, principal: Principal, namespace: str, name: str) -> str | None:
        """Return one."""


class LegacyProofs:
    """The old scheme's commitments of every account, each reachable by its own principal only.

    Args:
        database: where commitments, challenges and limits are.
        rates: how often a value may be tried.
        audit: is told of everything but a challenge.
        plain: the values in the vault.
        keyed_hash: hashes names, under a key of this purpose alone.
    """

    def __init__(
        self, database: Database, rates: Rates, audit: Audit, plain: PlainValues, keyed_hash: KeyedHash
    ) -> None:
        self._database = database
        self._rates = rates
        self._audit = audit
        self._plain = plain
        self._hash = keyed_hash

    async def store(self, principal: Principal, user_id: str, key_name: str, commitment: str) -> None:
        """Keep a commitment, in place of an earlier one of the same name.

        Raises:
            ScopeMissing: without `keys:write`.
            InvalidRequest: if it is no commitment, or the name can't be one.
        """
        principal.require("keys:write")
        name = _named(user_id, key_name)
        if not _HEX.fullmatch(commitment):
            raise InvalidRequest("`commitment` must be a SHA-256 in 64 lower-case hexadecimal digits.")

        async def work(tx: Transaction) -> None:
            await legacy_store.put(tx, principal, self._kept(name), commitment, now_us())
            await self._tell(tx, principal, "stored", name)

        await self._database.write(work, principal)

    async def challenge(self, principal: Principal, user_id: str, key_name: str, address: str) -> str:
        """Return a challenge in hexadecimal digits; for the caller and whatever key, since clients name another one.

        Raises:
            ScopeMissing: without `verify`.
            InvalidRequest: if the name can't be one.
            RateLimited: if there were too many attempts, or too many challenges are unanswered.
        """
        principal.require("verify")
        _named(user_id, key_name, most=_MOST_NAME_BYTES + MAX_NAME_BYTES + 1)
        now, made = now_us(), os.urandom(CHALLENGE_BYTES).hex()

        async def work(tx: Transaction) -> None:
            await self._drawn_for_caller(principal, address).take(tx, now)
            await legacy_store.remember(tx, principal, made, address, now=now, expires_at=now + _LIFETIME_US)

        await self._database.write(work, principal)
        return made

    async def commitment(self, principal: Principal, user_id: str, key_name: str) -> str:
        """Return a commitment, where knowing it makes no proof: the value in the vault is what proofs are held against.

        Raises:
            ScopeMissing: without `verify`.
            InvalidRequest: if the name can't be one.
            RecordNotFound: for all others, whether they are stored or not.
        """
        principal.require("verify")
        name = _named(user_id, key_name)

        async def work(tx: Transaction) -> str:
            namespace, bare = name.within(principal.account_id), name.bare
            stored = await legacy_store.find(tx, principal, self._kept(name))
            if stored is None or bare is None or not await self._plain.has(tx, principal, namespace, bare):
                raise RecordNotFound("There is no commitment to tell of this name.", advice=_NOT_TOLD)
            await self._tell(tx, principal, "disclosed", name)
            return stored

        return await self._database.write(work, principal)

    async def verify(
        self, principal: Principal, user_id: str, key_name: str, challenge: str, made: str, nullifier: str | None
    ) -> bool:
        """Return whether a proof is right. Its challenge is used up, whatever comes.

        Args:
            principal: who is calling.
            user_id: whose key it is said to be.
            key_name: what the commitment was stored under.
            challenge: that is answered.
            made: the proof.
            nullifier: N, of clients that send it; looked at only for names whose commitment is never told.

        Raises:
            ScopeMissing: without `verify`.
            InvalidRequest: if the challenge is unknown, expired or used, or the name can't be one.
            RecordNotFound: if no commitment is stored under the name.
            RateLimited: if there were too many attempts at this name.
        """
        principal.require("verify")
        now = now_us()

        async def work(tx: Transaction) -> bool | MeshError:
            address = await legacy_store.take(tx, principal, challenge, now) if _HEX.fullmatch(challenge) else None
            if address is None:
                return InvalidRequest("There is no such challenge: it is unknown, expired or used. Ask for a new one.")
            try:
                name = _named(user_id, key_name)
                drawn = Buckets(self._rates, principal.tenant_id, record_id=name.id_for(principal.account_id))
                await drawn.take(tx, now)
            except (InvalidRequest, RateLimited) as problem:
                return problem
            stored = await legacy_store.find(tx, principal, self._kept(name))
            if stored is None:
                return RecordNotFound(
                    "No commitment is stored under this name.", advice=("Store one first, with `store_key_zkp`.",)
                )
            right = await self._judge(tx, principal, name, stored, challenge, made, nullifier)
            await self._tell(tx, principal, "verified" if right else "refused", name, right=right)
            if right:
                await drawn.give_back(tx)
                await self._drawn_for_caller(principal, address).give_back(tx)
            return right

        # A refusal is returned, not raised, so that using the challenge up is committed with it.
        outcome = await self._database.write(work, principal)
        if isinstance(outcome, MeshError):
            raise outcome
        return outcome

    async def _judge(
        self,
        tx: Transaction,
        principal: Principal,
        name: OldName,
        stored: str,
        challenge: str,
        made: str,
        nullifier: str | None,
    ) -> bool:
        if not _HEX.fullmatch(made):
            return False
        if name.bare is None:
            if nullifier is None or not _HEX.fullmatch(nullifier):
                return False
            return _equal(made, _hash(nullifier, challenge, stored))
        value = await self._plain.open(tx, principal, name.within(principal.account_id), name.bare)
        if value is None:
            return False
        own = _hash(name.name, ":", value)
        commitment = _hash(value, ":", own)
        # Both are compared in any case: the time must not tell which of them differs.
        return _equal(commitment, stored) & _equal(made, _hash(own, challenge, commitment))

    def _drawn_for_caller(self, principal: Principal, address: str) -> Buckets:
        return Buckets(self._rates, principal.tenant_id, owner=principal.account_id, address=address)

    async def _tell(
        self, tx: Transaction, principal: Principal, what: str, name: OldName, *, right: bool = True
    ) -> None:
        own = name.user_id == principal.account_id
        told = name if own else self._kept(name)
        outcome, details = "ok" if right else "denied", {"user_id": told.user_id, "hashed": not own}
        await self._audit.record(tx, principal, f"proof.legacy-{what}", told.name, outcome=outcome, details=details)

    def _kept(self, name: OldName) -> OldName:
        """Return a name as it is stored."""
        return OldName(*(self._hash(text.encode(errors="surrogatepass")).hex() for text in (name.user_id, name.name)))


def _named(user_id: str, key_name: str, *, most: int = _MOST_NAME_BYTES) -> OldName:
    for member, text, limit in (("userId", user_id, MAX_NAME_BYTES), ("keyName", key_name, most)):
        if not text or "\0" in text or len(text.encode(errors="replace")) > limit:
            raise InvalidRequest(f"`{member}` must have 1 to {limit} bytes, none of them zero.")
    return OldName(user_id, key_name)


def _hash(*parts: str) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _equal(one: str, other: str) -> bool:
    return proof.equal(one.encode(), other.encode())
