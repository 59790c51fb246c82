"""What the audit trail costs: keys read with and without their event, and stored, at 1 and 32 clients.

The limit beside it is the same read without an audit row, which commits nothing. In the process, without HTTP.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from mesh_server.accounts.models import Principal
from mesh_server.accounts.service import Accounts
from mesh_server.db.engine import Database
from mesh_server.vault.crypto import create_master_key
from mesh_server.vault.keyring import Keyring
from mesh_server.vault.models import NewValue
from mesh_server.vault.service import Vault
from mesh_server.vault.trail import open_audit

SECONDS = 3.0


async def rate(work: Callable[[int], Awaitable[object]], clients: int) -> tuple[float, float, float]:
    """Return calls per second, and the median and the 99th percentile of one, in milliseconds."""
    ends, took = time.perf_counter() + SECONDS, []

    async def client(number: int) -> None:
        while (began := time.perf_counter()) < ends:
            await work(number)
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(client(number) for number in range(clients)))
    took.sort()
    return len(took) / SECONDS, took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3


async def measure(folder: Path) -> None:
    create_master_key(folder / "master.key")
    keyring = Keyring.load(None, folder / "master.key")
    database = await Database.open(f"sqlite:///{folder / 'mesh.db'}")
    await keyring.check(database)
    audit = open_audit(database, keyring, None)
    accounts, vault = Accounts(database, keyring.hasher("api-tokens"), audit), Vault(database, keyring, audit)
    account = await accounts.ensure_user("default", "ann")
    token = await accounts.create_token(account, name="bench")
    ann: Principal = await accounts.authenticate(f"Bearer {token}".encode(), None)
    for number in range(32):
        await vault.put(ann, f"k{number}", NewValue(value=b"x" * 64, is_text=True))
    store = vault._store

    async def without(number: int) -> None:
        await database.read(lambda tx: store.open(tx, account, "", f"k{number}"), ann)

    async def audited(number: int) -> None:
        await vault.get(ann, f"k{number}")

    async def stored(number: int) -> None:
        await vault.put(ann, f"k{number}", NewValue(value=b"y" * 64, is_text=True))

    print(f"{'':<34}{'calls/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'to without':>11}")
    for clients in (1, 32):
        limit = 0.0
        for name, work in (("read without audit", without), ("read, audited", audited), ("stored, audited", stored)):
            calls, median, tail = await rate(work, clients)
            limit = limit or calls
            print(f"{name + f', {clients} clients':<34}{calls:>10,.0f}{median:>9.2f}{tail:>9.2f}{calls / limit:>11.2f}")
    await database.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(measure(Path(place)))
