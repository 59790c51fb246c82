"""What the surfaces list, count and embed, and what they say of what is not there."""

import json

import pytest

from .kinds import HI, SURFACES, send

ANTHROPIC = {"anthropic-version": "2026-10-21"}


async def test_models_are_told_in_every_shape(mesh):
    listed = (await mesh.call("GET", "/v1/models")).json
    assert {"gpt-6.1-sol", "claude-opus-5-5", "plain-model", "ours"} <= {entry["id"] for entry in listed["data"]}
    assert not {"gpt-4", "claude-3-opus-20240229"} & {entry["id"] for entry in listed["data"]}
    answer = await mesh.call("GET", "/v1/models", headers=ANTHROPIC)
    assert (answer.json["has_more"], answer.json["first_id"]) == (False, answer.json["data"][0]["id"])
    sonnet = next(entry for entry in answer.json["data"] if entry["id"] == "claude-sonnet-5-5")
    assert (sonnet["display_name"], sonnet["max_input_tokens"], sonnet["lifecycle"]) == (
        "Claude Sonnet 5.5",
        1_000_000,
        "active",
    )
    entries = {entry["id"]: entry for entry in (await mesh.call("GET", "/api/v1/models")).json["data"]}
    assert entries["gpt-4o"]["retired"] == "2027-01-14"
    assert (entries["gpt-4o"]["successor"], entries["gpt-4o"]["context"]) == ("gpt-6-luna", 128_000)
    assert "images" in entries["claude-opus-5-5"]["abilities"]
    assert (await mesh.call("GET", "/v1/models/gpt-6.1-sol")).json["owned_by"] == "openai"
    assert (await mesh.call("GET", "/v1/models/claude-opus-5-5", headers=ANTHROPIC)).json["type"] == "model"


@pytest.mark.parametrize("path", ["/v1/models/none", "/v1/files", "/v1/messages/batches", "/v1/chat/nothing"])
@pytest.mark.parametrize("headers", [{}, ANTHROPIC])
async def test_what_is_not_there_is_told_in_the_surfaces_format(mesh, path, headers):
    answer = await mesh.call("GET", path, headers=headers)
    assert answer.status == 404
    if headers or path.startswith("/v1/messages"):
        assert (answer.json["type"], answer.json["error"]["type"]) == ("error", "not_found_error")
        assert answer.headers["request-id"]
    else:
        assert answer.json["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"model": 5}',
        b'{"model": "m", "stream": "yes"}',
        b'{"model": "' + b"m" * 300 + b'"}',
        b"[" * 100_000,
    ],
)
async def test_what_is_no_request_is_refused_in_the_surfaces_format(mesh, upstream, surface, body):
    answer = await mesh.call("POST", SURFACES[surface][0], body)
    assert answer.status == 400
    assert (answer.json.get("type") == "error") == (surface == "messages")
    assert not upstream.asked


@pytest.mark.parametrize("surface", SURFACES)
async def test_who_is_nobody_is_told_in_the_surfaces_format(mesh, surface):
    answer = await mesh.call("POST", SURFACES[surface][0], SURFACES[surface][1], token=None)
    assert answer.status == 401
    if surface == "messages":
        assert answer.json["error"]["type"] == "authentication_error"


async def test_anthropics_limit_of_tokens_is_required(mesh):
    answer = await mesh.call("POST", "/v1/messages", {"model": "claude-opus-5-5", "messages": HI})
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
    assert "max_tokens" in answer.json["error"]["message"]


# --- embeddings and counts -------------------------------------------------------------------------------


async def test_embeddings_go_to_providers_that_make_them(mesh, upstream):
    content = {
        "object": "list",
        "data": [{"embedding": [0.1], "index": 0}],
        "model": "e",
        "usage": {"prompt_tokens": 3},
    }

    async def script(exchange):
        await exchange.answer(200, content)

    upstream.script = script
    answer = await mesh.call("POST", "/v1/embeddings", {"model": "plain-model", "input": "hi", "dimensions": 1})
    assert (answer.status, answer.json) == (200, content)
    assert upstream.asked[0].path == "/v1/embeddings"
    assert upstream.asked[0].json == {"model": "plain-model", "input": "hi", "dimensions": 1}
    answer = await mesh.call("POST", "/v1/embeddings", {"model": "claude-opus-5-5", "input": "hi"})
    assert (answer.status, answer.json["error"]["code"]) == (400, "unsupported_feature")
    for body in ({"model": "plain-model"}, {"input": "x"}, [], {"model": 5, "input": "x"}):
        assert (await mesh.call("POST", "/v1/embeddings", body)).status == 400


async def test_tokens_are_counted_by_the_provider_or_estimated(mesh, upstream):
    async def script(exchange):
        await exchange.answer(200, {"object": "response.input_tokens", "input_tokens": 42})

    upstream.script = script
    body = {"messages": HI, "tools": [{"name": "f", "input_schema": {"type": "object"}}], "system": "s"}
    for model, path in [
        ("claude-haiku-5-5", "/v1/messages/count_tokens"),
        ("gpt-5.6-sol", "/v1/responses/input_tokens"),
    ]:
        answer = await mesh.call("POST", "/v1/messages/count_tokens", {**body, "model": model})
        assert (answer.status, answer.json, "mesh-warnings" in answer.headers) == (200, {"input_tokens": 42}, False)
        assert upstream.asked[-1].path == path
        assert not {"max_tokens", "max_output_tokens", "stream", "store"} & set(upstream.asked[-1].json)
    answer = await mesh.call("POST", "/v1/messages/count_tokens", {**body, "model": "plain-model"})
    assert answer.json["input_tokens"] > 0
    assert "estimate" in answer.headers["mesh-warnings"]


async def test_a_count_that_a_provider_does_not_offer_is_estimated(mesh, upstream):
    async def script(exchange):
        await exchange.answer(404, {"detail": "Not Found"})

    upstream.script = script
    answer = await mesh.call("POST", "/v1/messages/count_tokens", {"messages": HI, "model": "claude-haiku-5-5"})
    assert answer.status == 200
    assert "estimate" in answer.headers["mesh-warnings"]


async def test_a_warning_never_breaks_a_header(mesh, upstream):
    asked, answer = await send(mesh, upstream, "messages", "plain", **{"x\r\nset-cookie: é": 1})
    assert asked is not None
    assert answer.status == 200
    assert "\r" not in answer.headers["mesh-warnings"]
    assert json.dumps(answer.headers["mesh-warnings"]).isascii()
