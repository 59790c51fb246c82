"""Who is calling: verifies API tokens, makes and revokes them, and knows the accounts they belong to."""

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b
from secrets import compare_digest
from typing import Any

from sqlalchemy import bindparam, insert, or_, select, update

from mesh_protocol.wire import API_TOKEN_PREFIX
from mesh_server.accounts import tokens
from mesh_server.accounts.credentials import credential, shape_problem
from mesh_server.accounts.identities import Identities
from mesh_server.accounts.models import (
    EVERYDAY_SCOPES,
    SCOPES,
    Account,
    Principal,
    TokenRecord,
    api_tokens,
    tenants,
    users,
)
from mesh_server.accounts.oidc.issuers import Issuers
from mesh_server.audit.chain import fields
from mesh_server.audit.models import Actor, Operator
from mesh_server.audit.service import Audit
from mesh_server.db.changes import bump
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import ServerWork, Tenant
from mesh_server.errors import (
    InvalidRequest,
    ScopeMissing,
    TokenExpired,
    TokenInvalid,
    TokenNotFound,
    TokenRevoked,
    VaultDamaged,
)
from mesh_server.ids import microseconds, now_us, uuid7

#: The tenant of accounts that no issuer's configuration puts elsewhere.
DEFAULT_TENANT = "default"
#: The account of `mesh-server dev`.
LOCAL_USER = "local"
#: Live API tokens that one account may have.
MOST_TOKENS = 200
#: How long a token lives that a login makes without saying how long, in microseconds.
_LOGINS_TOKEN_US = 90 * 86_400 * 1_000_000
#: Verified tokens that are kept in memory.
_MOST_WARM = 10_000

_COLUMNS = ("tenant_id", "id", "user_id", "hash", "name", "hint", "scopes", "created_at", "expires_at")
#: What the row's `mac` covers.
SEALED_COLUMNS = (*_COLUMNS, "revoked_at")
_SEALED = tuple(api_tokens.c[name] for name in SEALED_COLUMNS)
_BY_HASH = (
    select(*_SEALED, api_tokens.c.mac, users.c.email)
    .join(users, (users.c.tenant_id == api_tokens.c.tenant_id) & (users.c.id == api_tokens.c.user_id))
    .where(api_tokens.c.hash == bindparam("hash_"))
)
_OWN = (api_tokens.c.tenant_id == bindparam("tenant_")) & (api_tokens.c.user_id == bindparam("user_"))
_LIVE = api_tokens.c.revoked_at.is_(None) & or_(
    api_tokens.c.expires_at.is_(None), api_tokens.c.expires_at > bindparam("now_")
)
_LIST = (
    select(
        api_tokens.c.id,
        api_tokens.c.name,
        api_tokens.c.hint,
        api_tokens.c.scopes,
        api_tokens.c.created_at,
        api_tokens.c.expires_at,
        api_tokens.c.revoked_at,
    )
    .where(_OWN, _LIVE)
    .order_by(api_tokens.c.id)
)
_ADD = insert(api_tokens).values({name: bindparam(f"{name}_") for name in (*_COLUMNS, "mac")})
_ONE = select(*_SEALED, api_tokens.c.mac).where(_OWN, api_tokens.c.id == bindparam("id_"))
_REVOKE = (
    update(api_tokens)
    .where(_OWN, api_tokens.c.id == bindparam("id_"), api_tokens.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("now_"), mac=bindparam("mac_"))
)
_ANY_LIVE = select(api_tokens.c.id).where(_LIVE).limit(1)
_TENANT = select(tenants.c.tenant_id).where(tenants.c.tenant_id == bindparam("tenant_"))
_ADD_TENANT = insert(tenants).values(tenant_id=bindparam("tenant_"), created_at=bindparam("now_"))
_USER = select(users.c.id).where(users.c.tenant_id == bindparam("tenant_"), users.c.name == bindparam("name_"))


class Accounts:
    """Accounts and their credentials.

    Args:
        database: where they are.
        hash_token: a keyed hash of 32 bytes. Keyed, so that someone who can write to the database but lacks the
            master key can't put a token of his own there, nor widen the scopes of one.
        audit: the trail that changes of accounts and tokens are written to.
        issuers: whose logins are accepted; none by default.
    """

    def __init__(
        self,
        database: Database,
        hash_token: Callable[[bytes], bytes],
        audit: Audit,
        issuers: Issuers | None = None,
    ) -> None:
        self._database = database
        self._audit = audit
        self._hash = hash_token
        self.identities = Identities(database, audit, hash_token)
        self.issuers = issuers or Issuers()
        self._warm: dict[bytes, Principal] = {}
        self._warm_key = os.urandom(32)
        self._forgotten = 0

    # --- verifying ---

    async def authenticate(self, authorization: bytes | None, x_api_key: bytes | None) -> Principal:
        """Return who presents this credential.

        Args:
            authorization: the header `Authorization`: `Bearer …` or `ApiKey …`.
            x_api_key: the header `x-api-key`, used where there is no other.

        Raises:
            TokenInvalid: the class of it that says why, and nothing of what was presented.
            IssuerUnavailable: if the issuer of a login can't be reached and its keys are not known.
        """
        token = credential(authorization, x_api_key)
        # The lookup is by a keyed hash: how long it takes tells nothing about a token that would have matched. The key
        # is this process's own, so that the hash may be the quickest there is (RFC 7693); the stored one is another.
        place = blake2b(token.encode(), key=self._warm_key, digest_size=32).digest()
        principal = self._warm.get(place)
        if principal is None:
            if token.startswith(API_TOKEN_PREFIX) or self.issuers.first is None:
                principal = await self._look_up(token, place)
            else:
                principal = await self._log_in(token, place)
        if principal.expires_at is not None and principal.expires_at <= now_us():
            raise TokenExpired("This token has expired.")
        return principal

    def forget(self) -> None:
        """Drop what is kept warm; called when any process took a token away."""
        self._forgotten += 1
        self._warm.clear()

    async def _log_in(self, token: str, place: bytes) -> Principal:
        asked = self._forgotten
        claims = await self.issuers.verify(token)
        account, email = await self.identities.account_of(claims)
        scopes = EVERYDAY_SCOPES | {"admin"} if claims.subject in claims.issuer.admins else EVERYDAY_SCOPES
        principal = Principal(account.tenant_id, account.account_id, None, scopes, email, claims.expires_at)
        self._keep(asked, place, principal)
        return principal

    async def _look_up(self, token: str, place: bytes) -> Principal:
        if not tokens.is_well_formed(token):
            raise TokenInvalid(shape_problem(token))
        asked, digest = self._forgotten, self._hash(token.encode())

        async def work(tx: Transaction) -> Row | None:
            return await tx.one(_BY_HASH, hash_=digest)

        row = await self._database.read(work, ServerWork.TOKEN_LOOKUP)
        if row is None:
            raise TokenInvalid("This server did not issue this token, or issued it for another data folder.")
        *sealed, mac, email = row
        if not self.is_genuine(sealed, mac):
            raise VaultDamaged("The record of a token was changed by another program than this server.")
        tenant_id, name, user_id, _, _, _, scopes, _, expires_at, revoked_at = sealed
        if revoked_at is not None:
            raise TokenRevoked("This token was revoked.")
        principal = Principal(tenant_id, user_id, name, frozenset(scopes.split()), email, expires_at)
        self._keep(asked, place, principal)
        return principal

    def _keep(self, asked: int, place: bytes, principal: Principal) -> None:
        if asked != self._forgotten:
            return  # it was revoked, perhaps, between the read and now
        if len(self._warm) >= _MOST_WARM:
            self._warm.clear()
        self._warm[place] = principal

    def is_genuine(self, sealed: Sequence[Any], mac: bytes | None) -> bool:
        """Return whether this server wrote a token's row: its scopes, its owner, its expiry."""
        return mac is not None and compare_digest(mac, self._seal(sealed))

    def _seal(self, sealed: Sequence[Any]) -> bytes:
        # No token begins as these fields do, so one key serves both hashes.
        return self._hash(fields("MESH-ROW-V01/api_tokens", *sealed))

    # --- tokens ---

    async def issue_token(
        self, principal: Principal, *, name: str, scopes: frozenset[str] | None, expires_at: int | None
    ) -> tuple[str, TokenRecord]:
        """Make a token for the caller's own account, from what the caller is allowed.

        A token that may issue others must say so by the scope `admin`, so that whoever finds a lesser one can't
        outlive its revocation. A login issues tokens that outlive it: it lives for an hour, and what it leaves behind
        is listed, and revoked, one by one (docs/adr/0010).

        Args:
            principal: who is calling.
            name: what it is for.
            scopes: a subset of the caller's; None for the everyday ones among them.
            expires_at: microseconds since 1970, not after the caller's own API token; None for as long as that, or
                from a login for 90 days.

        Returns:
            The token's text, which can't be had again, and its record.

        Raises:
            ScopeMissing: if the caller lacks a scope, or may issue none at all.
            InvalidRequest: if a scope is unknown or the moment is in the past or too late.
        """
        principal.require_management()
        scopes = principal.scopes & EVERYDAY_SCOPES if scopes is None else scopes
        beyond = sorted(scopes - principal.scopes)
        if beyond:
            raise ScopeMissing(f"This token lacks the scope `{beyond[0]}` and can't hand it on.")
        limit = principal.expires_at if principal.token_id is not None else None
        if expires_at is None:
            expires_at = limit if principal.token_id is not None else now_us() + _LOGINS_TOKEN_US
        elif limit is not None and expires_at > limit:
            raise InvalidRequest("`expires_at` is after the expiry of the credential that asks.")
        return await self._insert(principal, name=name, scopes=scopes, expires_at=expires_at)

    async def create_token(
        self, account: Account, *, name: str, scopes: frozenset[str] = SCOPES, expires_at: datetime | None = None
    ) -> str:
        """Make a token by the operator's hand and return its text, which can't be had again.

        Raises:
            InvalidRequest: if a scope is unknown or the moment is in the past.
        """
        moment = None if expires_at is None else microseconds(expires_at)
        operator = Operator(account.tenant_id, account.account_id)
        token, _ = await self._insert(operator, name=name, scopes=scopes, expires_at=moment)
        return token

    async def list_tokens(self, principal: Principal) -> list[TokenRecord]:
        """Return the caller's own tokens that are neither revoked nor expired, oldest first."""

        async def work(tx: Transaction) -> list[Row]:
            return await tx.all(_LIST, tenant_=principal.tenant_id, user_=principal.account_id, now_=now_us())

        return [
            TokenRecord(
                id=row[0],
                name=row[1],
                hint=row[2],
                scopes=frozenset(row[3].split()),
                created_at=row[4],
                expires_at=row[5],
                revoked_at=row[6],
            )
            for row in await self._database.read(work, principal)
        ]

    async def revoke_token(self, principal: Principal, token_id: str) -> None:
        """Revoke one of the caller's own tokens; every process refuses it within two seconds.

        Revoking it once more does nothing.

        Raises:
            TokenNotFound: if the caller never had such a token.
            ScopeMissing: if it is another than the one that asks and that one may not manage tokens.
        """
        if token_id != principal.token_id:
            principal.require_management()
        if not token_id.isprintable():  # PostgreSQL refuses U+0000 where SQLite finds nothing
            raise TokenNotFound("You have no such token.")

        own = {"tenant_": principal.tenant_id, "user_": principal.account_id, "id_": token_id}

        async def work(tx: Transaction) -> None:
            row = await tx.one(_ONE, **own)
            if row is None:
                raise TokenNotFound("You have no such token.")
            now = now_us()
            if await tx.execute(_REVOKE, **own, now_=now, mac_=self._seal([*row[: len(_COLUMNS)], now])):
                await bump(tx)
                await self._audit.record(tx, principal, "token.revoked", token_id)

        await self._database.write(work, principal)
        self.forget()

    async def has_any_token(self) -> bool:
        """Return whether anybody could call this server."""

        async def work(tx: Transaction) -> bool:
            return await tx.one(_ANY_LIVE, now_=now_us()) is not None

        return await self._database.read(work, ServerWork.ANY_TOKEN)

    async def _insert(
        self, who: Actor, *, name: str, scopes: frozenset[str], expires_at: int | None
    ) -> tuple[str, TokenRecord]:
        _check_new(name, scopes, expires_at)
        token = tokens.make()
        made = TokenRecord(
            id=uuid7(),
            name=name,
            hint=tokens.hint(token),
            scopes=scopes,
            created_at=now_us(),
            expires_at=expires_at,
            revoked_at=None,
        )

        row = (
            *(who.tenant_id, made.id, who.account_id, self._hash(token.encode()), name, made.hint),
            *(" ".join(sorted(scopes)), made.created_at, expires_at),
        )
        columns = {f"{column}_": value for column, value in zip(_COLUMNS, row, strict=True)}

        async def work(tx: Transaction) -> None:
            live = await tx.all(_LIST, tenant_=who.tenant_id, user_=who.account_id, now_=made.created_at)
            if len(live) >= MOST_TOKENS:
                raise InvalidRequest(f"This account has {MOST_TOKENS} tokens already; revoke one first.")
            await tx.execute(_ADD, **columns, mac_=self._seal([*row, None]))
            details = {"scopes": sorted(scopes), "expires_at": expires_at}
            await self._audit.record(tx, who, "token.created", made.id, details=details)

        await self._database.write(work, who)
        return token, made

    # --- accounts ---

    async def ensure_local_account(self) -> Account:
        """Return the account of the person whose machine this is, made on the first start."""
        return await self.ensure_user(DEFAULT_TENANT, LOCAL_USER)

    async def ensure_user(self, tenant_id: str, name: str) -> Account:
        """Return the account that the operator knows by this name, made on first use.

        Raises:
            InvalidRequest: if the name is empty, too long or not printable.
        """
        if not name.strip() or len(name) > 256 or not name.isprintable():
            raise InvalidRequest("A user's name has 1 to 256 printable characters.")

        async def work(tx: Transaction) -> Account:
            row = await tx.one(_USER, tenant_=tenant_id, name_=name)
            if row is not None:
                return Account(tenant_id, row[0])
            now = now_us()
            if await tx.one(_TENANT, tenant_=tenant_id) is None:
                await tx.execute(_ADD_TENANT, tenant_=tenant_id, now_=now)
            made = Account(tenant_id, uuid7())
            await self.identities.add_user(tx, made, name=name, email=None)
            await self._audit.record(tx, Operator(tenant_id, made.account_id), "account.created", made.account_id)
            return made

        return await self._database.write(work, Tenant(tenant_id))


def _check_new(name: str, scopes: frozenset[str], expires_at: int | None) -> None:
    unknown = sorted(scopes - SCOPES)
    if unknown:
        raise InvalidRequest(f"There is no scope {unknown[0]!r}; there are {', '.join(sorted(SCOPES))}.")
    if not scopes:
        raise InvalidRequest("A token without any scope could do nothing; name at least one.")
    if len(name) > 256 or not (name.isprintable()):
        raise InvalidRequest("`name` has at most 256 printable characters.")
    if expires_at is not None and expires_at <= now_us():
        raise InvalidRequest("`expires_at` is in the past.")
