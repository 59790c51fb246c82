"""Clients spend against a limit while servers are killed: `./dev bench spend --cycles 100`.

Prints what a provider billed, what the limit counted and what clients were told, and stops at the first difference.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "server"))

from tests.postgres import Cluster
from tests.spend import race

from mesh_server.billing.models import DOLLAR


async def run(cycles: int) -> None:
    with tempfile.TemporaryDirectory(prefix="mesh-spend-") as name, Cluster(durable=True) as cluster:

        async def one(title: str, processes: int, kills: int, limit: int) -> None:
            folder = Path(name) / title.replace(" ", "-")
            folder.mkdir()
            url = f"sqlite:///{folder / 'mesh.db'}" if processes == 1 else cluster.url(await cluster.create())
            told = await race(url, folder, processes=processes, clients=32, kills=kills, limit=limit)
            print(f"{title}: {told}", flush=True)

        await one("PostgreSQL, 4 servers, one dollar", 4, min(cycles, 10), DOLLAR)
        await one("SQLite, 1 server, one dollar", 1, min(cycles, 10), DOLLAR)
        await one("PostgreSQL, 4 servers, killed on and on", 4, cycles, 1000 * DOLLAR)
        await one("SQLite, 1 server, killed on and on", 1, cycles, 1000 * DOLLAR)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--cycles", type=int, default=100)
    asyncio.run(run(arguments.parse_args().cycles))
