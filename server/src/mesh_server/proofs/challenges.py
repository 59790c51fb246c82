"""Challenges and enrolments under way: each is good once, for two minutes, for the login that asked (SPEC step 11)."""

from dataclasses import dataclass, field

from sqlalchemy import bindparam, delete, func, insert, select

from mesh_server.accounts.models import Account, Principal
from mesh_server.db.schema import Transaction
from mesh_server.errors import RateLimited
from mesh_server.proofs.models import legacy_challenges, zk_challenges, zk_enrollments

#: Challenges, and enrolments under way, that one record can have.
MOST_LIVE = 64

_CHALLENGE = ("tenant_id", "id", "owner_id", "bind", "record_id", "version", "digest", "public_key", "address")
_ENROLLMENT = (
    *("tenant_id", "id", "owner_id", "namespace", "name", "bind", "record_id", "version", "root_id"),
    *("blinded", "answered", "challenge", "overwrite", "address"),
)
_ADD = {
    table: insert(table).values({name: bindparam(f"{name}_") for name in (*columns, "expires_at")})
    for table, columns in ((zk_challenges, _CHALLENGE), (zk_enrollments, _ENROLLMENT))
}
_LIVE = {
    table: select(func.count())
    .select_from(table)
    .where(
        table.c.tenant_id == bindparam("tenant_"),
        table.c.record_id == bindparam("record_"),
        table.c.expires_at > bindparam("now_"),
    )
    for table in (zk_challenges, zk_enrollments)
}
_TAKE = {
    table: delete(table)
    .where(
        table.c.tenant_id == bindparam("tenant_"),
        table.c.owner_id == bindparam("owner_"),
        table.c.id == bindparam("id_"),
        table.c.expires_at > bindparam("now_"),
    )
    .returning(*(table.c[name] for name in columns))
    for table, columns in ((zk_challenges, _CHALLENGE), (zk_enrollments, _ENROLLMENT))
}
_ABANDON = delete(zk_enrollments).where(
    zk_enrollments.c.tenant_id == bindparam("tenant_"),
    zk_enrollments.c.owner_id == bindparam("owner_"),
    zk_enrollments.c.namespace == bindparam("namespace_"),
    zk_enrollments.c.name == bindparam("name_"),
    zk_enrollments.c.id != bindparam("but_"),
)
_PURGE = tuple(
    delete(table).where(table.c.expires_at <= bindparam("now_"))
    for table in (zk_challenges, zk_enrollments, legacy_challenges)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingChallenge:
    """What is remembered of a challenge. `repr` shows nothing."""

    tenant_id: str = field(repr=False)
    id: str = field(repr=False)
    owner_id: str = field(repr=False)
    bind: bytes = field(repr=False)
    record_id: str = field(repr=False)
    version: int = field(repr=False)
    digest: bytes = field(repr=False)
    public_key: bytes = field(repr=False)
    address: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEnrollment:
    """What is remembered of an enrolment. `repr` shows nothing."""

    tenant_id: str = field(repr=False)
    id: str = field(repr=False)
    owner_id: str = field(repr=False)
    namespace: str = field(repr=False)
    name: str = field(repr=False)
    bind: bytes = field(repr=False)
    record_id: str = field(repr=False)
    version: int = field(repr=False)
    root_id: str = field(repr=False)
    blinded: bytes = field(repr=False)
    answered: bytes = field(repr=False)
    challenge: bytes = field(repr=False)
    overwrite: bool = field(repr=False)
    address: str = field(repr=False)


async def remember(
    tx: Transaction, pending: PendingChallenge | PendingEnrollment, *, now: int, expires_at: int
) -> None:
    """Store one.

    Raises:
        RateLimited: if the record has MOST_LIVE of them.
    """
    enrollment = isinstance(pending, PendingEnrollment)
    table, columns = (zk_enrollments, _ENROLLMENT) if enrollment else (zk_challenges, _CHALLENGE)
    row = await tx.one(_LIVE[table], tenant_=pending.tenant_id, record_=pending.record_id, now_=now)
    if row is not None and row[0] >= MOST_LIVE:
        raise RateLimited(f"This key has {MOST_LIVE} unanswered challenges.", retry_after=10)
    values = {f"{name}_": getattr(pending, name) for name in columns}
    await tx.execute(_ADD[table], **values, expires_at_=expires_at)


async def take_challenge(tx: Transaction, principal: Principal, name: bytes, now: int) -> PendingChallenge | None:
    """Return a challenge of the caller's and use it up, whatever comes of it; None where there is none."""
    row = await tx.one(_TAKE[zk_challenges], **_own(principal, name), now_=now)
    return None if row is None else PendingChallenge(**dict(zip(_CHALLENGE, row, strict=True)))


async def take_enrollment(tx: Transaction, principal: Principal, name: bytes, now: int) -> PendingEnrollment | None:
    """Return an enrolment of the caller's and use it up, whatever comes of it; None where there is none."""
    row = await tx.one(_TAKE[zk_enrollments], **_own(principal, name), now_=now)
    return None if row is None else PendingEnrollment(**dict(zip(_ENROLLMENT, row, strict=True)))


async def abandon(tx: Transaction, holder: Account | Principal, namespace: str, name: str, *, but: bytes = b"") -> None:
    """End the enrolments of a name that are under way, for the value that they are of is gone; all but one."""
    await tx.execute(
        _ABANDON,
        tenant_=holder.tenant_id,
        owner_=holder.account_id,
        namespace_=namespace,
        name_=name,
        but_=but.hex(),
    )


async def purge(tx: Transaction, now: int) -> None:
    """Forget what nobody can answer any more."""
    for statement in _PURGE:
        await tx.execute(statement, now_=now)


def _own(principal: Principal, name: bytes) -> dict[str, str]:
    return {"tenant_": principal.tenant_id, "owner_": principal.account_id, "id_": name.hex()}
