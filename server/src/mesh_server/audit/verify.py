"""Checks the audit trail from its first event to its last: every link, every cut, every checkpoint, every head."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from mesh_server.audit import chain as links
from mesh_server.audit import statements
from mesh_server.audit.chain import WRONG_TYPES, Checkpoint, Cut, KeyedHash
from mesh_server.audit.known import Known
from mesh_server.audit.models import SYSTEM, event_of
from mesh_server.audit.retention import is_genuine
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import ServerWork

_STEP = 1_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as this server left it.

    Attributes:
        kind: `changed`, `missing`, `truncated`, or `older`.
        where: the table and the row.
        what: a sentence.
    """

    kind: str
    where: str
    what: str


@dataclass(slots=True)
class _Walk:
    """How far a chain was read, and what is to be compared with it.

    Attributes:
        begin: the number of the event behind which it began.
        reached, previous: number and hash of the last event that was read.
        head: its row as it was before; None where there is none.
        at_head: the hash of the event that the head names; None until it was read.
        signed: checkpoints whose events are still to come, by their numbers.
    """

    chain: str
    begin: int
    reached: int
    previous: bytes
    head: Row | None
    at_head: bytes | None
    signed: dict[int, Checkpoint]

    @property
    def where(self) -> str:
        return f"audit chain {self.chain}"


class ChainCheck:
    """One run over the trail.

    Args:
        database: where it is; it may be in use.
        chain_hash, checkpoint_hash: as the writer has them.
    """

    def __init__(self, database: Database, chain_hash: KeyedHash, checkpoint_hash: KeyedHash) -> None:
        self._database = database
        self._chain_hash = chain_hash
        self._checkpoint_hash = checkpoint_hash
        self.problems: list[Problem] = []
        self.known = Known()

    async def run(self) -> None:
        """Look at everything, and leave what is wrong in `problems`."""
        # Cuts first, then heads and checkpoints: what is removed or added meanwhile can only come after them.
        cuts = await self._cuts()
        heads = {row[0]: row for row in await self._all(statements.HEADS)}
        signed = await self._checkpoints(heads.pop(SYSTEM, None))
        chains = {row[0] for row in await self._all(statements.CHAINS)}
        walks: dict[str, _Walk] = {}
        for chain in sorted(map(str, chains | heads.keys() | signed.keys() | cuts.keys())):
            if chain != SYSTEM:
                walks[chain] = self._begin(chain, heads.get(chain), signed.get(chain, []), cuts.get(chain))
                await self._walk(walks[chain])
        await self._walk_on(walks, cuts)
        for walk in walks.values():
            await self._end(walk)

    def _begin(self, chain: str, head: Row | None, signed: list[Checkpoint], cut: Cut | None) -> _Walk:
        """Return a walk that begins where the chain does: behind its last cut."""
        reached, previous = (cut.seq, cut.hash) if cut else (0, links.genesis(self._chain_hash, chain))
        at_head = previous if head is not None and head[1] == reached else None
        for checkpoint in signed:
            if checkpoint.seq == reached and reached and checkpoint.head != previous:
                self._say(
                    "changed", f"audit chain {chain} cut", f"Checkpoint {checkpoint.number} signed another event."
                )
        return _Walk(chain, reached, reached, previous, head, at_head, {c.seq: c for c in signed if c.seq > reached})

    async def _walk(self, walk: _Walk, after: int = -(2**63)) -> None:
        """Check the events behind a number, from where the walk stands."""
        async for seq, prev_hash, hash_, *columns in self._rows(walk.chain, after):
            if not isinstance(seq, int) or seq <= walk.reached:
                self._say("changed", f"{walk.where} row {seq}", "It was removed because of its age, or never written.")
                continue
            follows = seq == walk.reached + 1
            if not follows and not await self._was_cut(walk, seq, prev_hash):
                what = f"The event is missing; the next one is {seq}."
                self._say("missing", f"{walk.where} row {walk.reached + 1}", what)
            previous = walk.previous if follows else prev_hash
            problem = self._row(walk.chain, seq, previous, (prev_hash, hash_), columns)
            if problem is not None:
                self._say("changed", f"{walk.where} row {seq}", problem)
            checkpoint = walk.signed.pop(seq, None)
            if checkpoint is not None and checkpoint.head != hash_:
                self._say(
                    "changed", f"{walk.where} row {seq}", f"It is not what checkpoint {checkpoint.number} signed."
                )
            walk.reached, walk.previous = seq, hash_
            if walk.head is not None and seq == walk.head[1]:
                walk.at_head = hash_

    async def _was_cut(self, walk: _Walk, seq: int, prev_hash: bytes) -> bool:
        """Return whether all that is missing before an event was removed since the walk began."""
        cut = (await self._cuts(walk.chain)).get(walk.chain)
        if cut is None or cut.seq <= walk.begin or cut.seq < seq - 1 or (cut.seq == seq - 1 and cut.hash != prev_hash):
            return False
        walk.signed = {number: checkpoint for number, checkpoint in walk.signed.items() if number > cut.seq}
        if walk.head is not None and walk.head[1] <= cut.seq:
            walk.at_head = cut.hash if walk.head[1] == cut.seq else walk.head[2]
        return True

    async def _walk_on(self, walks: dict[str, _Walk], before: Mapping[str, Cut]) -> None:
        """Read what was added meanwhile, where something was cut: what that still means is said at a chain's end."""
        if await self._cuts() == before:
            return
        for row in await self._all(statements.HEADS):
            if row[0] not in walks and row[0] != SYSTEM:
                walks[row[0]] = self._begin(row[0], row, [], None)
        for walk in walks.values():
            await self._walk(walk, walk.reached)

    async def _end(self, walk: _Walk) -> None:
        """Compare what was found with the chain's checkpoints and its head."""
        head = walk.head
        if head is not None and walk.at_head is None:
            await self._was_cut(walk, walk.reached + 1, walk.previous)  # all of it, since the walk began
        if walk.signed:
            last = max(walk.signed)
            what = f"It ends at {walk.reached}; checkpoint {walk.signed[last].number} saw {last}."
            self._say("truncated", walk.where, what)
        if head is None:
            self._say("missing", f"{walk.where} head", "The row that says where the chain ends is missing.")
        elif walk.at_head is None:
            self._say("truncated", walk.where, f"It ends at {walk.reached}; its head says {head[1]}.")
        elif walk.at_head != head[2]:
            self._say("changed", f"{walk.where} head", "It does not name the hash of the last event.")

    async def _cuts(self, chain: str | None = None) -> dict[str, Cut]:
        """Return the cuts of all chains, or of one."""
        rows = await (self._all(statements.CUTS) if chain is None else self._all(statements.CUT, chain_=chain))
        found = {}
        for row in rows:
            cut = Cut(*row)
            problem = Problem("changed", f"audit cut {cut.chain}", "Its signature is not this server's.")
            if is_genuine(cut, self._checkpoint_hash):
                found[cut.chain] = cut
            elif problem not in self.problems:
                self.problems.append(problem)
        return found

    def _row(
        self, chain: str, seq: int, previous: bytes, stored: tuple[bytes, bytes], columns: list[Any]
    ) -> str | None:
        prev_hash, hash_ = stored
        try:
            event = event_of(columns)
            if links.link(self._chain_hash, prev_hash, chain, seq, links.content(event)) != hash_:
                return "The event was changed, or moved here from another place."
            self.known.learn(event)
        except WRONG_TYPES:
            return "The event was changed: it holds something that the server never writes."
        return None if prev_hash == previous else "The event does not follow the one before it."

    async def _checkpoints(self, head: Row | None) -> dict[str, list[Checkpoint]]:
        signed: dict[str, list[Checkpoint]] = {}
        cut = (await self._cuts(SYSTEM)).get(SYSTEM)
        reached, previous = (cut.seq, cut.hash) if cut else (0, links.NO_MAC)
        while rows := await self._all(statements.CHECKPOINTS, after_=reached, limit_=_STEP):
            for row in rows:
                checkpoint = Checkpoint(*row)
                if checkpoint.number != reached + 1 and checkpoint.prev_mac != previous:
                    reached, previous = await self._cut_before(checkpoint, reached, previous)
                problem = self._checkpoint(checkpoint, reached, previous)
                if problem is not None:
                    self._say("changed", f"audit checkpoint {checkpoint.number}", problem)
                else:
                    signed.setdefault(checkpoint.chain, []).append(checkpoint)
                self.known.checkpoints += 1
                reached, previous = checkpoint.number, checkpoint.mac
        if head is None:
            self._say("missing", "audit head of checkpoints", "The row is missing.")
        elif (head[1] or 0) > reached:
            self._say("truncated", "audit checkpoints", f"The last one is {reached}; there were {head[1]}.")
        elif head[1] == reached and reached and head[2] != previous:
            self._say("changed", "audit head of checkpoints", "It does not name the last checkpoint.")
        elif head[1] < reached and not await self._moved_on(reached):
            self._say("changed", "audit head of checkpoints", f"It says {head[1]}; there are {reached}.")
        return signed

    async def _cut_before(self, checkpoint: Checkpoint, reached: int, previous: bytes) -> tuple[int, bytes]:
        """Return what a checkpoint follows: a cut that was made since the look began, or what was read last."""
        cut = (await self._cuts(SYSTEM)).get(SYSTEM)
        if cut is not None and (cut.seq, cut.hash) == (checkpoint.number - 1, checkpoint.prev_mac):
            return cut.seq, cut.hash
        return reached, previous

    async def _moved_on(self, reached: int) -> bool:
        """Return whether checkpoints were only added between two looks."""
        heads = {row[0]: row for row in await self._all(statements.HEADS)}
        return SYSTEM in heads and heads[SYSTEM][1] >= reached

    def _checkpoint(self, checkpoint: Checkpoint, reached: int, previous: bytes) -> str | None:
        try:
            expected = links.sign(
                self._checkpoint_hash,
                number=checkpoint.number,
                chain=checkpoint.chain,
                seq=checkpoint.seq,
                head=checkpoint.head,
                at=checkpoint.at,
                prev_mac=checkpoint.prev_mac,
            )
        except WRONG_TYPES:
            return "It holds something that the server never writes."
        if expected.mac != checkpoint.mac:
            return "Its signature is not this server's."
        if checkpoint.number != reached + 1 or checkpoint.prev_mac != previous:
            return f"It does not follow checkpoint {reached}."
        return None

    async def _rows(self, chain: str, after: Any) -> AsyncIterator[Row]:
        while rows := await self._all(statements.CHAIN, chain_=chain, after_=after, limit_=_STEP):
            for row in rows:
                yield row
            after = rows[-1][0]

    async def _all(self, statement: Any, **parameters: object) -> list[Row]:
        async def work(tx: Transaction) -> list[Row]:
            return await tx.all(statement, **parameters)

        return await self._database.read(work, ServerWork.VERIFY)

    def _say(self, kind: str, where: str, what: str) -> None:
        self.problems.append(Problem(kind, where, what))
