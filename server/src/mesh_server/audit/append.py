"""Adds what one transaction has to tell to its writer's chain, all at once.

Where the chain ends is known in memory from the last transaction that was committed. It is believed only as far as the
row of the head agrees: that row moves first, and only from where it is believed to be.
"""

from collections.abc import Sequence
from operator import attrgetter

from mesh_server.audit import chain as links
from mesh_server.audit import statements
from mesh_server.audit.chain import KeyedHash
from mesh_server.audit.models import Event
from mesh_server.db.schema import Transaction
from mesh_server.ids import uuid7

#: An event, and the bytes of it that its link is computed from.
Told = tuple[Event, bytes]
#: Number and hash of a chain's last event.
_Head = tuple[int, bytes]

_PARAMETERS = tuple(f"{name}_" for name in Event.__struct_fields__)
_values = attrgetter(*Event.__struct_fields__)


class Appender:
    """The chains of one process, one for each of its database's writers; an `Ending`.

    Args:
        chain_hash: makes links.
        writers: how many there are.
    """

    def __init__(self, chain_hash: KeyedHash, writers: int) -> None:
        self._chains = [_Chain(chain_hash, uuid7()) for _ in range(writers)]

    @property
    def chains(self) -> list[str]:
        """Their names."""
        return [chain.name for chain in self._chains]

    async def write(self, tx: Transaction, writer: int, items: Sequence[Told]) -> None:
        """Add events in their order to the writer's chain."""
        await self._chains[writer].write(tx, items)

    def settled(self, writer: int, *, committed: bool) -> None:
        """Know where the writer's chain ends, or that it has to be read again."""
        self._chains[writer].settled(committed=committed)


class _Chain:
    """The end of one chain. One transaction at a time adds to it."""

    def __init__(self, chain_hash: KeyedHash, name: str) -> None:
        self.name = name
        self._hash = chain_hash
        self._head: _Head | None = None  # None: to be read
        self._moved: _Head | None = None  # where it is once the transaction is committed

    async def write(self, tx: Transaction, items: Sequence[Told]) -> None:
        if self._head is not None and await self._add(tx, self._head, items):
            return
        if not await self._add(tx, await self._find(tx), items):
            raise RuntimeError("the head of an audit chain moved while it was locked")

    def settled(self, *, committed: bool) -> None:
        self._head, self._moved = (self._moved if committed else None), None

    async def _add(self, tx: Transaction, head: _Head, items: Sequence[Told]) -> bool:
        """Move the head and add the events; do neither, and return False, where the head is elsewhere."""
        seq, previous = head
        rows: list[dict[str, object]] = []
        for event, content in items:
            seq += 1
            hash_ = links.link(self._hash, previous, self.name, seq, content)
            row: dict[str, object] = dict(zip(_PARAMETERS, _values(event), strict=True))
            row.update(chain_=self.name, seq_=seq, prev_hash_=previous, hash_=hash_)
            rows.append(row)
            previous = hash_
        if not await tx.execute(
            statements.ADVANCE_HEAD,
            chain_=self.name,
            before_seq_=head[0],
            before_hash_=head[1],
            seq_=seq,
            hash_=previous,
        ):
            return False
        await tx.many(statements.ADD, rows)
        self._moved = seq, previous
        return True

    async def _find(self, tx: Transaction) -> _Head:
        """Return the stored head, made where there is none."""
        row = await tx.one(statements.HEAD, chain_=self.name)
        if row is not None:
            return row[0], row[1]
        first = links.genesis(self._hash, self.name)
        await tx.execute(statements.ADD_HEAD, chain_=self.name, seq_=0, hash_=first)
        return 0, first
