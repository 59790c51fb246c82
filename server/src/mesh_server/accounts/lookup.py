"""Accounts and tokens as an operator names them."""

from sqlalchemy import bindparam, or_, select

from mesh_server.accounts.models import api_tokens, users
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import Tenant

_USER = select(users.c.id).where(
    users.c.tenant_id == bindparam("tenant_"), or_(users.c.id == bindparam("user_"), users.c.name == bindparam("user_"))
)
_TOKEN = select(api_tokens.c.name).where(
    api_tokens.c.tenant_id == bindparam("tenant_"), api_tokens.c.id == bindparam("id_")
)


async def find_account(database: Database, tenant_id: str, user: str) -> str | None:
    """Return the id of an account by its id or the operator's name for it; None where there is none."""

    async def look(tx: Transaction) -> str | None:
        row = await tx.one(_USER, tenant_=tenant_id, user_=user)
        return None if row is None else str(row[0])

    return await database.read(look, Tenant(tenant_id))


async def has_token(database: Database, tenant_id: str, token_id: str) -> bool:
    """Return whether a tenant has an API token with this id, revoked ones included."""

    async def look(tx: Transaction) -> bool:
        return await tx.one(_TOKEN, tenant_=tenant_id, id_=token_id) is not None

    return await database.read(look, Tenant(tenant_id))


async def token_name(tx: Transaction, tenant_id: str, token_id: str) -> str | None:
    """Return the name of an API token; None where there is no such token."""
    row = await tx.one(_TOKEN, tenant_=tenant_id, id_=token_id)
    return None if row is None else row[0]
