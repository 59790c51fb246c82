"""What a transaction does last, once for all units of work that share it.

A unit of work may leave something to the end of its transaction: an event for the audit trail, whose place in its chain
is known only then. The end is part of the transaction: where it fails, nothing of the transaction happened.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from mesh_server.db.schema import Transaction


class Ending(Protocol):
    """Does the last part of a transaction."""

    async def write(self, tx: Transaction, writer: int, items: Sequence[Any]) -> None:
        """Write what was left, in the order in which it was left.

        Args:
            tx: the transaction of all of it; awaits nothing else.
            writer: which of the database's writers it is; each has one transaction at a time.
            items: what units of work left that did not fail.
        """

    def settled(self, writer: int, *, committed: bool) -> None:
        """Take note of what became of a writer's last transaction; False also where it is not known."""


Left = tuple[Ending, Any]


class Endings:
    """What was left to the end of one transaction of a writer."""

    def __init__(self, writer: int) -> None:
        self._writer = writer
        self._items: dict[Ending, list[Any]] = {}

    def __bool__(self) -> bool:
        """Return whether anything was left."""
        return bool(self._items)

    def take(self, left: Sequence[Left]) -> None:
        """Take what one unit of work left, once it is known that it did not fail."""
        for ending, item in left:
            self._items.setdefault(ending, []).append(item)

    async def write(self, tx: Transaction) -> None:
        """Write all of it."""
        for ending, items in self._items.items():
            await ending.write(tx, self._writer, items)

    def settle(self, *, committed: bool) -> None:
        """Tell everyone what became of the transaction."""
        for ending in self._items:
            ending.settled(self._writer, committed=committed)
