"""Checks the audit trail from its first event to its last: every link, every checkpoint, every head."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mesh_server.audit import chain as links
from mesh_server.audit import statements
from mesh_server.audit.chain import Checkpoint, KeyedHash
from mesh_server.audit.models import SYSTEM, Event
from mesh_server.audit.service import event_of
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import ServerWork

_STEP = 1_000
#: What a value of a type that the server never writes leads to.
WRONG_TYPES = (TypeError, ValueError, OverflowError)


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
class Known:
    """What the trail says of the things it is about; by their ids.

    Attributes:
        revisions: the highest revision of each key.
        purged: keys that were removed for good.
        tokens: API tokens, and whether they were revoked.
        grants: grants that were given, and whether they were taken back.
        accounts: accounts by (tenant, id).
        events: how many events there are.
        checkpoints: how many checkpoints there are.
    """

    revisions: dict[str, int] = field(default_factory=dict)
    purged: set[str] = field(default_factory=set)
    tokens: dict[str, bool] = field(default_factory=dict)
    grants: dict[str, bool] = field(default_factory=dict)
    accounts: set[tuple[str, str]] = field(default_factory=set)
    events: int = 0
    checkpoints: int = 0

    def learn(self, event: Event) -> None:
        """Take note of an event that was found to be genuine."""
        self.events += 1
        details: dict[str, Any] = msgspec.json.decode(event.details)
        match event.action.partition(".")[0], event.action.partition(".")[2]:
            case "key", "refused":
                pass  # nothing came of it
            case "key", "purged":
                self.purged.add(details["id"])
            case "key" | "version", _:
                self.revisions[details["id"]] = max(self.revisions.get(details["id"], 0), details["rev"])
            case "token", "created":
                self.tokens.setdefault(event.object, False)
            case "token", "revoked":
                self.tokens[event.object] = True
            case "grant", "given":
                self.grants.setdefault(details["id"], False)
            case "grant", _:
                self.grants[details["id"]] = True
            case "account", "created":
                self.accounts.add((event.tenant_id, event.object))
            case _:
                pass


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
        # Heads and checkpoints first: what is added to the trail meanwhile can only come after them.
        heads = {row[0]: row for row in await self._all(statements.HEADS)}
        signed = await self._checkpoints(heads.pop(SYSTEM, None))
        chains = {row[0] for row in await self._all(statements.CHAINS)}
        for chain in sorted(map(str, chains | heads.keys() | signed.keys())):
            await self._chain(chain, heads.get(chain), signed.get(chain, []))

    async def _chain(self, chain: str, head: Row | None, signed: list[Checkpoint]) -> None:
        where = f"audit chain {chain}"
        at_checkpoint = {checkpoint.seq: checkpoint for checkpoint in signed}
        reached, previous = 0, links.genesis(self._chain_hash, chain)
        at_head = previous if head is not None and head[1] == 0 else None
        async for seq, prev_hash, hash_, *columns in self._rows(chain):
            if seq != reached + 1:
                self._say("missing", f"{where} row {reached + 1}", f"The event is missing; the next one is {seq}.")
            problem = self._row(chain, seq, previous if seq == reached + 1 else prev_hash, (prev_hash, hash_), columns)
            if problem is not None:
                self._say("changed", f"{where} row {seq}", problem)
            checkpoint = at_checkpoint.pop(seq, None)
            if checkpoint is not None and checkpoint.head != hash_:
                self._say("changed", f"{where} row {seq}", f"It is not what checkpoint {checkpoint.number} signed.")
            reached, previous = seq, hash_
            if head is not None and seq == head[1]:
                at_head = hash_
        if at_checkpoint:
            last = max(at_checkpoint)
            self._say("truncated", where, f"It ends at {reached}; checkpoint {at_checkpoint[last].number} saw {last}.")
        if head is None:
            self._say("missing", f"{where} head", "The row that says where the chain ends is missing.")
        elif at_head is None:
            self._say("truncated", where, f"It ends at {reached}; its head says {head[1]}.")
        elif at_head != head[2]:
            self._say("changed", f"{where} head", "It does not name the hash of the last event.")

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
        reached, previous = 0, links.NO_MAC
        while rows := await self._all(statements.CHECKPOINTS, after_=reached, limit_=_STEP):
            for row in rows:
                checkpoint = Checkpoint(*row)
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

    async def _rows(self, chain: str) -> AsyncIterator[Row]:
        after: Any = -(2**63)
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
