"""Looks at every account and every login: were they changed by another program than this server?"""

from secrets import compare_digest

from mesh_server.accounts.identities import IDENTITY, USER, Identities
from mesh_server.accounts.models import identities, users
from mesh_server.audit.chain import WRONG_TYPES
from mesh_server.audit.verify import Problem
from mesh_server.db import scan
from mesh_server.db.engine import Database


async def check(database: Database, known: Identities) -> tuple[int, list[Problem]]:
    """Return how many rows there are, and what is wrong with them; the database may be in use."""
    problems: list[Problem] = []
    count = 0
    for table, names, mac_of, what in (
        (users, USER, known.of_user, "account"),
        (identities, IDENTITY, known.of_identity, "login"),
    ):
        async for row in scan.rows(database, table):
            count += 1
            try:
                genuine = row["mac"] is not None and compare_digest(row["mac"], mac_of([row[name] for name in names]))
            except WRONG_TYPES:
                genuine = False
            if not genuine:
                where = "/".join(str(row[column.name]) for column in table.primary_key)
                problems.append(Problem("changed", f"{table.name} {where}", f"The record of the {what} was changed."))
    return count, problems
