"""What goes with a transaction of PostgreSQL: whose rows it sees, and the closures that it is for."""

import asyncio
from typing import Any

from mesh_server.db.endings import Ending, Left
from mesh_server.db.engine import Touched, Work
from mesh_server.db.schema import StatementFailed
from mesh_server.db.scope import SERVER


def set_tenant(value: str) -> str:
    """Return the SQL that says whose rows the rest of the transaction sees."""
    # Written in hexadecimal: whatever a tenant is named, it can't end the literal.
    return f"SELECT set_config('mesh.tenant', convert_from(decode('{value.encode().hex()}', 'hex'), 'UTF8'), true)"


class Job:
    """One closure that waits to be written, and what the row policies shall compare with.

    Attributes:
        left: what it left to the end of the transaction, the last time that it ran.
    """

    __slots__ = ("future", "left", "tenant", "touched", "work")

    def __init__(self, work: Work[Any], tenant: str, touched: Touched | None = None) -> None:
        self.work = work
        self.tenant = tenant
        self.touched = touched
        self.left: list[Left] = []
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def leave(self, ending: Ending, item: object, tenant_id: str) -> None:
        """Take what is left to the end, which is written for all tenants at once: so it is checked here.

        Raises:
            StatementFailed: as for a row of another tenant, which the row policies refuse.
        """
        if tenant_id != self.tenant and not self.tenant.startswith(SERVER):
            raise StatementFailed("what was left to the end of a transaction is another tenant's")
        self.left.append((ending, item))


class Session:
    """One transaction's connection, and the tenant whose rows it sees now."""

    def __init__(self, connection: Any, tenant: str) -> None:
        self.connection = connection
        self.tenant = tenant

    async def become(self, tenant: str) -> None:
        """See a tenant's rows from now on."""
        if tenant != self.tenant:
            await self.connection.execute(set_tenant(tenant))
            self.tenant = tenant
