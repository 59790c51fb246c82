"""Many rows in one go: all of them, in whatever pieces they are written, or none."""

import pytest
from sqlalchemy import bindparam, func, insert, literal, select

from mesh_server.db.schema import ConstraintBroken, change_counter
from mesh_server.db.scope import ServerWork

ADD = insert(change_counter).values(id=bindparam("id_"), changes=bindparam("changes_"))
ALWAYS_ONE = insert(change_counter).values(id=bindparam("id_"), changes=literal(1))
SUM = select(func.count(), func.sum(change_counter.c.changes)).where(change_counter.c.id > 1)


async def written(parts):
    async def look(tx):
        return await tx.one(SUM)

    count, total = await parts.database.read(look, ServerWork.CHANGES)
    return count, int(total or 0)


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 127, 250])
async def test_every_row_is_written(parts, count):
    async def work(tx):
        await tx.many(ADD, [{"changes_": number, "id_": number + 2} for number in range(count)])

    await parts.database.write(work, ServerWork.CHANGES)
    assert await written(parts) == (count, sum(range(count)))


async def test_a_statement_with_values_of_its_own_is_written_row_by_row(parts):
    async def work(tx):
        await tx.many(ALWAYS_ONE, [{"id_": number} for number in range(2, 203)])

    await parts.database.write(work, ServerWork.CHANGES)
    assert await written(parts) == (201, 201)


async def test_one_row_that_can_not_be_written_lets_none_be(parts):
    async def work(tx):
        await tx.many(ADD, [{"id_": number, "changes_": 1} for number in [*range(2, 203), 2]])

    with pytest.raises(ConstraintBroken):
        await parts.database.write(work, ServerWork.CHANGES)
    assert await written(parts) == (0, 0)
