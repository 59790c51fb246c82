"""Acting for another account: what a service does for the person who asked it."""

from sqlalchemy import bindparam, select

from mesh_server.accounts.models import Principal, users
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import Tenant
from mesh_server.errors import AccountNotFound

#: What a token never does in another's name: hand its power on.
_NEVER = frozenset({"admin", "act-as"})
_MOST_WARM = 10_000

_USER = select(users.c.email).where(users.c.tenant_id == bindparam("tenant_"), users.c.id == bindparam("id_"))


class Acting:
    """Turns a service's principal into one that acts for an account of its own tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._warm: dict[tuple[str, str], str | None] = {}

    async def act_as(self, principal: Principal, account_id: str) -> Principal:
        """Return a principal of another account, with the token's scopes but those that would hand power on.

        Args:
            principal: who is calling, with the scope `act-as`.
            account_id: of an account in the same tenant.

        Raises:
            ScopeMissing: without `act-as`.
            AccountNotFound: if the tenant has no such account.
        """
        principal.require("act-as")
        place = (principal.tenant_id, account_id)
        if place not in self._warm:
            if not account_id.isprintable():
                raise AccountNotFound("There is no account of that id to act for.")
            row = await self._find(principal.tenant_id, account_id)
            if row is None:
                raise AccountNotFound("There is no account of that id to act for.")
            if len(self._warm) >= _MOST_WARM:
                self._warm.clear()
            self._warm[place] = row[0]
        return Principal(
            principal.tenant_id,
            account_id,
            principal.token_id,
            principal.scopes - _NEVER,
            self._warm[place],
            principal.expires_at,
            acting=principal.account_id,
            request_id=principal.request_id,
        )

    def forget(self) -> None:
        """Drop what is kept warm."""
        self._warm.clear()

    async def _find(self, tenant_id: str, account_id: str) -> Row | None:
        async def work(tx: Transaction) -> Row | None:
            return await tx.one(_USER, tenant_=tenant_id, id_=account_id)

        return await self._database.read(work, Tenant(tenant_id))
