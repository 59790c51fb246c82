"""What commands that look after stored data need of a server: no chat, no sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mesh_server.accounts.service import Accounts
from mesh_server.accounts.verify import check as check_accounts
from mesh_server.app import Services  # noqa: F401 - registers every capability's tables with the metadata
from mesh_server.audit.head import HeadFile
from mesh_server.audit.service import Audit
from mesh_server.audit.verify import ChainCheck, Problem
from mesh_server.billing.verify import BudgetCheck
from mesh_server.db.engine import Database
from mesh_server.errors import StartupError
from mesh_server.proofs.records import Records
from mesh_server.proofs.verify import check as check_records
from mesh_server.settings import Settings
from mesh_server.vault.keyring import Keyring
from mesh_server.vault.trail import head_file, open_audit
from mesh_server.vault.verify import VaultCheck


@dataclass(frozen=True, slots=True)
class Stored:
    """A database with its master key."""

    database: Database
    keyring: Keyring
    head: HeadFile
    audit: Audit
    accounts: Accounts
    usage_kept_us: int | None = None


@asynccontextmanager
async def stored(settings: Settings, keyring: Keyring | None = None) -> AsyncIterator[Stored]:
    """Open what is stored, also where it is older than the newest audit checkpoint.

    Raises:
        StartupError: if the database can't be opened, or the master key is not its own.
    """
    keyring = keyring or Keyring(settings.master)
    await asyncio.to_thread(_must_be_there, settings.database_url)
    database = await Database.open(settings.database_url)
    try:
        await keyring.check(database)
        head = head_file(keyring, *settings.audit_head_files)
        audit = open_audit(database, keyring, head)
        accounts = Accounts(database, keyring.hasher("api-tokens"), audit)
        yield Stored(database, keyring, head, audit, accounts, settings.usage_kept_us)
        await audit.stop()
    finally:
        await database.close()


def _must_be_there(url: str) -> None:
    """Refuse to make a database where somebody wants to look after one."""
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        raise StartupError(f"There is no database at {url.removeprefix('sqlite:///')}.", exit_status=4)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at everything found."""

    rows: int
    events: int
    checkpoints: int
    problems: list[Problem]


async def examine(parts: Stored) -> Verdict:
    """Open every row and check every chain; the server may be running."""
    vault = VaultCheck(parts.database, parts.keyring, parts.accounts)
    await vault.run()
    keyring = parts.keyring
    trail = ChainCheck(parts.database, keyring.hasher("audit-chain"), keyring.hasher("audit-checkpoint"))
    await trail.run()
    await vault.compare(trail.known)
    accounts, of_accounts = await check_accounts(parts.database, parts.accounts.identities)
    records, of_records = await check_records(parts.database, Records(keyring.hasher("proof-records")))
    spent = BudgetCheck(parts.database, parts.usage_kept_us)
    await spent.run()
    problems = [*vault.problems, *of_accounts, *of_records, *spent.problems, *trail.problems]
    known = parts.head.read()
    if known is not None and not known.genuine:
        problems.append(Problem("changed", str(known.path), "Its signature is not this server's."))
    elif known is not None and not await parts.audit.has(known):
        number = known.checkpoint.number
        problems.append(Problem("older", "the database", f"It lacks audit checkpoint {number} of {known.path}."))
    rows = vault.rows + accounts + records + spent.rows
    return Verdict(rows, trail.known.events, trail.known.checkpoints, problems)
