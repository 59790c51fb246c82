"""A backup of one kind of database goes into the other, and comes back."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from mesh_server.billing.budgets import Budgets, new_budget
from mesh_server.billing.models import DOLLAR
from mesh_server.cli._parts import examine, stored
from mesh_server.cli.backup import _backup
from mesh_server.cli.restore import _restore
from mesh_server.db.scope import ServerWork
from mesh_server.vault.models import chat_answers

from .chat.gateway.kinds import CONFIG, HI, answer_well
from .chat.upstream import Upstream
from .conftest import caller, open_mesh, settings_in


@pytest.fixture
def postgres(request):
    try:
        return request.getfixturevalue("postgres_url")
    except pytest.FixtureLookupError:
        pytest.skip("this version has no PostgreSQL to test with")


async def fill(folder):
    mesh = await open_mesh(folder)
    for number in range(30):
        await mesh.call("PUT", f"/api/v1/keys/k{number}", {"value": f"v{number}", "tags": {"a": "b"}})
    await mesh.call("PUT", "/api/v1/keys/raw", {"value_base64": "AAEC"}, headers={"idempotency-key": "x"})
    await mesh.call("DELETE", "/api/v1/keys/k3")
    bob = await mesh.services.accounts.ensure_user("default", "bob")
    grant = {"pattern": "k*", "grantee": bob.account_id, "actions": ["read"]}
    assert (await mesh.call("POST", "/api/v1/grants", grant)).status == 201
    await mesh.services.close()
    return mesh.token


async def test_from_sqlite_to_postgresql_and_back(tmp_path, postgres, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a"
    folder.mkdir()
    token, here = await fill(folder), settings_in(folder)
    await _backup(here, tmp_path / "one")

    there = replace(here, database_url=postgres, audit_head_files=(tmp_path / "head-there",))
    assert (await _restore(there, tmp_path / "one", force=False)).problems == []
    head = str(tmp_path / "head-there")
    mesh = await open_mesh(folder, MESH_DATABASE_URL=postgres, MESH_AUDIT_HEAD_FILE=head)
    call = caller(mesh.app, token)
    assert (await call("GET", "/api/v1/keys/k7")).json["value"] == "v7"
    assert (await call("GET", "/api/v1/keys/raw")).json["value_base64"] == "AAEC"
    await call("PUT", "/api/v1/keys/k7", {"value": "new"})
    await call("DELETE", "/api/v1/keys/k7/versions/1")
    await mesh.services.close()
    await _backup(there, tmp_path / "two")

    back = replace(here, database_url=f"sqlite:///{tmp_path / 'b.db'}", audit_head_files=(tmp_path / "head-back",))
    assert (await _restore(back, tmp_path / "two", force=False)).problems == []
    async with stored(there) as parts:
        assert (await examine(parts)).problems == []


async def spent_in(mesh, token):
    """Return what usage, limits and the stored answer say."""
    call = caller(mesh.app, token)
    mesh.services.billing.recorder.start()
    ask = {"model": "gpt-4o", "messages": HI, "max_tokens": 50}
    answer = await call("POST", "/api/v1/chat/completions", ask, headers={"idempotency-key": "once"})
    assert answer.status == 200, answer.body
    await mesh.services.billing.recorder.stop()
    usage = (await call("GET", "/api/v1/usage?since=2020-01-01&by=day,provider,model,key,surface,outcome")).json
    limits = (await call("GET", "/api/v1/budget")).json["budgets"]
    counted = [(usage[name]) for name in ("total", "usage")]
    return answer.body, counted, [(limit["id"], limit["used"], limit["limit"]) for limit in limits]


async def test_usage_limits_and_stored_answers_go_along(tmp_path, postgres, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a"
    folder.mkdir()
    upstream = await Upstream(answer_well).start()
    (tmp_path / "mesh.toml").write_text(CONFIG.format(url=upstream.url))
    given = {"MESH_CONFIG": str(tmp_path / "mesh.toml"), "MESH_AUDIT_HEAD_FILE": str(tmp_path / "head-there")}
    mesh = await open_mesh(folder, **given)
    await Budgets(mesh.services.database).set(new_budget("default", DOLLAR, "usd", "total"))
    before = await spent_in(mesh, mesh.token)
    await mesh.services.close()
    here = settings_in(folder, **given)
    await _backup(here, tmp_path / "one")

    there = replace(here, database_url=postgres)
    assert (await _restore(there, tmp_path / "one", force=False)).problems == []
    moved = await open_mesh(folder, MESH_DATABASE_URL=postgres, **given)
    assert await spent_in(moved, mesh.token) == before
    await moved.services.close()
    assert len(upstream.asked) == 1
    await upstream.stop()

    async def tamper(tx):
        await tx.execute(update(chat_answers).values(created_at=chat_answers.c.created_at + 1))

    async with stored(there) as parts:
        assert (await examine(parts)).problems == []
        await parts.database.write(tamper, ServerWork.PURGE)
        (problem,) = (await examine(parts)).problems
        assert (problem.kind, problem.where.split()[0]) == ("changed", "chat_answers")
