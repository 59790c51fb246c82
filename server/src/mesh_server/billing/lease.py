"""Whether a process lives: a row that it renews, and that others end when it does not."""

from mesh_server.billing import statements as sql
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.errors import DatabaseUnavailable
from mesh_server.ids import now_us, uuid7
from mesh_server.telemetry import logger

#: Seconds between two renewals, and without one after which a process counts as dead.
RENEW_S, DEAD_S = 2.0, 10.0

_log = logger("mesh.billing")


class Lease:
    """This process's own row.

    Attributes:
        id: by which others know what this process holds. Another one after it was taken for dead.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked = False
        self._made = False
        self.id = uuid7()

    def current(self) -> str:
        """Return the id as it is now."""
        return self.id

    async def hold(self, tx: Transaction, holder: str | None = None) -> None:
        """Make sure in a transaction that the row is there: what is taken under it must be found by others.

        Args:
            tx: the transaction.
            holder: the id under which something is to be taken; by default the current one.

        Raises:
            DatabaseUnavailable: if others have ended that row: what was taken under it now would be held for ever.
        """
        if holder is not None and holder != self.id:
            raise _taken_for_dead()
        self._asked = True
        if await tx.one(sql.LEASE, id_=self.id) is None:
            if self._made:
                raise _taken_for_dead()
            await tx.execute(sql.ADD_LEASE, id_=self.id, expires_at_=_until())

    def held(self) -> None:
        """Note that a transaction with `hold` was committed; where nobody does, `renew` finds the row."""
        self._made = True

    async def renew(self) -> bool:
        """Say that this process lives; return False where others have taken it for dead, and begin anew.

        Raises:
            MeshError: if the database can't be written now.
        """
        if not self._asked:
            return True
        mine, made = self.id, self._made

        async def work(tx: Transaction) -> int:
            return await tx.execute(sql.RENEW_LEASE, id_=mine, expires_at_=_until())

        if await self._database.write(work, ServerWork.BILLING):
            self._made = True
            return True
        if not made:
            return True  # the transaction that wanted it was not committed
        _log.warning("this process was taken for dead: its database or its clock stood still", lease=mine)
        self.id, self._asked, self._made = uuid7(), False, False
        return False

    async def end(self) -> None:
        """Remove the row: nothing is held any more."""
        if not self._asked:
            return
        mine, self._asked, self._made = self.id, False, False

        async def work(tx: Transaction) -> None:
            await tx.execute(sql.DROP_LEASE, id_=mine)

        await self._database.write(work, ServerWork.BILLING)


async def is_alive(tx: Transaction, holder: str) -> bool:
    """Return whether the process of a lease lives, or may."""
    row = await tx.one(sql.LEASE, id_=holder)
    return row is not None and row[0] >= now_us()


def _taken_for_dead() -> DatabaseUnavailable:
    return DatabaseUnavailable("This process was taken for dead by others, and begins anew.", retry_after=RENEW_S)


def _until() -> int:
    return now_us() + int(DEAD_S * 1_000_000)
