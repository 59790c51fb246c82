"""Writes the audit trail inside the transactions of the changes, and reads it.

Each writer of each process has a chain of its own, so that they do not wait for each other. What the units of work of
one transaction have to tell is added at its end, all at once (append.py).
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from mesh_server.audit import chain as links
from mesh_server.audit import statements
from mesh_server.audit.append import Appender
from mesh_server.audit.chain import Checkpoint, Cut, KeyedHash
from mesh_server.audit.head import HeadFile, KnownHead
from mesh_server.audit.models import SYSTEM, Actor, Event, event_of
from mesh_server.audit.retention import Retention
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import ServerWork, Tenant
from mesh_server.errors import MeshError, StartupError
from mesh_server.ids import beginning_of, now_us, uuid7
from mesh_server.telemetry import logger

#: Seconds between two checkpoints, where there was anything to audit.
CHECKPOINT_S = 30.0
MAX_PAGE = 200

#: Microseconds that the time in an event's id and that of the event may be apart: they are taken one after the other.
_APART_US = 3_600_000_000
#: Behind every id.
_LAST = "g"

_encoder = msgspec.json.Encoder(order="deterministic")
_log = logger("mesh.audit")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events of a trail; None for all. Times in microseconds since 1970, `until` exclusive."""

    action: str | None = None
    object: str | None = None
    since: int | None = None
    until: int | None = None


EVERYTHING = Filter()


class Audit:
    """The trail of one process.

    Args:
        database: where it is.
        chain_hash, checkpoint_hash: keyed hashes of 32 bytes, under keys for these purposes alone.
        head: the file beside the data folder that holds the newest checkpoint; None to keep none.
        kept_us: microseconds for which events are kept; None for ever.
    """

    def __init__(
        self,
        database: Database,
        chain_hash: KeyedHash,
        checkpoint_hash: KeyedHash,
        head: HeadFile | None,
        *,
        kept_us: int | None = None,
    ) -> None:
        self._database = database
        self._chain_hash = chain_hash
        self._checkpoint_hash = checkpoint_hash
        self._head = head
        self._kept_us = kept_us
        self._appender = Appender(chain_hash, database.writers)
        self._retention = Retention(database, self.record, chain_hash, checkpoint_hash)
        self._task: asyncio.Task[None] | None = None

    # --- writing ---

    async def record(
        self,
        tx: Transaction,
        who: Actor,
        action: str,
        object_: str,
        *,
        account_id: str | None = None,
        outcome: str = "ok",
        details: Mapping[str, object] | None = None,
    ) -> None:
        """Add an event to the trail, as part of the transaction of what it tells.

        Args:
            tx: the transaction of the change, or of the read.
            who: who does it.
            action: `key.read`, `token.revoked`, …
            object_: the name or the id of what it is done to; never a secret.
            account_id: whose that is; None for that of `who`.
            outcome: `ok` or `denied`.
            details: JSON values, never a secret.
        """
        event = Event(
            id=uuid7(),
            at=now_us(),
            tenant_id=who.tenant_id,
            account_id=account_id or who.account_id,
            actor_id=who.actor_id,
            token_id=who.token_id,
            action=action,
            object=object_,
            outcome=outcome,
            request_id=who.request_id,
            details=_encoder.encode(details or {}).decode(),
        )
        tx.at_end(self._appender, (event, links.content(event)), event.tenant_id)

    async def open(self) -> None:
        """Begin this process's chains."""

        async def work(tx: Transaction) -> None:
            for chain in self._appender.chains:
                if await tx.one(statements.HEAD, chain_=chain) is None:
                    first = links.genesis(self._chain_hash, chain)
                    await tx.execute(statements.ADD_HEAD, chain_=chain, seq_=0, hash_=first)

        await self._database.write(work, ServerWork.AUDIT)

    async def check(self) -> None:
        """Raise where the trail can't be written now: for readiness."""

        async def work(tx: Transaction) -> None:
            await tx.execute(statements.PROBE, id_=1, now_=now_us())

        await self._database.write(work, ServerWork.READINESS)

    # --- reading ---

    async def elsewhere(self, tx: Transaction) -> int:
        """Return how many events other processes have written: the same as long as they changed nothing."""
        everywhere = await tx.one(statements.EVERYWHERE)
        own = [await tx.one(statements.SEEN, chain_=chain) for chain in self._appender.chains]
        return int(everywhere[0] if everywhere is not None else 0) - sum(int(head[0]) for head in own if head)

    async def page(
        self,
        *,
        tenant_id: str,
        account_id: str | None,
        chosen: Filter = EVERYTHING,
        after: str | None = None,
        limit: int = MAX_PAGE,
        newest_first: bool = True,
    ) -> list[Event]:
        """Return events of one tenant's trail; `export.events` has all of them.

        Args:
            tenant_id: of this tenant.
            account_id: about this account or done by it; None for every one of the tenant.
            chosen: which of them.
            after: the id of an event that the page goes on from.
            limit: how many at most.
            newest_first: the order.
        """
        above, below = _ids_between(chosen)
        if after is not None:
            above, below = (above, min(below, after)) if newest_first else (max(above, after), below)
        parameters: dict[str, object] = {"tenant_": tenant_id, "limit_": limit, "above_": above, "below_": below}
        given = {
            "own": ("account_", account_id),
            "action": ("action_", chosen.action),
            "object": ("object_", chosen.object),
            "since": ("since_", chosen.since),
            "until": ("until_", chosen.until),
        }
        used = {name: pair for name, pair in given.items() if pair[1] is not None}
        parameters |= dict(used.values())
        statement = statements.page(frozenset(used), newest_first=newest_first)

        async def work(tx: Transaction) -> list[Row]:
            return await tx.all(statement, **parameters)

        return [event_of(row) for row in await self._database.read(work, Tenant(tenant_id), long=True)]

    async def tenants(self) -> list[str]:
        """Return the tenants that have a trail, and `-`, the server's own."""

        async def work(tx: Transaction) -> list[str]:
            found: list[str] = []
            last = ""
            while (row := await tx.one(statements.NEXT_TENANT, after_=last)) is not None and row[0] is not None:
                last = row[0]
                found.append(last)
            return found

        return await self._database.read(work, ServerWork.AUDIT)

    # --- checkpoints ---

    async def checkpoint(self) -> Checkpoint | None:
        """Sign where this process's chains stand; return the last signature, None where nothing was added since."""

        async def work(tx: Transaction) -> Checkpoint | None:
            last = await tx.one(statements.HEAD, chain_=SYSTEM)  # the lock of all that sign
            if last is None:
                return None
            made: Checkpoint | None = None
            for chain in self._appender.chains:
                # Not locked: others add to it meanwhile, and it is true of the moment that this transaction sees.
                head = await tx.one(statements.SEEN, chain_=chain)
                signed = await tx.one(statements.LAST_OF_CHAIN, chain_=chain)
                if head is not None and head[0] != (signed[0] if signed else 0):
                    before = (made.number, made.mac) if made is not None else (last[0], last[1])
                    made = await self._sign(tx, chain, head, before)
            return made

        made = await self._database.write(work, ServerWork.AUDIT)
        if made is not None and self._head is not None:
            await asyncio.to_thread(self._head.write, made)
        return made

    async def _sign(self, tx: Transaction, chain: str, head: Row, before: Row) -> Checkpoint:
        """Add a checkpoint behind the one of this number and signature."""
        made = links.sign(
            self._checkpoint_hash,
            number=before[0] + 1,
            chain=chain,
            seq=head[0],
            head=head[1],
            at=now_us(),
            prev_mac=before[1] if before[0] else links.NO_MAC,
        )
        columns = {f"{name}_": getattr(made, name) for name in Checkpoint.__slots__}
        await tx.execute(statements.ADD_CHECKPOINT, **columns)
        await tx.execute(statements.MOVE_HEAD, chain_=SYSTEM, seq_=made.number, hash_=made.mac)
        return made

    async def check_head(self) -> None:
        """Refuse a database that is older than the newest checkpoint this machine knows of.

        Raises:
            StartupError: in two sentences, the second what to do.
        """
        known = await asyncio.to_thread(self._head.read) if self._head is not None else None
        if known is None:
            return
        if not known.genuine:
            raise StartupError(f"The audit head file {known.path} was changed: its signature is not this server's.")
        if not await self.has(known):
            raise StartupError(
                f"The database is older than audit checkpoint {known.checkpoint.number} in {known.path}: it was put "
                "back or rolled back, and with it what was revoked and deleted since. If that was on purpose, say so "
                "with `mesh-server verify --accept-older`."
            )

    async def has(self, known: KnownHead) -> bool:
        """Return whether the database holds the checkpoint that a head file names, or held it until it was too old."""

        async def work(tx: Transaction) -> tuple[Row | None, Row | None]:
            one = await tx.one(statements.ONE_CHECKPOINT, number_=known.checkpoint.number)
            return one, await tx.one(statements.CUT, chain_=SYSTEM)

        row, cut = await self._database.read(work, ServerWork.AUDIT)
        if row is not None:
            return Checkpoint(*row) == known.checkpoint
        return cut is not None and self._retention.reaches(Cut(*cut), known.checkpoint)

    async def accept(self) -> None:
        """Take the database's own newest checkpoint as the newest there is, whatever the head file says."""

        async def work(tx: Transaction) -> Row | None:
            return await tx.one(statements.LAST_CHECKPOINT)

        row = await self._database.read(work, ServerWork.AUDIT)
        if self._head is not None:
            if row is None:
                await asyncio.to_thread(self._head.remove)
            else:
                await asyncio.to_thread(self._head.write, Checkpoint(*row))

    # --- what is old ---

    async def purge(self) -> int:
        """Remove events that are older than they are kept; return how many those were.

        Raises:
            MeshError: if the database can't be written now; what was removed before stays so.
        """
        return 0 if self._kept_us is None else await self._retention.cut(self._kept_us)

    # --- beside the requests ---

    async def start(self) -> None:
        """Begin to sign checkpoints at intervals."""
        await self.open()
        self._task = asyncio.create_task(self._forever())

    async def stop(self) -> None:
        """Stop, with a last checkpoint where the database still takes one."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self._try_checkpoint()

    async def _forever(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_S)
            await self._try_checkpoint()

    async def _try_checkpoint(self) -> None:
        try:
            await self.checkpoint()
        except MeshError as problem:
            _log.warning("no audit checkpoint can be written now", code=problem.code)
        except OSError as problem:
            _log.warning("the newest audit checkpoint can't be written to its file", reason=problem.strerror)


def _ids_between(chosen: Filter) -> tuple[str, str]:
    """Return ids between which all chosen events lie, so that no others are looked at."""
    above = "" if chosen.since is None else beginning_of(chosen.since - _APART_US)
    return above, _LAST if chosen.until is None else beginning_of(chosen.until + _APART_US)
