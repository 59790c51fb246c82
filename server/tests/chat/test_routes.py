"""Chat through the whole server to a provider on a socket: what goes there and what comes back."""

import json

import pytest

from ..conftest import open_mesh
from .upstream import ASK, MESH, OPENAI, SECRET, completion


async def test_a_chat_goes_to_its_provider_with_the_callers_key(mesh, upstream):
    answer = await mesh.call("POST", MESH, {**ASK, "temperature": 0.5, "key_name": None})
    (asked,) = upstream.asked
    assert asked.headers["authorization"] == f"Bearer {SECRET}"
    assert asked.path == "/v1/chat/completions"
    assert asked.json == {**ASK, "temperature": 0.5}
    body = answer.json
    assert body["choices"][0]["message"]["content"] == "Hello"
    assert (body["provider"], body["cost_usd"], body["warnings"], body["thinking"]) == ("acme", None, [], None)
    assert body["success"] is True
    assert body["request_id"] == answer.headers["x-request-id"]


async def test_the_openai_surface_hands_the_providers_bytes_on(mesh, upstream):
    content = json.dumps(completion(extra={"of": "the provider"}), indent=1).encode()

    async def script(exchange):
        await exchange.answer(200, content)

    upstream.script = script
    assert (await mesh.call("POST", OPENAI, ASK)).body == content


@pytest.mark.parametrize("word", ["message", "prompt"])
async def test_one_message_may_come_for_short(mesh, upstream, word):
    await mesh.call("POST", MESH, {"model": "m-1", word: "hi"})
    assert upstream.asked[0].json["messages"] == [{"role": "user", "content": "hi"}]


async def test_thinking_of_the_provider_is_told(mesh, upstream):
    body = completion()
    body["choices"][0]["message"]["reasoning_content"] = "hm"

    async def script(exchange):
        await exchange.answer(200, body)

    upstream.script = script
    assert (await mesh.call("POST", MESH, ASK)).json["thinking"] == "hm"


# --- which key ---


async def test_a_call_may_name_its_key(mesh, upstream):
    await mesh.call("PUT", "/api/v1/keys/other", {"value": "sk-other"})
    await mesh.call("POST", MESH, {**ASK, "key_name": "other"})
    assert upstream.asked[0].headers["authorization"] == "Bearer sk-other"


async def test_a_named_key_that_is_not_there_is_not_replaced_by_another(mesh, upstream):
    answer = await mesh.call("POST", MESH, {**ASK, "key_name": "missing"})
    assert (answer.status, answer.code) == (404, "key_not_found")
    assert not upstream.asked


async def test_anothers_key_is_never_used(mesh, upstream):
    bob = await mesh.user("bob")
    answer = await bob("POST", MESH, ASK)
    assert (answer.status, answer.code) == (400, "provider_key_missing")
    assert "acme_key" in answer.json["error"]["message"]
    assert not upstream.asked


async def test_the_servers_own_key_serves_who_has_none(tmp_path, monkeypatch, upstream):
    monkeypatch.chdir(tmp_path)
    made = await open_mesh(tmp_path, OPENAI_API_KEY="sk-server", OPENAI_BASE_URL=upstream.url)
    try:
        assert (await made.call("POST", MESH, {**ASK, "model": "gpt-4o"})).status == 200
        await made.call("PUT", "/api/v1/keys/OPENAI_API_KEY", {"value": "sk-mine"})
        await made.call("POST", MESH, {**ASK, "model": "gpt-4o"})
    finally:
        await made.services.close()
    assert [asked.headers["authorization"] for asked in upstream.asked] == ["Bearer sk-server", "Bearer sk-mine"]


async def test_a_key_that_can_be_none_is_told_without_its_value(mesh, upstream):
    await mesh.call("PUT", "/api/v1/keys/acme_key", {"value": "line\r\nx-injected: 1"})
    answer = await mesh.call("POST", MESH, ASK)
    assert (answer.status, answer.code) == (424, "provider_auth_failed")
    assert "injected" not in answer.body.decode()
    assert not upstream.asked


async def test_a_scope_that_does_not_cover_chat_is_refused_in_both_forms(mesh):
    reader = await mesh.user("ann", scopes=frozenset({"keys:read"}))
    assert (await reader("POST", MESH, ASK)).code == "scope_missing"
    answer = await reader("POST", OPENAI, ASK)
    assert (answer.status, answer.json["error"]["type"]) == (403, "permission_error")


# --- what is wrong with a request ---


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m-1"},
        {"model": "m-1", "messages": []},
        {"model": "m-1", "messages": "hi"},
        {"model": "m-1", "messages": ["hi"]},
        {"model": "m-1", "messages": [{"content": "hi"}]},
        {"model": "m-1", "messages": [{"role": 5}]},
        {"model": 5, "messages": ASK["messages"]},
        {**ASK, "stream": "yes"},
        {**ASK, "stream_options": "x"},
        [],
        "text",
        None,
    ],
)
@pytest.mark.parametrize("surface", [MESH, OPENAI])
async def test_a_body_that_does_not_fit_is_refused(mesh, upstream, surface, body):
    answer = await mesh.call("POST", surface, json.dumps(body).encode())
    assert answer.status == 400
    assert answer.json["error"]["code"] == "invalid_request"
    assert not upstream.asked


@pytest.mark.parametrize(
    "body",
    [
        {**ASK, "message": "hi"},
        {"model": "m-1", "message": "hi", "prompt": "hi"},
        {"model": "m-1", "message": 5},
        {**ASK, "key_name": 5},
        {**ASK, "strict_models": "x"},
        {**ASK, "thinking_budget": "x"},
        {**ASK, "thinking_budget": 0},
    ],
)
async def test_a_body_that_does_not_fit_mesh_chat_is_refused(mesh, upstream, body):
    answer = await mesh.call("POST", MESH, body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert not upstream.asked


@pytest.mark.parametrize(
    ("asked", "effort"),
    [({"thinking": True}, "medium"), ({"thinking_budget": 1000}, "low"), ({"thinking_budget": 9000}, "high")],
)
async def test_thinking_is_told_as_an_effort_where_budgets_are_unknown(mesh, upstream, asked, effort):
    await mesh.call("POST", MESH, {**ASK, **asked})
    assert upstream.asked[0].json == {**ASK, "reasoning_effort": effort}


async def test_thinking_is_refused_where_the_model_is_known_not_to(mesh):
    answer = await mesh.call("POST", MESH, {**ASK, "model": "gpt-4o", "thinking": True, "key_name": "acme_key"})
    assert (answer.status, answer.code) == (400, "unsupported_feature")
    assert "gpt-4o" in answer.json["error"]["message"]


async def test_null_means_that_nothing_was_said(mesh, upstream):
    nothing = {"tools": None, "temperature": None, "thinking": None, "provider": None, "stream": None, "message": None}
    assert (await mesh.call("POST", MESH, {**ASK, **nothing})).status == 200
    assert upstream.asked[0].json == ASK


@pytest.mark.parametrize(("surface", "status"), [(MESH, 400), (OPENAI, 404)])
async def test_an_unknown_model_is_told_with_near_ones(mesh, surface, status):
    answer = await mesh.call("POST", surface, {**ASK, "model": "m-11"})
    assert (answer.status, answer.json["error"]["code"]) == (status, "model_not_found")
    assert "m-1" in answer.json["error"]["message"]


# --- models ---


async def test_models_are_listed_to_who_can_use_them(mesh):
    assert (await mesh.call("GET", "/api/v1/models")).json["models"] == {"acme": ["m-1", "m-2"]}
    listed = (await mesh.call("GET", "/v1/models")).json
    assert [(entry["id"], entry["owned_by"]) for entry in listed["data"]] == [("m-1", "acme"), ("m-2", "acme")]
    bob = await mesh.user("bob")
    assert (await bob("GET", "/api/v1/models")).json["models"] == {}


async def test_another_model_server_may_stand_in_the_place_of_the_local_model(tmp_path, monkeypatch, upstream):
    async def script(exchange):
        if exchange.path == "/v1/models":
            await exchange.answer(200, {"data": [{"id": "llama3"}, {"id": "phi"}]})
        else:
            await exchange.answer(200, completion())

    upstream.script = script
    monkeypatch.chdir(tmp_path)
    made = await open_mesh(tmp_path, MESH_LOCAL_BASE_URL=upstream.url)
    try:
        assert (await made.call("GET", "/api/v1/models")).json["models"] == {"local": ["llama3", "phi"]}
        answer = await made.call("POST", MESH, {"message": "hi"})
        assert (answer.status, answer.json["provider"]) == (200, "local")
        assert (await made.call("POST", MESH, {"message": "hi", "model": "phi"})).status == 200
    finally:
        await made.services.close()
    assert [asked.json["model"] for asked in upstream.asked if asked.method == "POST"] == ["llama3", "phi"]
    assert "authorization" not in upstream.asked[-1].headers
    assert sum(asked.method == "GET" for asked in upstream.asked) == 1
