"""Commitments and challenges of the old scheme: every statement is bound to a tenant and an owner."""

from sqlalchemy import bindparam, delete, func, insert, select, update

from mesh_server.accounts.models import Principal
from mesh_server.db.schema import Transaction
from mesh_server.errors import RateLimited
from mesh_server.proofs.models import OldName, legacy_challenges, legacy_commitments

#: Challenges that one account can have unanswered.
MOST_LIVE = 64

_NAMED = (
    (legacy_commitments.c.tenant_id == bindparam("tenant_"))
    & (legacy_commitments.c.owner_id == bindparam("owner_"))
    & (legacy_commitments.c.user_id == bindparam("user_"))
    & (legacy_commitments.c.name == bindparam("name_"))
)
_FIND = select(legacy_commitments.c.commitment).where(_NAMED)
_ADD = insert(legacy_commitments).values(
    tenant_id=bindparam("tenant_"),
    owner_id=bindparam("owner_"),
    user_id=bindparam("user_"),
    name=bindparam("name_"),
    commitment=bindparam("commitment_"),
    stored_at=bindparam("now_"),
)
_REPLACE = (
    update(legacy_commitments).where(_NAMED).values(commitment=bindparam("commitment_"), stored_at=bindparam("now_"))
)
_OWN = (legacy_challenges.c.tenant_id == bindparam("tenant_")) & (legacy_challenges.c.owner_id == bindparam("owner_"))
_ALIVE = _OWN & (legacy_challenges.c.expires_at > bindparam("now_"))
_COUNT = select(func.count()).select_from(legacy_challenges).where(_ALIVE)
_REMEMBER = insert(legacy_challenges).values(
    tenant_id=bindparam("tenant_"),
    id=bindparam("id_"),
    owner_id=bindparam("owner_"),
    address=bindparam("address_"),
    expires_at=bindparam("expires_at_"),
)
_TAKE = (
    delete(legacy_challenges)
    .where(_ALIVE, legacy_challenges.c.id == bindparam("id_"))
    .returning(legacy_challenges.c.address)
)


async def put(tx: Transaction, principal: Principal, name: OldName, commitment: str, now: int) -> None:
    """Store a commitment in place of an earlier one."""
    values = {**_named(principal, name), "commitment_": commitment, "now_": now}
    if not await tx.execute(_REPLACE, **values):
        await tx.execute(_ADD, **values)


async def find(tx: Transaction, principal: Principal, name: OldName) -> str | None:
    """Return a commitment of the caller's."""
    row = await tx.one(_FIND, **_named(principal, name))
    return None if row is None else str(row[0])


async def remember(
    tx: Transaction, principal: Principal, challenge: str, address: str, *, now: int, expires_at: int
) -> None:
    """Store a challenge.

    Raises:
        RateLimited: if the account has MOST_LIVE of them.
    """
    own = {"tenant_": principal.tenant_id, "owner_": principal.account_id}
    row = await tx.one(_COUNT, **own, now_=now)
    if row is not None and row[0] >= MOST_LIVE:
        raise RateLimited(f"This account has {MOST_LIVE} unanswered challenges.", retry_after=10)
    await tx.execute(_REMEMBER, **own, id_=challenge, address_=address, expires_at_=expires_at)


async def take(tx: Transaction, principal: Principal, challenge: str, now: int) -> str | None:
    """Use a challenge of the caller's up; return the address it was drawn for, None where there is no such one."""
    row = await tx.one(_TAKE, tenant_=principal.tenant_id, owner_=principal.account_id, id_=challenge, now_=now)
    return None if row is None else str(row[0])


def _named(principal: Principal, name: OldName) -> dict[str, str]:
    return {
        "tenant_": principal.tenant_id,
        "owner_": principal.account_id,
        "user_": name.user_id,
        "name_": name.name,
    }
