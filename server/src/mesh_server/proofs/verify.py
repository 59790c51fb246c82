"""Looks at every enrolled record: was it changed by another program than this server?"""

from secrets import compare_digest

from mesh_server.audit.chain import WRONG_TYPES
from mesh_server.audit.verify import Problem
from mesh_server.db import scan
from mesh_server.db.engine import Database
from mesh_server.proofs.models import zk_records
from mesh_server.proofs.records import PROVEN, Records


async def check(database: Database, known: Records) -> tuple[int, list[Problem]]:
    """Return how many records there are, and what is wrong with them; the database may be in use."""
    problems: list[Problem] = []
    count = 0
    async for row in scan.rows(database, zk_records):
        count += 1
        try:
            genuine = row["mac"] is not None and compare_digest(row["mac"], known.mac([row[name] for name in PROVEN]))
        except WRONG_TYPES:
            genuine = False
        if not genuine:
            where = f"zk_records {row['tenant_id']}/{row['id']}"
            problems.append(Problem("changed", where, "The enrolled record was changed."))
    return count, problems
