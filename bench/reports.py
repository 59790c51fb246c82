"""What reports of usage cost, and whoever looks something up meanwhile: on SQLite, in the process, without HTTP.

Run by `./dev bench reports [--calls 500000]`. The limit beside it is the same look-ups while nobody asks for a report.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from operator import attrgetter
from pathlib import Path

from sqlalchemy import select

from mesh_server.billing.models import UsageEvent, usage_events
from mesh_server.billing.statements import ADD_EVENT
from mesh_server.billing.usage import Question, Usage
from mesh_server.db.engine import Database
from mesh_server.db.scope import ServerWork, Tenant
from mesh_server.ids import now_us, uuid7

DAYS, STEP, LOOK_UPS, REPORTS = 29, 2_000, 300, 8
_DAY_US = 86_400_000_000
_columns = tuple(column.name for column in usage_events.c)
_values = attrgetter(*_columns)
_ONE = select(usage_events.c.id).limit(1)


async def fill(database: Database, calls: int) -> None:
    """Record so many calls of one account, spread over a month and three models."""
    now = now_us()

    def row(number: int) -> dict[str, object]:
        event = UsageEvent(
            tenant_id="default",
            id=uuid7(),
            account_id="ann",
            token_id=None,
            at=now - number * DAYS * _DAY_US // calls,
            surface="openai-chat",
            provider="openai",
            model_asked="gpt-5.1",
            model=f"gpt-5.1-{number % 3}",
            input=100,
            output=50,
            cost_nano=12_345,
        )
        return dict(zip([f"{name}_" for name in _columns], _values(event), strict=True))

    for start in range(0, calls, STEP):
        rows = [row(number) for number in range(start, min(start + STEP, calls))]
        await database.write(lambda tx, rows=rows: tx.many(ADD_EVENT, rows), ServerWork.BILLING)


async def look_ups(database: Database) -> float:
    """Return the milliseconds of the slowest but one in a hundred of some short reads."""
    took = []
    for _ in range(LOOK_UPS):
        began = time.perf_counter()
        await database.read(lambda tx: tx.one(_ONE), Tenant("default"))
        took.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(0.001)
    return sorted(took)[LOOK_UPS * 99 // 100]


async def measure(folder: Path, calls: int) -> bool:
    """Print what a report costs, and what look-ups cost beside many of them; return whether these are not held up."""
    database = await Database.open(f"sqlite:///{folder / 'mesh.db'}")
    await fill(database, calls)
    usage, now = Usage(database), now_us()
    question = Question(
        since=now - 30 * _DAY_US,
        until=now + 1,
        by=("day", "provider", "model"),
        tenant_id="default",
        account_id="ann",
    )
    began = time.perf_counter()
    found = await usage.summary(question)
    took = time.perf_counter() - began
    print(f"a report of {found.total.calls:,} calls: {took:.2f} s, {took * 1e6 / calls:.1f} µs for each")
    alone = await look_ups(database)
    asked = [asyncio.create_task(usage.summary(question)) for _ in range(REPORTS)]
    await asyncio.sleep(0.01)
    beside = await look_ups(database)
    waiting = sum(not one.done() for one in asked)
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    await database.close()
    print(f"p99 of a look-up: {alone:.2f} ms alone, {beside:.2f} ms beside {REPORTS} reports ({waiting} not done then)")
    return beside < took * 1e3 / 2


def main() -> int:
    """Measure in a folder of its own."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--calls", type=int, default=500_000)
    calls = arguments.parse_args().calls
    with tempfile.TemporaryDirectory(prefix="mesh-bench-") as folder:
        held = asyncio.run(measure(Path(folder), calls))
    print(f"  {'held  ' if held else 'MISSED'}  look-ups do not wait for reports")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
