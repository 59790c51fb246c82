"""Kill writers and PostgreSQL itself, many times: `./dev bench crash --cycles 1000`.

Prints what was acknowledged, refused and unknown, and stops at the first broken promise.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "server"))

from tests.crash import Story, kill_postgres, kill_writers
from tests.postgres import Cluster


async def run(cycles: int, restarts: int) -> None:
    with tempfile.TemporaryDirectory(prefix="mesh-crash-") as name, Cluster(durable=True) as cluster:
        folder = Path(name)
        here = Story(f"sqlite:///{folder / 'mesh.db'}", folder)
        await tell("SQLite, the writer killed", cycles, kill_writers(here, cycles))
        there = Story(cluster.url(await cluster.create()), folder)
        await tell("PostgreSQL, the writer killed", cycles, kill_writers(there, cycles))
        there = Story(cluster.url(await cluster.create()), folder)
        await tell("PostgreSQL itself killed", restarts, kill_postgres(there, cluster, restarts))


async def tell(what, cycles, doing):
    began = time.monotonic()
    told = await doing
    seconds = time.monotonic() - began
    print(f"{what}, {cycles} times in {seconds:.0f} s: {dict(told)}; nothing lost, nothing twice", flush=True)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--cycles", type=int, default=100)
    arguments.add_argument("--restarts", type=int, help="of PostgreSQL; default a quarter of the cycles")
    chosen = arguments.parse_args()
    asyncio.run(run(chosen.cycles, chosen.restarts or max(1, chosen.cycles // 4)))
