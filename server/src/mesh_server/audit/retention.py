"""Removes events and checkpoints that are older than the trail is kept, so that what is left still proves itself.

A chain is cut from its beginning. In the same transaction a signed row says where it goes on, and a new event at the
end of this process's own chain says what the removed ones said that still matters: newest revisions of keys, what was
revoked (docs/adr/0126). Nothing that does not hold is removed: a cut must not do away with the traces of a change.
"""

from collections.abc import Awaitable, Callable, Sequence
from secrets import compare_digest

from mesh_server.audit import chain as links
from mesh_server.audit import statements
from mesh_server.audit.chain import WRONG_TYPES, Checkpoint, Cut, KeyedHash
from mesh_server.audit.known import Known
from mesh_server.audit.models import CUT, SYSTEM, Event, Operator, event_of
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.ids import now_us
from mesh_server.telemetry import logger

#: `Audit.record`.
Record = Callable[..., Awaitable[None]]

#: Rows of one transaction: others write in between.
STEP = 500
#: Things that one event may have to remember.
_MOST_FACTS = 2_000
#: A few old events wait until a chain was not cut for so long: else each cut would be the reason of another one.
PAUSE_US = 86_400_000_000

_SERVER = Operator(actor_id="server")
_log = logger("mesh.audit")


class _DamagedError(Exception):
    """What is to be removed is not as this server wrote it."""


class Retention:
    """Cuts the trail of a database; several processes may, one at a time does.

    Args:
        database: where it is.
        record: adds an event to the trail.
        chain_hash, checkpoint_hash: as the writer has them.
    """

    def __init__(self, database: Database, record: Record, chain_hash: KeyedHash, checkpoint_hash: KeyedHash) -> None:
        self._database = database
        self._record = record
        self._chain_hash = chain_hash
        self._checkpoint_hash = checkpoint_hash

    async def cut(self, kept_us: int, *, pause_us: int = PAUSE_US) -> int:
        """Remove what is older than `kept_us` microseconds; return how many events that were.

        Args:
            kept_us: for how long events are kept.
            pause_us: a chain with only a few old events, and cut less than this many microseconds ago, is left alone.

        Raises:
            MeshError: if the database can't be written now; what was removed before stays so.
        """
        before = now_us() - kept_us

        async def old(tx: Transaction) -> list[Row]:
            return await tx.all(statements.OLD_CHAINS, before_=before)

        removed = 0
        for (chain,) in await self._database.read(old, ServerWork.PURGE):
            removed += await self._cut_chain(chain, before, pause_us)
        await self._cut_checkpoints(before)
        return removed

    def reaches(self, cut: Cut, checkpoint: Checkpoint) -> bool:
        """Return whether a cut of the checkpoints is genuine and took this one away."""
        return cut.seq >= checkpoint.number and cut.at >= checkpoint.at and is_genuine(cut, self._checkpoint_hash)

    async def _cut_chain(self, chain: str, before: int, pause_us: int) -> int:
        async def step(tx: Transaction) -> int:
            return await self._events(tx, chain, before, pause_us)

        removed = 0
        try:
            while found := await self._database.write(step, ServerWork.PURGE):
                removed += found
        except _DamagedError:
            _log.error("a chain of the audit trail is damaged and stays whole: see `mesh-server verify`", chain=chain)
        return removed

    async def _cut_checkpoints(self, before: int) -> None:
        async def step(tx: Transaction) -> int:
            return await self._checkpoints(tx, before)

        try:
            while await self._database.write(step, ServerWork.PURGE):
                pass
        except _DamagedError:
            _log.error("the checkpoints of the audit trail are damaged and stay: see `mesh-server verify`")

    async def _events(self, tx: Transaction, chain: str, before: int, pause_us: int) -> int:
        """Remove a chain's first events; return how many."""
        reached, previous, cut_at = await self._begin(tx, chain, links.genesis(self._chain_hash, chain))
        rows = await tx.all(statements.CHAIN, chain_=chain, after_=reached, limit_=STEP)
        known, hashes, full = Known(), dict[int, bytes](), len(rows) == STEP
        for seq, prev_hash, hash_, *columns in rows:
            event, expected = self._read(chain, reached + 1, previous, columns)
            if seq != reached + 1 or prev_hash != previous or not compare_digest(expected, hash_):
                raise _DamagedError
            if event.at >= before or len(known) >= _MOST_FACTS:
                full = event.at < before
                break
            known.learn(event)
            reached, previous = seq, hash_
            hashes[seq] = hash_
        if not hashes or (not full and now_us() - cut_at < pause_us):
            return 0
        signed = await tx.all(statements.CHECKPOINTS_OF, chain_=chain, after_=min(hashes) - 1, until_=reached)
        if any(head != hashes[seq] for seq, head in signed):
            raise _DamagedError
        await self._record(tx, _SERVER, CUT, chain, details={"seq": reached, **known.facts()})
        await tx.execute(statements.DROP_EVENTS, chain_=chain, seq_=reached)
        await self._end(tx, chain, reached, previous)
        return len(hashes)

    def _read(self, chain: str, seq: int, previous: bytes, columns: Sequence[object]) -> tuple[Event, bytes]:
        """Return an event, and the hash that it has where it is genuine."""
        try:
            event = event_of(columns)
            return event, links.link(self._chain_hash, previous, chain, seq, links.content(event))
        except WRONG_TYPES:
            raise _DamagedError from None

    async def _checkpoints(self, tx: Transaction, before: int) -> int:
        """Remove the first checkpoints, never the last of all; return how many."""
        begin, previous, _ = await self._begin(tx, SYSTEM, links.NO_MAC)
        reached = begin
        rows = await tx.all(statements.CHECKPOINTS, after_=begin, limit_=STEP + 1)
        for checkpoint in [Checkpoint(*row) for row in rows][:-1]:
            if checkpoint.at >= before:
                break
            if not _follows(checkpoint, reached, previous, self._checkpoint_hash):
                raise _DamagedError
            reached, previous = checkpoint.number, checkpoint.mac
        if reached > begin:
            await tx.execute(statements.DROP_CHECKPOINTS, number_=reached)
            await self._end(tx, SYSTEM, reached, previous)
        return reached - begin

    async def _begin(self, tx: Transaction, chain: str, first: bytes) -> tuple[int, bytes, int]:
        """Return behind what a chain begins, and when it was cut there: `first` and 0 where it never was."""
        await tx.one(statements.HEAD, chain_=SYSTEM)  # the lock of all that cut
        row = await tx.one(statements.CUT, chain_=chain)
        if row is None:
            return 0, first, 0
        cut = Cut(*row)
        if not is_genuine(cut, self._checkpoint_hash):
            raise _DamagedError
        return cut.seq, cut.hash, cut.at

    async def _end(self, tx: Transaction, chain: str, seq: int, hash_: bytes) -> None:
        cut = links.sign_cut(self._checkpoint_hash, chain, seq, hash_, now_us())
        columns = {f"{name}_": getattr(cut, name) for name in Cut.__slots__}
        if not await tx.execute(statements.MOVE_CUT, **columns):
            await tx.execute(statements.ADD_CUT, **columns)


def is_genuine(cut: Cut, checkpoint_hash: KeyedHash) -> bool:
    """Return whether a cut was signed by this server."""
    try:
        return compare_digest(links.sign_cut(checkpoint_hash, cut.chain, cut.seq, cut.hash, cut.at).mac, cut.mac)
    except WRONG_TYPES:
        return False


def _follows(checkpoint: Checkpoint, number: int, mac: bytes, checkpoint_hash: KeyedHash) -> bool:
    try:
        expected = links.sign(
            checkpoint_hash,
            number=number + 1,
            chain=checkpoint.chain,
            seq=checkpoint.seq,
            head=checkpoint.head,
            at=checkpoint.at,
            prev_mac=mac,
        )
    except WRONG_TYPES:
        return False
    return expected == checkpoint
