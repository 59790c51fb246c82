"""What groups, steps, writers and isolation are worth on PostgreSQL: `./dev bench postgres_writes`.

32 clients store keys through the service, without HTTP; each way in a database of its own, in one run, compared with
the way that the server uses.
"""

import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "server"))

from tests.crash import ANN, Story
from tests.postgres import OWNER, ROLE, Cluster

from mesh_server.db import postgres, postgres_writer
from mesh_server.db.engine import Database
from mesh_server.vault.keyring import Keyring
from mesh_server.vault.models import NewValue
from mesh_server.vault.service import Vault
from mesh_server.vault.trail import open_audit

CLIENTS = 32
SECONDS = 3.0


@dataclass(frozen=True)
class Way:
    """How transactions are made."""

    writers: int = postgres.WRITERS
    group: int = postgres_writer.GROUP_LIMIT
    in_step: bool = True
    isolation: str = "REPEATABLE READ"


CHOSEN = "as the server does"
WAYS = {
    CHOSEN: Way(),
    "one writer": Way(writers=1),
    "four writers": Way(writers=4),
    "one writer, groups, not in step": Way(writers=1, in_step=False),
    "one writer, one by one": Way(writers=1, group=1),
    "serializable": Way(isolation="SERIALIZABLE"),
}


async def rate(url: str, folder: Path, way: Way) -> tuple[float, int]:
    """Return writes a second, and how often a transaction had to run again."""
    again = 0
    back_off = postgres_writer._back_off

    async def counted(times: int) -> None:
        nonlocal again
        again += 1
        await back_off(times)

    with ExitStack() as changed:
        changed.enter_context(patch.object(postgres_writer, "_back_off", counted))
        changed.enter_context(patch.object(postgres_writer, "BEGIN_WRITE", f"BEGIN ISOLATION LEVEL {way.isolation}"))
        changed.enter_context(patch.object(postgres_writer, "GROUP_LIMIT", way.group))
        changed.enter_context(patch.object(postgres, "WRITERS", way.writers))
        database = await Database.open(url)
        if not way.in_step:
            write = database.write
            changed.enter_context(
                patch.object(database, "write", lambda work, scope, _touched=None: write(work, scope))
            )
        keyring = Keyring.load(None, folder / "master.key")
        await keyring.check(database)
        audit = open_audit(database, keyring, None)
        await audit.open()
        vault = Vault(database, keyring, audit)
        await load(vault, 1.0)  # now there are keys, and PostgreSQL knows how many
        await analyze(url)
        done = await load(vault, SECONDS)
        await database.close()
    return done / SECONDS, again


async def load(vault: Vault, seconds: float) -> int:
    """Store keys from all clients; return how many were stored."""
    until = time.monotonic() + seconds
    done = 0

    async def client(number: int) -> None:
        nonlocal done
        turn = 0
        while time.monotonic() < until:
            await vault.put(ANN, f"{number}-{turn % 50}", NewValue(value=b"v" * 48, is_text=True))
            done, turn = done + 1, turn + 1

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return done


async def analyze(url: str) -> None:
    """Let PostgreSQL look at its tables, as autovacuum does within a minute."""
    import asyncpg

    owner = await asyncpg.connect(url.replace(f"//{ROLE}:", f"//{OWNER}:"))
    await owner.execute("ANALYZE")
    await owner.close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as name, Cluster(durable=True) as cluster:
        folder = Path(name)
        Story("", folder)  # makes the master key
        found = {way: await rate(cluster.url(await cluster.create()), folder, how) for way, how in WAYS.items()}
    for way, (each, again) in found.items():
        print(f"{way:<34} {each:>7,.0f}/s  {each / found[CHOSEN][0]:.2f} of the chosen way, {again} ran again")


if __name__ == "__main__":
    asyncio.run(main())
