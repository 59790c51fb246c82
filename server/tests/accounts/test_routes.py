"""The endpoints of accounts."""

import pytest

from mesh_server.accounts.models import EVERYDAY_SCOPES


async def test_the_profile_has_both_shapes(mesh):
    body = (await mesh.call("GET", "/api/v1/auth/profile")).json
    assert body["success"] is True
    assert body["profile"] == {name: body[name] for name in ("id", "tenant", "email", "credits")}


async def test_a_token_is_shown_once(mesh):
    made = await mesh.call("POST", "/api/v1/tokens", {"name": "ci", "scopes": ["chat"]})
    assert (made.status, made.headers["cache-control"]) == (201, "no-store")
    token = made.json["token"]
    listed = (await mesh.call("GET", "/api/v1/tokens")).json["tokens"]
    assert [entry["scopes"] for entry in listed if entry["id"] == made.json["id"]] == [["chat"]]
    assert token not in (await mesh.call("GET", "/api/v1/tokens")).body.decode()
    assert (await mesh.call("GET", "/api/v1/auth/profile", token=token)).status == 200


async def test_a_revoked_token_is_refused(mesh):
    made = (await mesh.call("POST", "/api/v1/tokens", {})).json
    assert (await mesh.call("DELETE", f"/api/v1/tokens/{made['id']}")).status == 200
    answer = await mesh.call("GET", "/api/v1/auth/profile", token=made["token"])
    assert (answer.status, answer.code) == (401, "token_revoked")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": ["root"]},
        {"scopes": []},
        {"scopes": "chat"},
        {"name": 5},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2099-01-01T00:00:00"},
        {"expires_at": "tomorrow"},
        {"scope": ["chat"]},
    ],
)
async def test_a_token_that_makes_no_sense_is_refused(mesh, body):
    answer = await mesh.call("POST", "/api/v1/tokens", body)
    assert (answer.status, answer.code) == (400, "invalid_request")


async def test_a_lesser_token_makes_none(mesh):
    lesser = await mesh.user("ann", scopes=EVERYDAY_SCOPES)
    answer = await lesser("POST", "/api/v1/tokens", {})
    assert (answer.status, answer.code) == (403, "scope_missing")


@pytest.mark.parametrize("name", ["nothing", "..%2f", "%00", "a" * 500])
async def test_a_token_that_is_not_there_can_not_be_revoked(mesh, name):
    answer = await mesh.call("DELETE", f"/api/v1/tokens/{name}")
    assert (answer.status, answer.code) == (404, "token_not_found")


async def test_anothers_token_is_not_there(mesh):
    mine = (await mesh.call("POST", "/api/v1/tokens", {})).json["id"]
    bob = await mesh.user("bob")
    assert (await bob("DELETE", f"/api/v1/tokens/{mine}")).code == "token_not_found"


@pytest.mark.parametrize("target", ["/api/v1/auth/profile", "/api/v1/tokens"])
async def test_nobody_gets_in_without_a_token(mesh, target):
    answer = await mesh.call("GET", target, token=None)
    assert (answer.status, answer.code) == (401, "token_missing")
