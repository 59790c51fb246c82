"""What isolation and groups cost the vault's writes on PostgreSQL: `./dev bench postgres_writes`.

32 clients store keys through the service, without HTTP; each way in a database of its own, in one run, compared with
the way that the server uses.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "server"))

from tests.crash import ANN, Story
from tests.postgres import Cluster

from mesh_server.db import postgres_writer
from mesh_server.db.engine import Database
from mesh_server.vault.keyring import Keyring
from mesh_server.vault.models import NewValue
from mesh_server.vault.service import Vault

CLIENTS = 32
SECONDS = 3.0
CHOSEN = "repeatable read, groups"
WAYS = {
    CHOSEN: ("REPEATABLE READ", postgres_writer.GROUP_LIMIT),
    "repeatable read, one by one": ("REPEATABLE READ", 1),
    "serializable, groups": ("SERIALIZABLE", postgres_writer.GROUP_LIMIT),
    "serializable, one by one": ("SERIALIZABLE", 1),
}


async def rate(url: str, folder: Path, isolation: str, group_limit: int) -> tuple[float, int]:
    """Return writes a second, and how often a transaction had to run again."""
    postgres_writer.BEGIN_WRITE = f"BEGIN ISOLATION LEVEL {isolation}"
    postgres_writer.GROUP_LIMIT = group_limit
    again = 0
    back_off = postgres_writer._back_off

    async def counted(times: int) -> None:
        nonlocal again
        again += 1
        await back_off(times)

    postgres_writer._back_off = counted
    database = await Database.open(url)
    keyring = Keyring.load(None, folder / "master.key")
    await keyring.check(database)
    vault = Vault(database, keyring)
    until = time.monotonic() + SECONDS
    done = 0

    async def client(number: int) -> None:
        nonlocal done
        turn = 0
        while time.monotonic() < until:
            await vault.put(ANN, f"{number}-{turn % 50}", NewValue(value=b"v" * 48, is_text=True))
            done, turn = done + 1, turn + 1

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    postgres_writer._back_off = back_off
    await database.close()
    return done / SECONDS, again


async def main() -> None:
    with tempfile.TemporaryDirectory() as name, Cluster(durable=True) as cluster:
        folder = Path(name)
        Story("", folder)  # makes the master key
        found = {
            way: await rate(cluster.url(await cluster.create()), folder, *settings) for way, settings in WAYS.items()
        }
    for way, (each, again) in found.items():
        print(f"{way:<28} {each:>7,.0f}/s  {each / found[CHOSEN][0]:.2f} of the chosen way, {again} ran again")


if __name__ == "__main__":
    asyncio.run(main())
