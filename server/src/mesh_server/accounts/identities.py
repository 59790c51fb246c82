"""Accounts of logins: one for each issuer and subject, made on the first verified request."""

from sqlalchemy import bindparam, select, text, update

from mesh_server.accounts.models import Account, identities, users
from mesh_server.accounts.oidc.models import SignedClaims
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import Tenant
from mesh_server.ids import now_us, uuid7

_FIND = (
    select(identities.c.user_id, users.c.email)
    .join(users, (users.c.tenant_id == identities.c.tenant_id) & (users.c.id == identities.c.user_id))
    .where(
        identities.c.tenant_id == bindparam("tenant_"),
        identities.c.issuer == bindparam("issuer_"),
        identities.c.subject == bindparam("subject_"),
    )
)
# SQLAlchemy has ON CONFLICT as a construct of each dialect; the text is the same in both of ours.
_ADD_TENANT = text("INSERT INTO tenants (tenant_id, created_at) VALUES (:tenant_, :now_) ON CONFLICT DO NOTHING")
_ADD = text(
    "INSERT INTO identities (tenant_id, issuer, subject, user_id, created_at) "
    "VALUES (:tenant_, :issuer_, :subject_, :user_, :now_) ON CONFLICT DO NOTHING"
)
_ADD_USER = text("INSERT INTO users (tenant_id, id, email, created_at) VALUES (:tenant_, :user_, :email_, :now_)")
_SET_EMAIL = (
    update(users)
    .where(users.c.tenant_id == bindparam("tenant_"), users.c.id == bindparam("user_"))
    .values(email=bindparam("email_"))
)


async def account_of(database: Database, claims: SignedClaims) -> tuple[Account, str | None]:
    """Return the account of a login and its e-mail address, making the account on first sight.

    The identity is issuer and subject and nothing else. An e-mail address is kept for display; two logins that show
    the same one are two accounts, since an issuer may hand an address to whoever claims it.
    """
    tenant = claims.issuer.tenant
    identity = {"tenant_": tenant, "issuer_": claims.issuer_id, "subject_": claims.subject}

    async def find(tx: Transaction) -> Row | None:
        return await tx.one(_FIND, **identity)

    async def register(tx: Transaction) -> str:
        now, made = now_us(), uuid7()
        await tx.execute(_ADD_TENANT, tenant_=tenant, now_=now)
        # Not read first and then added: of two servers that do so at once, one would fail, or both would add.
        if await tx.execute(_ADD, **identity, user_=made, now_=now):
            await tx.execute(_ADD_USER, tenant_=tenant, user_=made, email_=claims.email, now_=now)
            return made
        row = await tx.one(_FIND, **identity)
        if row is None:
            raise RuntimeError("an identity has no account")
        user_id: str = row[0]
        if claims.email is not None and row[1] != claims.email:
            await tx.execute(_SET_EMAIL, tenant_=tenant, user_=user_id, email_=claims.email)
        return user_id

    scope = Tenant(tenant)
    row = await database.read(find, scope)
    if row is not None and claims.email in {None, row[1]}:
        return Account(tenant, row[0]), row[1]
    return Account(tenant, await database.write(register, scope)), claims.email
