"""Accounts of logins: one for each issuer and subject, made on the first verified request."""

from collections.abc import Sequence
from secrets import compare_digest
from typing import Any

from sqlalchemy import bindparam, insert, select, text, update

from mesh_server.accounts.models import Account, identities, users
from mesh_server.accounts.oidc.models import SignedClaims
from mesh_server.audit.chain import KeyedHash, fields
from mesh_server.audit.models import Operator
from mesh_server.audit.service import Audit
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import Tenant
from mesh_server.errors import VaultDamaged
from mesh_server.ids import now_us, uuid7

#: What is proven of an account, and of a login, in this order.
USER = ("tenant_id", "id", "name", "email", "created_at")
IDENTITY = ("tenant_id", "issuer", "subject", "user_id", "created_at")

_FIND = (
    select(identities.c.user_id, identities.c.created_at, identities.c.mac, users.c.email)
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
    "INSERT INTO identities (tenant_id, issuer, subject, user_id, created_at, mac) "
    "VALUES (:tenant_, :issuer_, :subject_, :user_, :now_, :mac_) ON CONFLICT DO NOTHING"
)
_ADD_USER = insert(users).values({column.name: bindparam(f"{column.name}_") for column in users.c})
_USER = select(users.c.name, users.c.created_at).where(
    users.c.tenant_id == bindparam("tenant_"), users.c.id == bindparam("user_")
)
_SET_EMAIL = (
    update(users)
    .where(users.c.tenant_id == bindparam("tenant_"), users.c.id == bindparam("user_"))
    .values(email=bindparam("email_"), mac=bindparam("mac_"))
)


class Identities:
    """Logins and their accounts. The `mac` of each row proves that this server wrote it: who somebody is hangs on them.

    Args:
        database: where they are.
        audit: is told of new accounts.
        keyed_hash: of 32 bytes, under a key of accounts alone.
    """

    def __init__(self, database: Database, audit: Audit, keyed_hash: KeyedHash) -> None:
        self._database = database
        self._audit = audit
        self._hash = keyed_hash

    async def account_of(self, claims: SignedClaims) -> tuple[Account, str | None]:
        """Return the account of a login and its e-mail address, making the account on first sight.

        The identity is issuer and subject and nothing else. An e-mail address is kept for display; two logins that show
        the same one are two accounts, since an issuer may hand an address to whoever claims it.

        Raises:
            VaultDamaged: if another program has changed whose login it is.
        """
        tenant = claims.issuer.tenant
        identity = {"tenant_": tenant, "issuer_": claims.issuer_id, "subject_": claims.subject}

        async def find(tx: Transaction) -> Row | None:
            return await tx.one(_FIND, **identity)

        scope = Tenant(tenant)
        row = await self._database.read(find, scope)
        if row is not None and claims.email in {None, row[3]}:
            return Account(tenant, self._proven(claims, row)), row[3]
        return Account(tenant, await self._database.write(lambda tx: self._register(tx, claims), scope)), claims.email

    async def add_user(self, tx: Transaction, account: Account, *, name: str | None, email: str | None) -> None:
        """Add the row of a new account."""
        row = (account.tenant_id, account.account_id, name, email, now_us())
        await tx.execute(
            _ADD_USER, **{f"{c}_": value for c, value in zip((*USER, "mac"), (*row, self.of_user(row)), strict=True)}
        )

    def of_user(self, row: Sequence[Any]) -> bytes:
        """Return the mac of an account's row, given as `USER`."""
        return self._hash(fields("MESH-ROW-V01/users", *row))

    def of_identity(self, row: Sequence[Any]) -> bytes:
        """Return the mac of a login's row, given as `IDENTITY`."""
        return self._hash(fields("MESH-ROW-V01/identities", *row))

    async def _register(self, tx: Transaction, claims: SignedClaims) -> str:
        tenant, now, made = claims.issuer.tenant, now_us(), uuid7()
        identity = {"tenant_": tenant, "issuer_": claims.issuer_id, "subject_": claims.subject}
        await tx.execute(_ADD_TENANT, tenant_=tenant, now_=now)
        mac = self.of_identity((tenant, claims.issuer_id, claims.subject, made, now))
        # Not read first and then added: of two servers that do so at once, one would fail, or both would add.
        if await tx.execute(_ADD, **identity, user_=made, now_=now, mac_=mac):
            await self.add_user(tx, Account(tenant, made), name=None, email=claims.email)
            who = Operator(tenant, made, actor_id=made)
            await self._audit.record(tx, who, "account.created", made, details={"issuer": claims.issuer_id})
            return made
        row = await tx.one(_FIND, **identity)
        if row is None:
            raise RuntimeError("an identity has no account")
        user_id = self._proven(claims, row)
        if claims.email is not None and row[3] != claims.email:
            await self._set_email(tx, Account(tenant, user_id), claims.email)
        return user_id

    async def _set_email(self, tx: Transaction, account: Account, email: str) -> None:
        known = await tx.one(_USER, tenant_=account.tenant_id, user_=account.account_id)
        if known is not None:
            mac = self.of_user((account.tenant_id, account.account_id, known[0], email, known[1]))
            await tx.execute(_SET_EMAIL, tenant_=account.tenant_id, user_=account.account_id, email_=email, mac_=mac)

    def _proven(self, claims: SignedClaims, row: Row) -> str:
        user_id: str = row[0]
        wanted = self.of_identity((claims.issuer.tenant, claims.issuer_id, claims.subject, user_id, row[1]))
        if row[2] is None or not compare_digest(row[2], wanted):
            raise VaultDamaged("The record of a login was changed by another program than this server.")
        return user_id
