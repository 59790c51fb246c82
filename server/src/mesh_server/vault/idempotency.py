"""A retry never does a thing twice: the answer of a request is stored in the transaction of its change.

A second request with the same key waits for the first, since both lock the row of their account, and then finds the
answer. Answers are sealed under the tenant's key; the answers of the vault hold no values.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from sqlalchemy import bindparam, insert, select
from sqlalchemy.sql.expression import delete

from mesh_server.accounts.models import Principal, users
from mesh_server.audit.chain import KeyedHash
from mesh_server.db.schema import Transaction
from mesh_server.errors import IdempotencyMismatch
from mesh_server.ids import now_us
from mesh_server.vault import crypto
from mesh_server.vault.crypto import equal
from mesh_server.vault.keyring import Keyring, dek_id
from mesh_server.vault.models import DAY_US, idempotency

T = TypeVar("T")

#: For this long a key is remembered.
REMEMBERED_US = DAY_US
_FORGET_STEP = 1_000

_LOCK = (
    select(users.c.id)
    .where(users.c.tenant_id == bindparam("tenant_"), users.c.id == bindparam("account_"))
    .with_for_update()
)
_MINE = (
    (idempotency.c.tenant_id == bindparam("tenant_"))
    & (idempotency.c.account_id == bindparam("account_"))
    & (idempotency.c.key_hash == bindparam("key_hash_"))
)
_FIND = select(
    idempotency.c.fingerprint, idempotency.c.tenant_key_id, idempotency.c.answer, idempotency.c.created_at
).where(_MINE)
_DROP = delete(idempotency).where(_MINE)
_ADD = insert(idempotency).values({column.name: bindparam(f"{column.name}_") for column in idempotency.c})
_OLD = (
    select(idempotency.c.tenant_id, idempotency.c.account_id, idempotency.c.key_hash)
    .where(idempotency.c.created_at <= bindparam("before_"))
    .order_by(idempotency.c.created_at)
    .limit(bindparam("limit_"))
)


@dataclass(frozen=True, slots=True)
class Once:
    """A request that is to be done once, however often it comes. `repr` shows nothing of its content.

    Attributes:
        key: the header `Idempotency-Key`.
        request: everything that makes the request the same: method, path, query, preconditions, body.
    """

    key: str
    request: bytes

    def __repr__(self) -> str:
        """Return nothing of the request: it may hold a value."""
        return "<Once>"


class Idempotency:
    """Stored answers.

    Args:
        keyring: seals them.
        keyed_hash: hashes keys and requests, under a key of this purpose alone: a request may hold a guessable value.
    """

    def __init__(self, keyring: Keyring, keyed_hash: KeyedHash) -> None:
        self._keyring = keyring
        self._hash = keyed_hash

    async def run(
        self,
        tx: Transaction,
        principal: Principal,
        once: Once | None,
        kind: type[T],
        change: Callable[[], Awaitable[T]],
    ) -> T:
        """Make a change, or return what came of it the first time.

        Args:
            tx: the transaction of the change.
            principal: whose request it is.
            once: None for a request without a key.
            kind: the type of the answer.
            change: makes the change in `tx`; what it raises is not remembered.

        Raises:
            IdempotencyMismatch: if the key was used for another request.
        """
        if once is None:
            return await change()
        fingerprint = self._hash(b"request" + once.request)
        mine = {
            "tenant_": principal.tenant_id,
            "account_": principal.account_id,
            "key_hash_": self._hash(b"key" + once.key.encode()).hex(),
        }
        await tx.one(_LOCK, tenant_=principal.tenant_id, account_=principal.account_id)
        row = await tx.one(_FIND, **mine)
        now = now_us()
        if row is not None and row[3] + REMEMBERED_US > now:
            if not equal(row[0], fingerprint):
                raise IdempotencyMismatch("This `Idempotency-Key` was used for another request.")
            tenant_key = await self._keyring.get(tx, principal.tenant_id, row[1])
            place = answer_place(principal.tenant_id, principal.account_id, mine["key_hash_"], row[0], row[3])
            return msgspec.json.decode(crypto.unseal(tenant_key, row[2], place), type=kind)
        await tx.execute(_DROP, **mine)
        answer = await change()
        tenant_key_id, tenant_key = await self._keyring.current(tx, principal.tenant_id)
        place = answer_place(principal.tenant_id, principal.account_id, mine["key_hash_"], fingerprint, now)
        await tx.execute(
            _ADD,
            tenant_id_=principal.tenant_id,
            account_id_=principal.account_id,
            key_hash_=mine["key_hash_"],
            fingerprint_=fingerprint,
            tenant_key_id_=tenant_key_id,
            answer_=crypto.seal(tenant_key, dek_id(tenant_key_id), msgspec.json.encode(answer), place),
            created_at_=now,
        )
        return answer

    async def forget_old(self, tx: Transaction) -> int:
        """Remove some answers whose time has passed; return how many."""
        rows = await tx.all(_OLD, before_=now_us() - REMEMBERED_US, limit_=_FORGET_STEP)
        for tenant_id, account_id, key_hash in rows:
            await tx.execute(_DROP, tenant_=tenant_id, account_=account_id, key_hash_=key_hash)
        return len(rows)


def answer_place(tenant_id: str, account_id: str, key_hash: str, fingerprint: bytes, created_at: int) -> crypto.Place:
    """Return where a stored answer belongs; its whole row is bound to it."""
    return crypto.Place(
        tenant=tenant_id,
        owner=account_id,
        object_id=f"{key_hash}/{fingerprint.hex()}",
        version=created_at,
        purpose="stored-answer",
    )
