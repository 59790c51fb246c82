"""Keys at the published clients' addresses."""

import json

import pytest

BOTH = pytest.mark.parametrize("prefix", ["/api/v1", "/v1/mesh"])


async def store(call, user, name, value="v", prefix="/api/v1"):
    return await call("POST", f"{prefix}/storeKey", {"userId": user, "keyName": name, "keyValue": value})


async def read(call, user, name, prefix="/api/v1"):
    return await call("GET", f"{prefix}/getKey?userId={user}&keyName={name}")


async def names(call, user):
    answer = await call("GET", f"/api/v1/listKeys?userId={user}")
    assert (answer.status, answer.json["success"]) == (200, True)
    return answer.json["keys"]


@BOTH
async def test_a_key_is_stored_under_its_bare_name(mesh, me, prefix):
    answer = await store(mesh.call, me, f"{me}_k", prefix=prefix)
    assert (answer.status, answer.json) == (200, {"success": True, "keyName": "k", "version": 1})
    answer = await read(mesh.call, me, f"{me}_k", prefix)
    assert (answer.status, answer.json) == (200, {"success": True, "keyName": "k", "keyValue": "v"})
    assert answer.headers["cache-control"] == "no-store"
    assert (await mesh.call("GET", "/api/v1/keys/k")).json["value"] == "v"
    assert await names(mesh.call, me) == ["acme_key", "k"]


async def test_only_one_user_id_is_taken_off(mesh, me):
    await store(mesh.call, me, f"{me}_{me}_k")
    assert await names(mesh.call, me) == [f"{me}_k", "acme_key"]
    assert (await read(mesh.call, me, f"{me}_{me}_k")).status == 200
    assert (await read(mesh.call, me, f"{me}_k")).status == 404


async def test_a_name_without_the_user_id_is_meant_as_it_is(mesh, me):
    await store(mesh.call, me, "k")
    assert (await read(mesh.call, me, f"{me}_k")).json["keyValue"] == "v"


async def test_another_user_id_is_a_namespace_of_one_s_own(mesh, me):
    await store(mesh.call, me, f"{me}_k", "mine")
    await store(mesh.call, "team", "team_k", "theirs")
    assert (await read(mesh.call, "team", "team_k")).json["keyValue"] == "theirs"
    assert (await read(mesh.call, me, f"{me}_k")).json["keyValue"] == "mine"
    assert await names(mesh.call, "team") == ["k"]
    assert (await mesh.call("GET", "/api/v1/keys/k?user_id=team")).json["value"] == "theirs"


async def test_anothers_id_opens_nothing_of_theirs(mesh, me):
    await store(mesh.call, me, f"{me}_k", "anns")
    bob = await mesh.user("bob")
    answer = await read(bob, me, f"{me}_k")
    assert (answer.status, answer.code) == (404, "key_not_found")
    assert await names(bob, me) == []
    assert (await store(bob, me, f"{me}_k", "bobs")).status == 200  # in a namespace of Bob's own
    assert (await read(mesh.call, me, f"{me}_k")).json["keyValue"] == "anns"


async def test_without_a_user_id_it_is_one_s_own(mesh):
    assert (await mesh.call("POST", "/api/v1/storeKey", {"keyName": "k", "keyValue": "v"})).status == 200
    assert (await mesh.call("GET", "/api/v1/getKey?keyName=k")).json["keyValue"] == "v"
    assert (await mesh.call("GET", "/api/v1/listKeys")).json["keys"] == ["acme_key", "k"]
    answer = await mesh.call("POST", "/api/v1/storeKey", {"userId": None, "keyName": "n", "keyValue": "v"})
    assert answer.json["keyName"] == "n"


async def test_an_object_as_value_is_kept_as_its_json(mesh, me):
    key = {"api_key": "mesh_x", "name": "ü"}
    assert (await store(mesh.call, me, f"{me}_MESH_API_KEY", key)).status == 200
    assert json.loads((await read(mesh.call, me, f"{me}_MESH_API_KEY")).json["keyValue"]) == key


async def test_all_names_are_listed_however_many_there_are(mesh, me):
    for number in range(203):
        assert (await store(mesh.call, me, f"{me}_{number:03}")).status == 200
    assert await names(mesh.call, me) == [*(f"{number:03}" for number in range(203)), "acme_key"]


async def test_what_is_no_text_can_t_be_told(mesh, me):
    await mesh.call("PUT", "/api/v1/keys/b", {"value_base64": "/w=="})
    answer = await read(mesh.call, me, f"{me}_b")
    assert (answer.status, answer.code) == (404, "key_not_found")


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"keyName": "k"},
        {"keyName": "", "keyValue": "v"},
        {"userId": "me", "keyName": "me_", "keyValue": "v"},
        {"keyName": "k", "keyValue": ""},
        {"keyName": "k", "keyValue": None},
        {"keyName": "k", "keyValue": 5},
        {"keyName": "k", "keyValue": ["v"]},
        {"keyName": 5, "keyValue": "v"},
        {"userId": 5, "keyName": "k", "keyValue": "v"},
        {"userId": "u" * 257, "keyName": "k", "keyValue": "v"},
        {"keyName": "k" * 257, "keyValue": "v"},
        {"keyName": "a\0b", "keyValue": "v"},
        b"{",
        b'{"keyName": "k", "keyValue": "\\ud800"}',
    ],
)
async def test_what_can_t_be_a_key_is_refused(mesh, me, body):
    answer = await mesh.call("POST", "/api/v1/storeKey", body)
    assert answer.status == 400
    assert answer.code in {"invalid_request", "invalid_json"}
    assert isinstance(answer.json["error"]["message"], str)
    assert await names(mesh.call, me) == ["acme_key"]


async def test_a_value_that_is_too_large_is_refused_without_being_told(mesh, me):
    answer = await store(mesh.call, me, "k", "secret" * 20_000)
    assert (answer.status, answer.code) == (413, "key_too_large")
    assert "secretsecret" not in answer.body.decode()


@pytest.mark.parametrize("query", ["", "?userId=x", "?keyName=a&keyName=b", "?keyName=%ff", "?keyName="])
async def test_a_question_that_makes_no_sense_is_refused(mesh, query):
    answer = await mesh.call("GET", f"/api/v1/getKey{query}")
    assert (answer.status, answer.code) == (400, "invalid_request")


async def test_storing_and_reading_are_in_the_trail(mesh, me):
    await store(mesh.call, me, f"{me}_k")
    await read(mesh.call, me, f"{me}_k")
    events = (await mesh.call("GET", "/api/v1/audit")).json["events"]
    assert [(e["action"], e["object"]) for e in events[:2]] == [("key.read", "k"), ("key.stored", "k")]


async def test_the_paths_bear_a_base_url_with_a_slash(mesh, me):
    await store(mesh.call, me, f"{me}_k", prefix="//api/v1")
    assert (await read(mesh.call, me, f"{me}_k", "//v1/mesh")).json["keyValue"] == "v"
