"""Opens every row of the vault and compares it with what the audit trail says.

A row that was changed, copied or moved does not open, or its mac does not fit. A row that is whole but older than it
was, or that is not there any more, does not fit the trail: each change of a key, a token or a grant is an event.
"""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Select, Table, bindparam, select

from mesh_server.accounts.models import Account, api_tokens, users
from mesh_server.accounts.service import SEALED_COLUMNS, Accounts
from mesh_server.audit.chain import WRONG_TYPES
from mesh_server.audit.known import Known
from mesh_server.audit.verify import Problem
from mesh_server.db import scan
from mesh_server.db.engine import Database
from mesh_server.db.schema import Row, Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.errors import VaultDamaged
from mesh_server.vault import crypto, statements
from mesh_server.vault.answers import chat_answer_place
from mesh_server.vault.grants import GRANT
from mesh_server.vault.idempotency import answer_place
from mesh_server.vault.keyring import Keyring, opens_canary
from mesh_server.vault.models import (
    Limits,
    chat_answers,
    grants,
    idempotency,
    keks,
    key_tags,
    key_versions,
    keys,
    tenant_keys,
)
from mesh_server.vault.seals import Seals, check
from mesh_server.vault.store import Store

_STEP = 500
_ONE = select(*statements.KEY, keys.c.mac).where(
    keys.c.tenant_id == bindparam("tenant_"), keys.c.id == bindparam("id_")
)
_REV = select(keys.c.rev).where(keys.c.id == bindparam("id_"))
_TOKEN = select(api_tokens.c.revoked_at).where(api_tokens.c.id == bindparam("id_"))
_GRANT_ID = select(grants.c.id).where(grants.c.id == bindparam("id_"))
_KEY = tuple(column.name for column in statements.KEY)
_VERSION = tuple(column.name for column in statements.VERSION)
_GRANT = tuple(column.name for column in GRANT)
_BAD = (VaultDamaged, *WRONG_TYPES)


class VaultCheck:
    """One run over the vault, the tokens and the grants; the database may be in use.

    Args:
        database: what to look at.
        keyring: checked against it.
        accounts: knows how a token's row is proven.
    """

    def __init__(self, database: Database, keyring: Keyring, accounts: Accounts) -> None:
        self._database = database
        self._keyring = keyring
        self._accounts = accounts
        self._seals = Seals(keyring.hasher("row-macs"))
        self._store = Store(keyring, self._seals, Limits())
        self._keys: dict[tuple[str, str], tuple[str, int, int]] = {}  # (tenant, id) → owner, current version, rev
        self._tokens: dict[str, bool] = {}
        self._grants: set[str] = set()
        self.problems: list[Problem] = []
        self.rows = 0

    async def run(self) -> None:
        """Look at every row, and leave what is wrong in `problems`."""
        await self._master_keys()
        await self._tenant_keys()
        await self._all_keys()
        await self._versions()
        await self._answers()
        await self._all_tokens()
        await self._all_grants()

    async def compare(self, known: Known) -> None:
        """Compare what was found with what the trail knows, which was read afterwards."""
        await self._compare_keys(known)
        await self._compare_tokens(known)
        await self._compare_grants(known)
        present = {(row["tenant_id"], row["id"]) async for row in self._scan(users)}
        for tenant_id, account_id in sorted(known.accounts - present):
            self._say("missing", f"users {tenant_id}/{account_id}", "The account is not there any more.")

    async def _compare_keys(self, known: Known) -> None:
        found = {key_id: rev for (_, key_id), (_, _, rev) in self._keys.items()}
        for key_id, rev in known.revisions.items():
            if key_id in known.purged or found.get(key_id, 0) >= rev:
                continue
            row = await self._one(_REV, key_id)
            now = None if row is None else row[0]
            if now is None:
                self._say("missing", f"keys {key_id}", "The trail knows of the key, and it is not there.")
            elif now < rev:
                self._say("older", f"keys {key_id}", f"It is at revision {now}; the trail has seen {rev}.")
        for key_id, rev in found.items():
            if known.revisions.get(key_id, 0) < rev:
                self._say("changed", f"keys {key_id}", "The trail does not know of its newest revision.")

    async def _compare_tokens(self, known: Known) -> None:
        for token_id, revoked in known.tokens.items():
            if token_id in self._tokens and self._tokens[token_id] >= revoked:
                continue
            now = await self._one(_TOKEN, token_id)
            if now is None:
                self._say("missing", f"api_tokens {token_id}", "The trail knows of the token, and it is not there.")
            elif revoked and now[0] is None:
                self._say("older", f"api_tokens {token_id}", "The token was revoked, and its row does not say so.")

    async def _compare_grants(self, known: Known) -> None:
        for grant_id, taken_back in known.grants.items():
            if taken_back != (grant_id in self._grants):
                continue
            there = await self._one(_GRANT_ID, grant_id) is not None
            if taken_back and there:
                self._say("older", f"grants {grant_id}", "The grant was taken back, and it is there.")
            if not taken_back and not there:
                self._say("missing", f"grants {grant_id}", "The trail knows of the grant, and it is not there.")

    # --- the tables ---

    async def _master_keys(self) -> None:
        masters, seen = self._keyring.masters, set()
        async for row in self._scan(keks):
            seen.add(row["id"])
            master = masters.get(_hex(row["id"]))
            if master is None:
                self._say("changed", f"keks {row['id']}", "No master key of this server has that id.")
            elif not opens_canary(master, row["id"], row["canary"], row["created_at"]):
                self._say("changed", f"keks {row['id']}", "The master key does not open its canary.")
        if masters.current_id.hex() not in seen:
            self._say("missing", f"keks {masters.current_id.hex()}", "The current master key's canary is missing.")

    async def _tenant_keys(self) -> None:
        async for row in self._scan(tenant_keys):
            where = f"tenant_keys {row['tenant_id']}/{row['id']}"
            try:
                self._keyring.unwrap(row["tenant_id"], row["id"], row["wrapped"], row["created_at"], anew=True)
                if crypto.key_id_of(row["wrapped"]).hex() != row["kek_id"]:
                    self._say("changed", where, "It names another master key than it is wrapped under.")
            except _BAD as problem:
                self._say("changed", where, _sentence(problem))

    async def _all_keys(self) -> None:
        tags: dict[tuple[str, str], dict[str, str]] = {}
        async for row in self._scan(key_tags):
            tags.setdefault((row["tenant_id"], row["key_id"]), {})[row["tag"]] = row["value"]
        async for row in self._scan(keys):
            place = (row["tenant_id"], row["id"])
            self._keys[place] = (row["owner_id"], row["current_version"], row["rev"])
            sealed = [row[name] for name in _KEY]
            try:
                check(row["mac"], self._seals.key(row["tenant_id"], sealed, tags.get(place, {})), "key")
            except _BAD as problem:
                if not await self._proven_now(row["tenant_id"], row["id"]):
                    self._say("changed", f"keys {row['tenant_id']}/{row['id']}", _sentence(problem))
        for tenant_id, key_id in tags.keys() - self._keys.keys():
            self._say("changed", f"key_tags {tenant_id}/{key_id}", "There is no key that these tags belong to.")

    async def _versions(self) -> None:
        seen: dict[tuple[str, str], set[int]] = {}
        async for row in self._scan(key_versions):
            place = (row["tenant_id"], row["key_id"])
            where = f"key_versions {row['tenant_id']}/{row['key_id']} version {row['version']}"
            if place not in self._keys:
                if await self._one(_REV, row["key_id"]) is None:
                    self._say("changed", where, "There is no key that this version belongs to.")
                continue
            seen.setdefault(place, set()).add(row["version"])
            try:
                await self._open(row, self._keys[place][0])
            except _BAD as problem:
                self._say("changed", where, _sentence(problem))
        for (tenant_id, key_id), (_, current, _) in self._keys.items():
            there = seen.get((tenant_id, key_id), set())
            gaps = sorted(set(range(1, current + 1)) - there) if current <= 10**6 else [current]
            if gaps:
                where = f"key_versions {tenant_id}/{key_id} version {gaps[0]}"
                self._say("missing", where, f"{len(gaps)} of {current} versions are missing.")

    async def _open(self, row: dict[str, Any], owner: str) -> None:
        described = [row[name] for name in _VERSION]
        check(row["mac"], self._seals.version(row["tenant_id"], row["key_id"], described), "key's version")
        if row["destroyed_at"] is not None:
            if row["wrapped_dek"] is not None or row["blob"] is not None:
                raise VaultDamaged("It was destroyed, and there is a value again.")
            return
        holder = Account(row["tenant_id"], owner)
        place = (row["key_id"], row["version"], row["tenant_key_id"], row["wrapped_dek"], row["blob"])

        async def work(tx: Transaction) -> None:
            await self._store.unseal(tx, holder, *place)

        await self._database.read(work, ServerWork.VERIFY)

    async def _answers(self) -> None:
        for table, place_of in ((idempotency, answer_place), (chat_answers, chat_answer_place)):
            async for row in self._scan(table):
                if row["answer"] is None and table is chat_answers:
                    continue  # its call is under way, or nobody knows what became of it
                where = f"{table.name} {row['tenant_id']}/{row['account_id']}/{row['key_hash']}"
                try:
                    place = place_of(
                        row["tenant_id"], row["account_id"], row["key_hash"], row["fingerprint"], row["created_at"]
                    )
                    crypto.unseal(await self._tenant_key(row), row["answer"], place)
                except (*_BAD, AttributeError) as problem:
                    self._say("changed", where, _sentence(problem))

    async def _tenant_key(self, row: dict[str, Any]) -> bytes:
        async def work(tx: Transaction) -> bytes:
            return await self._keyring.get(tx, row["tenant_id"], row["tenant_key_id"])

        return await self._database.read(work, ServerWork.VERIFY)

    async def _all_tokens(self) -> None:
        async for row in self._scan(api_tokens):
            self._tokens[row["id"]] = row["revoked_at"] is not None
            try:
                genuine = self._accounts.is_genuine([row[name] for name in SEALED_COLUMNS], row["mac"])
            except WRONG_TYPES:
                genuine = False
            if not genuine:
                where = f"api_tokens {row['tenant_id']}/{row['id']}"
                self._say("changed", where, "The record of the token was changed.")

    async def _all_grants(self) -> None:
        async for row in self._scan(grants):
            self._grants.add(row["id"])
            try:
                check(row["mac"], self._seals.grant(row["tenant_id"], [row[name] for name in _GRANT]), "grant")
            except _BAD as problem:
                self._say("changed", f"grants {row['tenant_id']}/{row['id']}", _sentence(problem))

    # --- pieces ---

    async def _scan(self, table: Table) -> AsyncIterator[dict[str, Any]]:
        names = [column.name for column in table.columns]
        after: tuple[Any, ...] | None = None

        async def work(tx: Transaction) -> list[Row]:
            return await scan.page(tx, table, after, _STEP)

        while rows := await self._database.read(work, ServerWork.VERIFY):
            for row in rows:
                self.rows += 1
                yield dict(zip(names, row, strict=True))
            after = scan.key_of(table, rows[-1])

    async def _one(self, statement: Select[Any], id_: str) -> Row | None:
        """Return a row as it is now: it may have changed since the first look."""

        async def work(tx: Transaction) -> Row | None:
            return await tx.one(statement, id_=id_)

        return await self._database.read(work, ServerWork.VERIFY)

    async def _proven_now(self, tenant_id: str, key_id: str) -> bool:
        """Return whether a key and its tags, read at one moment, are as the server wrote them."""

        async def work(tx: Transaction) -> bool:
            row = await tx.one(_ONE, tenant_=tenant_id, id_=key_id)
            if row is None:
                return False
            tags = {tag: value for tag, value in await tx.all(statements.TAGS, tenant_=tenant_id, id_=key_id)}  # noqa: C416 - rows are sequences
            return crypto.equal(row[-1] or b"", self._seals.key(tenant_id, row[:-1], tags))

        try:
            return await self._database.read(work, ServerWork.VERIFY)
        except _BAD:
            return False

    def _say(self, kind: str, where: str, what: str) -> None:
        self.problems.append(Problem(kind, where, what))


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _sentence(problem: Exception) -> str:
    if isinstance(problem, VaultDamaged):
        return problem.message
    return "It holds something that the server never writes."
