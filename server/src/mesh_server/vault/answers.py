"""A call of chat with an `Idempotency-Key` is made once, and its answer is kept for whoever sends the same again.

A row without an answer says that the call may be under way, and in which process; it is there before the provider is
asked, and the answer is written in the transaction of the call's usage. So whatever dies when, a second request finds
either the answer, or that nobody knows what became of the first: it is never made twice.
"""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import and_, bindparam, insert, or_, select, update
from sqlalchemy.sql.expression import delete

from mesh_protocol.quiet import Quiet
from mesh_server.accounts.models import Principal
from mesh_server.audit.chain import KeyedHash
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.errors import IdempotencyMismatch, OutcomeUnknown
from mesh_server.ids import now_us
from mesh_server.vault import crypto
from mesh_server.vault.crypto import equal
from mesh_server.vault.keyring import Keyring, dek_id
from mesh_server.vault.models import chat_answers

HOUR_US = 3600 * 1_000_000
#: Microseconds for which an answer is kept where the operator says nothing.
KEPT_US = 24 * HOUR_US
#: Larger answers are not kept; the call is still made once.
MOST_BYTES = 8 * 1024 * 1024
_FORGET_STEP = 1_000
#: Microseconds after which a row without an answer is no call under way any more, whatever its process says: no caller
#: gives a call more than a day.
_LONGEST_US = 2 * 24 * 3600 * 1_000_000

_MINE = (
    (chat_answers.c.tenant_id == bindparam("tenant_"))
    & (chat_answers.c.account_id == bindparam("account_"))
    & (chat_answers.c.key_hash == bindparam("key_hash_"))
)
_FIND = select(
    chat_answers.c.fingerprint,
    chat_answers.c.holder,
    chat_answers.c.tenant_key_id,
    chat_answers.c.answer,
    chat_answers.c.created_at,
    chat_answers.c.expires_at,
).where(_MINE)
_ADD = insert(chat_answers).values({column.name: bindparam(f"{column.name}_") for column in chat_answers.c})
_DROP = delete(chat_answers).where(_MINE)
_HELD = _MINE & (chat_answers.c.holder == bindparam("holder_")) & (chat_answers.c.created_at == bindparam("created_"))
#: An answer that was stored stays: its reader may have left after it, and a deadline may have passed.
_OPEN = _HELD & chat_answers.c.answer.is_(None)
_DROP_OPEN = delete(chat_answers).where(_OPEN)
_LET_GO = update(chat_answers).where(_OPEN).values(holder=bindparam("nobody_"))
_ANSWER = (
    update(chat_answers)
    .where(_OPEN)
    .values(tenant_key_id=bindparam("tenant_key_id_"), answer=bindparam("answer_"), expires_at=bindparam("expires_at_"))
)
_SHORTEN = update(chat_answers).where(_HELD).values(expires_at=bindparam("expires_at_"))
_OLD = (
    select(chat_answers.c.tenant_id, chat_answers.c.account_id, chat_answers.c.key_hash)
    .where(
        or_(
            and_(chat_answers.c.expires_at <= bindparam("now_"), chat_answers.c.answer.is_not(None)),
            chat_answers.c.expires_at <= bindparam("given_up_"),
        )
    )
    .order_by(chat_answers.c.expires_at)
    .limit(bindparam("limit_"))
)


class StoredAnswer(Quiet, msgspec.Struct, array_like=True):
    """An answer as it was sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True, slots=True)
class Same:
    """What makes two requests the same. `repr` shows nothing of it.

    Attributes:
        key: the header `Idempotency-Key`, or what stands in its place.
        request: everything that the answer depends on.
        kept_us: microseconds for which the answer is kept.
        failure_kept_us: the same for a failure after which nothing may be done again; None for as long as an answer.
    """

    key: bytes
    request: bytes
    kept_us: int = KEPT_US
    failure_kept_us: int | None = None

    def __repr__(self) -> str:
        """Return nothing of the request: it is what somebody said."""
        return "<Same>"


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to make a call: this request was the first of its key."""

    tenant_id: str
    account_id: str
    key_hash: str
    fingerprint: bytes
    holder: str
    created_at: int
    kept_us: int = KEPT_US
    failure_kept_us: int | None = None


class Running:
    """Another request with the same key is under way, in this process or in another one that lives."""


class StoredAnswers:
    """Answers of chat.

    Args:
        database: where they are.
        keyring: seals them.
        keyed_hash: hashes keys and requests, under a key of this purpose alone.
        holder: returns the lease of this process.
        hold: makes sure in a transaction that this lease can be found; `held` is told of its commit.
        is_alive: tells in a transaction whether the process of a lease lives.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        keyed_hash: KeyedHash,
        *,
        holder: Callable[[], str],
        hold: Callable[[Transaction], Awaitable[None]],
        held: Callable[[], None],
        is_alive: Callable[[Transaction, str], Awaitable[bool]],
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._hash = keyed_hash
        self._holder = holder
        self._hold = hold
        self._held = held
        self._is_alive = is_alive

    async def begin(self, principal: Principal, same: Same) -> Ticket | StoredAnswer | Running:
        """Return the right to make a call, or what became of the first one with its key.

        Raises:
            IdempotencyMismatch: if the key was used for another request.
            OutcomeUnknown: if nobody knows what became of the first one, or its answer was not kept.
        """
        ticket = Ticket(
            principal.tenant_id,
            principal.account_id,
            self._hash(b"key" + same.key).hex(),
            self._hash(b"request" + same.request),
            self._holder(),
            now_us(),
            same.kept_us,
            same.failure_kept_us,
        )

        async def work(tx: Transaction) -> Ticket | StoredAnswer | Running:
            row = await tx.one(_FIND, **_mine(ticket))
            if row is not None and (row[5] > now_us() or await self._is_open(tx, row)):
                return await self._found(tx, ticket, row)
            await tx.execute(_DROP, **_mine(ticket))
            await self._hold(tx)
            await tx.execute(
                _ADD,
                tenant_id_=ticket.tenant_id,
                account_id_=ticket.account_id,
                key_hash_=ticket.key_hash,
                fingerprint_=ticket.fingerprint,
                holder_=ticket.holder,
                tenant_key_id_=None,
                answer_=None,
                created_at_=ticket.created_at,
                expires_at_=ticket.created_at + same.kept_us,
            )
            return ticket

        found = await self._database.write(work, principal)
        if isinstance(found, Ticket):
            self._held()
        return found

    def finish(self, ticket: Ticket, answer: StoredAnswer) -> Callable[[Transaction], Coroutine[Any, Any, None]]:
        """Return what writes an answer in a transaction of the caller's; one that is too large is not kept."""

        async def work(tx: Transaction) -> None:
            if len(answer.body) > MOST_BYTES:
                held = {"holder_": ticket.holder, "created_": ticket.created_at}
                await tx.execute(_LET_GO, **_mine(ticket), **held, nobody_="")
                return
            name, tenant_key = await self._keyring.current(tx, ticket.tenant_id)
            sealed = crypto.seal(tenant_key, dek_id(name), msgspec.msgpack.encode(answer), _place(ticket))
            await tx.execute(
                _ANSWER,
                **_mine(ticket),
                holder_=ticket.holder,
                created_=ticket.created_at,
                tenant_key_id_=name,
                answer_=sealed,
                expires_at_=now_us() + ticket.kept_us,  # from now on: a call may take longer than its answer is kept
            )

        return work

    async def store(self, principal: Principal, ticket: Ticket, answer: StoredAnswer) -> None:
        """Write an answer that no usage is written with: a failure after which nothing may be done again."""
        finish = self.finish(ticket, answer)

        async def work(tx: Transaction) -> None:
            await finish(tx)
            if ticket.failure_kept_us is not None:
                held = {"holder_": ticket.holder, "created_": ticket.created_at}
                await tx.execute(_SHORTEN, **_mine(ticket), **held, expires_at_=now_us() + ticket.failure_kept_us)

        await self._database.write(work, principal)

    async def abandon(self, principal: Principal, ticket: Ticket) -> None:
        """Give the right back: nothing was done, the same request may come again."""

        async def work(tx: Transaction) -> None:
            await tx.execute(_DROP_OPEN, **_mine(ticket), holder_=ticket.holder, created_=ticket.created_at)

        await self._database.write(work, principal)

    async def purge(self) -> None:
        """Remove the answers whose time has passed."""
        while await self._database.write(self._forget_old, ServerWork.PURGE):
            pass

    async def _forget_old(self, tx: Transaction) -> int:
        rows = await tx.all(_OLD, now_=now_us(), given_up_=now_us() - _LONGEST_US, limit_=_FORGET_STEP)
        for tenant_id, account_id, key_hash in rows:
            await tx.execute(_DROP, tenant_=tenant_id, account_=account_id, key_hash_=key_hash)
        return len(rows)

    async def _is_open(self, tx: Transaction, row: Row) -> bool:
        """Return whether a call is still under way, however long ago it began."""
        _, holder, _, answer, _, _ = row
        return answer is None and bool(holder) and (holder == self._holder() or await self._is_alive(tx, holder))

    async def _found(self, tx: Transaction, ticket: Ticket, row: Row) -> StoredAnswer | Running:
        fingerprint, holder, tenant_key_id, answer, created_at, _ = row
        if not equal(fingerprint, ticket.fingerprint):
            raise IdempotencyMismatch("This `Idempotency-Key` was used for another request.")
        if answer is not None:
            tenant_key = await self._keyring.get(tx, ticket.tenant_id, tenant_key_id)
            first = Ticket(ticket.tenant_id, ticket.account_id, ticket.key_hash, fingerprint, holder, created_at)
            return msgspec.msgpack.decode(crypto.unseal(tenant_key, answer, _place(first)), type=StoredAnswer)
        if await self._is_open(tx, row):
            return Running()
        if not holder:
            raise OutcomeUnknown("This call was made, and its answer was too large to be kept.")
        raise OutcomeUnknown("The process that made this call ended before its answer was stored.")


def _mine(ticket: Ticket) -> dict[str, object]:
    return {"tenant_": ticket.tenant_id, "account_": ticket.account_id, "key_hash_": ticket.key_hash}


def _place(ticket: Ticket) -> crypto.Place:
    return chat_answer_place(
        ticket.tenant_id, ticket.account_id, ticket.key_hash, ticket.fingerprint, ticket.created_at
    )


def chat_answer_place(
    tenant_id: str, account_id: str, key_hash: str, fingerprint: bytes, created_at: int
) -> crypto.Place:
    """Return where an answer belongs; its whole row is bound to it. Arguments as the columns of `chat_answers`."""
    return crypto.Place(
        tenant=tenant_id,
        owner=account_id,
        object_id=f"{key_hash}/{fingerprint.hex()}",
        version=created_at,
        purpose="stored-chat-answer",
    )
