"""A backup of one kind of database goes into the other, and comes back."""

from dataclasses import replace

import pytest

from mesh_server.cli._parts import examine, stored
from mesh_server.cli.backup import _backup
from mesh_server.cli.restore import _restore

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
