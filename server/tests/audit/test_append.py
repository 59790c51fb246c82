"""The end of a chain is believed only as far as its row agrees."""

import asyncio

from sqlalchemy import delete, select, update

from mesh_server.audit.models import SYSTEM, audit_heads
from mesh_server.audit.verify import ChainCheck
from mesh_server.db.scope import ServerWork
from mesh_server.errors import StorageReadOnly

KEY = "/api/v1/keys/a"


async def problems(mesh):
    keyring = mesh.services.keyring
    check = ChainCheck(mesh.services.database, keyring.hasher("audit-chain"), keyring.hasher("audit-checkpoint"))
    await check.run()
    return check.problems


async def heads(mesh):
    async def look(tx):
        return {row[0]: row[1] for row in await tx.all(select(audit_heads.c.chain, audit_heads.c.seq))}

    return await mesh.services.database.read(look, ServerWork.AUDIT)


async def test_chains_hold_after_many_who_write_and_read_at_once(mesh):
    for number in range(3):
        asked = [mesh.call("PUT", f"/api/v1/keys/k{n}", {"value": str(number)}) for n in range(40)]
        asked += [mesh.call("GET", f"/api/v1/keys/k{n}") for n in range(40)]
        await asyncio.gather(*asked)
    await mesh.services.audit.checkpoint()
    assert await problems(mesh) == []
    told = [event.action for event in await mesh.services.audit.page(tenant_id="default", account_id=None)]
    assert len(told) == 200


async def test_a_head_that_somebody_took_away_begins_anew_and_is_named(mesh):
    async def take(tx):
        await tx.execute(delete(audit_heads).where(audit_heads.c.chain != SYSTEM))

    for _ in range(20):
        await mesh.call("PUT", KEY, {"value": "x"})
    await mesh.services.database.write(take, ServerWork.AUDIT)
    answer = await mesh.call("GET", KEY)
    assert answer.status >= 500, "its first event is there already"
    assert b'"x"' not in answer.body
    assert await problems(mesh)


async def test_a_head_that_another_program_moved_is_read_again(mesh):
    async def move(tx):
        await tx.execute(update(audit_heads).where(audit_heads.c.chain != SYSTEM).values(seq=audit_heads.c.seq + 5))

    await mesh.call("PUT", KEY, {"value": "x"})
    before = await heads(mesh)
    await mesh.services.database.write(move, ServerWork.AUDIT)
    assert (await mesh.call("GET", KEY)).json["value"] == "x"
    after = await heads(mesh)
    assert sum(after.values()) == sum(before.values()) + 5 * (len(before) - 1) + 1
    assert any(problem.kind == "missing" for problem in await problems(mesh))


async def test_after_a_group_that_failed_the_chain_goes_on_without_a_gap(mesh, monkeypatch):
    appender = mesh.services.audit._appender
    await mesh.call("PUT", KEY, {"value": "x"})

    async def full(_tx, _writer, _items):
        raise StorageReadOnly("full", retry_after=30)

    with monkeypatch.context() as broken:
        broken.setattr(type(appender), "write", lambda _self, *arguments: full(*arguments))
        for method, body in (("GET", None), ("PUT", {"value": "y"}), ("DELETE", None)):
            answer = await mesh.call(method, KEY, body)
            assert (answer.status, answer.code) == (503, "storage_read_only")
            assert b'"x"' not in answer.body
    assert (await mesh.call("GET", KEY)).json["value"] == "x"
    assert await problems(mesh) == []


async def test_one_checkpoint_signs_every_chain_that_moved(mesh):
    await asyncio.gather(*(mesh.call("PUT", f"/api/v1/keys/k{n}", {"value": "x"}) for n in range(40)))
    made = await mesh.services.audit.checkpoint()
    moved = [chain for chain, seq in (await heads(mesh)).items() if chain != SYSTEM and seq]
    assert made.number == len(moved)
    assert await mesh.services.audit.checkpoint() is None
    assert await problems(mesh) == []
