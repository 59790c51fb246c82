"""Profile, credits, users and API keys of the published clients."""

import pytest

from mesh_server.accounts.models import EVERYDAY_SCOPES
from mesh_server.billing.budgets import Budgets, new_budget
from mesh_server.legacy.credits import UNLIMITED, credits_of

from ..conftest import caller

PROFILES = ["/api/v1/auth/profile", "/v1/mesh/auth/profile", "/auth/profile", "//auth/profile"]
DOLLAR = 1_000_000_000


@pytest.mark.parametrize("path", PROFILES)
async def test_the_profile_is_what_both_clients_read(mesh, me, path):
    body = (await mesh.call("GET", path)).json
    assert body["success"] is True
    assert (body["id"], body["credits"]) == (me, UNLIMITED)
    assert body["profile"] == {name: body[name] for name in ("id", "tenant", "email", "credits")}


async def budget(mesh, me, dollars, **more):
    made = new_budget("default", int(dollars * DOLLAR), "usd", "total", scope="account", subject_id=me, **more)
    await Budgets(mesh.services.database).set(made)


async def credits_told(mesh, call=None):
    call = call or mesh.call
    profile = (await call("GET", "/api/v1/auth/profile")).json
    answer = await call("GET", "/v1/mesh/users/whoever/credits")
    if answer.status == 200:
        assert answer.json == {"success": True, "credits": profile["credits"]}
    return profile["credits"]


async def test_credits_are_the_cents_that_the_smallest_hard_budget_leaves(mesh, me):
    await budget(mesh, me, 100)
    assert await credits_told(mesh) == 10_000
    await budget(mesh, me, 4.2, hard=False)
    assert await credits_told(mesh) == 10_000
    limit = new_budget("default", 3 * DOLLAR + 999_999, "usd", "day")
    await Budgets(mesh.services.database).set(limit)
    assert await credits_told(mesh) == 300


async def test_a_budget_of_others_is_none_of_mine(mesh):
    bob = await mesh.user("bob")
    await budget(mesh, (await bob("GET", "/auth/profile")).json["id"], 1)
    assert await credits_told(mesh) == UNLIMITED
    assert await credits_told(mesh, bob) == 100


async def test_who_may_not_chat_has_none_and_learns_of_no_budget(mesh, me):
    await budget(mesh, me, 7)
    lesser = await mesh.user("local", scopes=EVERYDAY_SCOPES - {"chat"})
    assert (await lesser("GET", "/auth/profile")).json["credits"] == 0
    answer = await lesser("GET", f"/v1/mesh/users/{me}/credits")
    assert (answer.status, answer.code) == (400, "scope_missing")


@pytest.mark.parametrize(
    ("left", "cents"), [(None, UNLIMITED), (4.2, 420), (0.29, 29), (0.0099, 0), (0.0, 0), (-3.0, 0), (1e6, 100_000_000)]
)
def test_dollars_become_whole_cents_never_more_than_there_are(left, cents):
    assert credits_of(left, may_chat=True) == cents
    assert credits_of(left, may_chat=False) == 0


@pytest.mark.parametrize("user", ["me", "auth0%7Cx", "%C3%BC", "a%2Fb"])
async def test_the_id_in_the_path_selects_nothing(mesh, user):
    assert (await mesh.call("GET", f"/v1/mesh/users/{user}/credits")).json["credits"] == UNLIMITED


# --- users ---


async def test_a_user_is_said_back_and_not_made(mesh):
    before = (await mesh.call("GET", "/api/v1/audit")).json["events"]
    answer = await mesh.call("POST", "/v1/mesh/users", {"id": "auth0|x", "email": "x@example.com"}, token=None)
    assert (answer.status, answer.json) == (200, {"success": True, "id": "auth0|x"})
    assert (await mesh.call("GET", "/api/v1/audit")).json["events"] == before


async def test_nobody_learns_who_is_there(mesh, me):
    known, unknown = [
        await mesh.call("POST", "/v1/mesh/users", {"id": user}, token=None) for user in (me, "0" * len(me))
    ]
    assert known.body == unknown.body.replace(b"0" * len(me), me.encode())
    assert known.headers["content-length"] == unknown.headers["content-length"]


@pytest.mark.parametrize(
    "body", [{}, [], {"id": None}, {"id": 5}, {"id": ""}, {"id": "x" * 513}, {"id": "x" * 20_000}, b"no"]
)
async def test_what_is_no_user_is_refused(mesh, body):
    answer = await mesh.call("POST", "/v1/mesh/users", body, token=None)
    assert answer.status in {400, 413}
    assert answer.json["success"] is False


# --- API keys ---


@pytest.mark.parametrize("path", ["/v1/mesh/api-keys", "/api/v1/api-keys"])
async def test_an_api_key_is_an_object_in_an_answer_of_200(mesh, path):
    answer = await mesh.call("POST", path, {"name": "ci"})
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    key = answer.json["api_key"]
    assert answer.json["success"] is True
    assert (key["name"], key.keys()) == ("ci", {"api_key", "key_id", "name", "created_at", "expires_at"})
    assert key["api_key"].startswith("mesh_")
    assert key["key_id"] in [token["id"] for token in (await mesh.call("GET", "/api/v1/tokens")).json["tokens"]]


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
async def test_an_api_key_is_taken_in_each_of_its_headers(mesh, me, header):
    key = (await mesh.call("POST", "/v1/mesh/api-keys", {})).json["api_key"]["api_key"]
    headers = {header: f"ApiKey {key}" if header == "authorization" else key}
    answer = await caller(mesh.app, None)("GET", "/auth/profile", headers=headers)
    assert (answer.status, answer.json["id"]) == (200, me)


@pytest.mark.parametrize("body", [{"name": 5}, [], {"name": "x" * 257}, {"name": "a\0"}, b""])
async def test_a_name_that_makes_no_sense_makes_no_key(mesh, body):
    before = (await mesh.call("GET", "/api/v1/tokens")).json
    answer = await mesh.call("POST", "/v1/mesh/api-keys", body)
    assert answer.status == 400
    assert (await mesh.call("GET", "/api/v1/tokens")).json == before


async def test_a_lesser_token_makes_no_key(mesh):
    lesser = await mesh.user("ann", scopes=EVERYDAY_SCOPES)
    answer = await lesser("POST", "/v1/mesh/api-keys", {"name": "ci"})
    assert (answer.status, answer.code) == (403, "scope_missing")
