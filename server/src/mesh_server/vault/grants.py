"""Sharing: what one account lets another account, or one token, do with some of its keys.

A grant is looked at in the transaction that uses it, so one that was revoked or has expired is refused at once; where
a key is used for chat, within two seconds.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import bindparam, insert, or_, select
from sqlalchemy.sql.expression import delete

from mesh_server.accounts.models import Account, Principal, api_tokens, users
from mesh_server.audit.service import Audit
from mesh_server.db.changes import bump
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.errors import GranteeNotFound, GrantInsufficient, GrantNotFound, InvalidRequest, KeyNotFound
from mesh_server.ids import now_us, uuid7
from mesh_server.vault.checks import check_pattern
from mesh_server.vault.models import ACTIONS, GrantRecord, grants
from mesh_server.vault.seals import Seals, check
from mesh_server.vault.warm import Warm

#: Live grants that one account may have given.
MOST_GRANTS = 1_000

GRANT = (
    grants.c.id,
    grants.c.owner_id,
    grants.c.namespace,
    grants.c.pattern,
    grants.c.grantee_id,
    grants.c.grantee_kind,
    grants.c.actions,
    grants.c.created_at,
    grants.c.expires_at,
)
_IN_TENANT = grants.c.tenant_id == bindparam("tenant_")
_GIVEN = _IN_TENANT & (grants.c.owner_id == bindparam("owner_"))
_RECEIVED = _IN_TENANT & or_(grants.c.grantee_id == bindparam("account_"), grants.c.grantee_id == bindparam("token_"))
_LIST_GIVEN = select(*GRANT, grants.c.mac).where(_GIVEN).order_by(grants.c.id)
_LIST_RECEIVED = select(*GRANT, grants.c.mac).where(_RECEIVED).order_by(grants.c.id)
_APPLYING = select(*GRANT, grants.c.mac).where(
    _RECEIVED, grants.c.owner_id == bindparam("owner_"), grants.c.namespace == bindparam("namespace_")
)
_ADD = insert(grants).values({column.name: bindparam(f"{column.name}_") for column in grants.c})
_DROP = delete(grants).where(_GIVEN, grants.c.id == bindparam("id_"))
_ACCOUNT = (
    select(users.c.id)
    .where(users.c.tenant_id == bindparam("tenant_"), users.c.id == bindparam("id_"))
    .with_for_update()
)
_TOKEN = select(api_tokens.c.user_id, api_tokens.c.revoked_at).where(
    api_tokens.c.tenant_id == bindparam("tenant_"), api_tokens.c.id == bindparam("id_")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGrant:
    """A grant to give.

    Attributes:
        pattern: a key's name, or the beginning of names and `*`.
        namespace: of the giver's keys.
        grantee: the id of an account or of a token, in the same tenant.
        actions: of `read`, `write`, `verify`, `chat`.
        expires_at: microseconds since 1970, None for until it is revoked.
    """

    pattern: str
    grantee: str
    actions: frozenset[str]
    namespace: str = ""
    expires_at: int | None = None


class Grants:
    """Gives, lists and revokes grants, and decides by them."""

    def __init__(self, database: Database, seals: Seals, audit: Audit, warm: Warm) -> None:
        self._database = database
        self._seals = seals
        self._audit = audit
        self._warm = warm

    # --- deciding ---

    async def holder(
        self, tx: Transaction, principal: Principal, owner: str | None, namespace: str, name: str, action: str
    ) -> Account:
        """Return the account whose key is meant, where the caller may do this with it.

        Args:
            tx: the transaction that goes on to do it.
            principal: who is calling; the scope was asked for before.
            owner: the account that the request names; None for the caller's own.
            namespace: within that account.
            name: of the key.
            action: `read`, `write`, `verify` or `chat`.

        Raises:
            KeyNotFound: if nothing of the kind is shared with the caller; the same as for a key that is not there.
            GrantInsufficient: if it is shared, but not for this.
        """
        if owner is None or owner == principal.account_id:
            return principal.account
        applying = [
            grant for grant in await self.applying(tx, principal, owner, namespace) if matches(grant.pattern, name)
        ]
        if not applying:
            raise not_found(name, owner)
        if not any(action in grant.actions for grant in applying):
            raise GrantInsufficient(f"The key {name!r} is shared with you, but not to {action} it.")
        return Account(principal.tenant_id, applying[0].owner_id)

    async def applying(self, tx: Transaction, principal: Principal, owner: str, namespace: str) -> list[GrantRecord]:
        """Return the live grants that an account gave the caller, or the caller's token, on a namespace."""
        rows = await tx.all(_APPLYING, **_receiver(principal), owner_=owner, namespace_=namespace)
        return self._live(principal.tenant_id, rows)

    # --- managing ---

    async def give(self, principal: Principal, new: NewGrant) -> GrantRecord:
        """Give a grant; one on the same pattern to the same grantee is replaced, so that a retry gives no second one.

        Raises:
            ScopeMissing: if this token may not hand on what its account has.
            InvalidRequest: if a part of it makes no sense.
            GranteeNotFound: if the tenant has no such account or token.
        """
        principal.require_management()
        _check(new)

        async def work(tx: Transaction) -> GrantRecord:
            await tx.one(_ACCOUNT, tenant_=principal.tenant_id, id_=principal.account_id)  # one giver at a time
            kind = await _kind(tx, principal, new.grantee)
            owned = {"tenant_": principal.tenant_id, "owner_": principal.account_id}
            given = self._live(principal.tenant_id, await tx.all(_LIST_GIVEN, **owned))
            for old in given:
                if (old.pattern, old.namespace, old.grantee_id) == (new.pattern, new.namespace, new.grantee):
                    await tx.execute(_DROP, **owned, id_=old.id)
                    await bump(tx)
                    await self._audit.record(tx, principal, "grant.replaced", old.pattern, details=_told(old))
            if len(given) >= MOST_GRANTS:
                raise InvalidRequest(f"This account has given {MOST_GRANTS} grants already; revoke one first.")
            row = (
                *(uuid7(), principal.account_id, new.namespace, new.pattern, new.grantee, kind),
                *(" ".join(sorted(new.actions)), now_us(), new.expires_at),
            )
            columns = {f"{column.name}_": value for column, value in zip(GRANT, row, strict=True)}
            mac = self._seals.grant(principal.tenant_id, row)
            await tx.execute(_ADD, tenant_id_=principal.tenant_id, **columns, mac_=mac)
            made = _record(row)
            await self._audit.record(tx, principal, "grant.given", new.pattern, details=_told(made))
            return made

        with self._warm.changing:
            return await self._database.write(work, principal)

    async def given(self, principal: Principal) -> list[GrantRecord]:
        """Return the caller's own live grants, oldest first."""

        async def work(tx: Transaction) -> list[GrantRecord]:
            rows = await tx.all(_LIST_GIVEN, tenant_=principal.tenant_id, owner_=principal.account_id)
            return self._live(principal.tenant_id, rows)

        return await self._database.read(work, principal)

    async def received(self, principal: Principal) -> list[GrantRecord]:
        """Return what others share with the caller, oldest first."""

        async def work(tx: Transaction) -> list[GrantRecord]:
            return self._live(principal.tenant_id, await tx.all(_LIST_RECEIVED, **_receiver(principal)))

        return await self._database.read(work, principal)

    async def revoke(self, principal: Principal, grant_id: str) -> None:
        """Take one of the caller's own grants back.

        Raises:
            ScopeMissing: if this token may not manage grants.
            GrantNotFound: if the caller gave none of that id.
        """
        principal.require_management()
        owned = {"tenant_": principal.tenant_id, "owner_": principal.account_id}

        async def work(tx: Transaction) -> None:
            found = [row for row in await tx.all(_LIST_GIVEN, **owned) if row[0] == grant_id]
            if not found:
                raise GrantNotFound("You gave no grant of that id.")
            await tx.execute(_DROP, **owned, id_=grant_id)
            await bump(tx)
            told = _told(_record(found[0][:-1]))
            await self._audit.record(tx, principal, "grant.revoked", found[0][3], details=told)

        with self._warm.changing:
            await self._database.write(work, principal)

    def _live(self, tenant_id: str, rows: Iterable[Row]) -> list[GrantRecord]:
        now, live = now_us(), []
        for *row, mac in rows:
            check(mac, self._seals.grant(tenant_id, row), "grant")
            record = _record(row)
            if record.expires_at is None or record.expires_at > now:
                live.append(record)
        return live


def matches(pattern: str, name: str) -> bool:
    """Return whether a grant's pattern covers a key's name."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def not_found(name: str, owner: str | None = None) -> KeyNotFound:
    """Return the error for a key that is not there, or not for the caller: nobody can tell which."""
    if owner is None:
        return KeyNotFound(f"You have no key {name!r}.")
    return KeyNotFound(f"That account shares no key {name!r} with you.")


def _receiver(principal: Principal) -> dict[str, str | None]:
    # A service that acts for a person has what that person was given, not what its token was.
    token = None if principal.acting else principal.token_id
    return {"tenant_": principal.tenant_id, "account_": principal.account_id, "token_": token}


def _record(row: Row) -> GrantRecord:
    id_, owner_id, namespace, pattern, grantee_id, kind, actions, created_at, expires_at = row
    return GrantRecord(
        id=id_,
        owner_id=owner_id,
        namespace=namespace,
        pattern=pattern,
        grantee_id=grantee_id,
        grantee_kind=kind,
        actions=frozenset(actions.split()),
        created_at=created_at,
        expires_at=expires_at,
    )


def _told(grant: GrantRecord) -> dict[str, object]:
    return {
        "id": grant.id,
        "namespace": grant.namespace,
        "grantee": grant.grantee_id,
        "actions": sorted(grant.actions),
        "expires_at": grant.expires_at,
    }


def _check(new: NewGrant) -> None:
    check_pattern(new.pattern, new.namespace)
    if not new.actions:
        raise InvalidRequest("`actions` is empty; name at least one.")
    unknown = sorted(new.actions - ACTIONS.keys())
    if unknown:
        raise InvalidRequest(f"There is no action {unknown[0]!r}; there are {', '.join(ACTIONS)}.")
    if "@" in new.grantee:
        # Whoever can make an issuer write an address into a token would be given the keys.
        raise InvalidRequest(
            "`grantee` is the id of an account or a token: an e-mail address proves nobody's identity."
        )
    if new.expires_at is not None and new.expires_at <= now_us():
        raise InvalidRequest("`expires_at` is in the past.")


async def _kind(tx: Transaction, principal: Principal, grantee: str) -> str:
    if grantee == principal.account_id:
        raise InvalidRequest("`grantee` is your own account: it has all of this already.")
    if len(grantee) <= 36 and "\0" not in grantee:
        if await tx.one(_ACCOUNT, tenant_=principal.tenant_id, id_=grantee) is not None:
            return "account"
        token = await tx.one(_TOKEN, tenant_=principal.tenant_id, id_=grantee)
        if token is not None and token[0] == principal.account_id:
            raise InvalidRequest("`grantee` is a token of your own account: its scopes say what it may do.")
        if token is not None and token[1] is None:
            return "token"
    raise GranteeNotFound("There is no account and no token of that id here.")
