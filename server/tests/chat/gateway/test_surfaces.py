"""The official surfaces through the whole server: versions, headers, state, lists, and what is not there."""

import pytest

from ...conftest import open_mesh
from .kinds import CONFIG, HI, SURFACES, events, send, whole

ANTHROPIC = {"anthropic-version": "2026-10-21"}


# --- how providers are called ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("surface", "kind", "path"),
    [
        ("chat", "plain", "/chat/completions"),
        ("messages", "plain", "/chat/completions"),
        ("responses", "plain", "/chat/completions"),
        ("chat", "openai", "/chat/completions"),
        ("responses", "openai", "/responses"),
        ("messages", "openai", "/responses"),
        ("mesh", "anthropic", "/messages"),
        ("chat", "anthropic", "/messages"),
        ("responses", "anthropic", "/messages"),
        ("messages", "anthropic", "/messages"),
    ],
)
async def test_a_provider_is_asked_in_its_own_format(mesh, upstream, surface, kind, path):
    asked, answer = await send(mesh, upstream, surface, kind)
    assert answer.status == 200
    assert asked.path == f"/v1{path}"


async def test_tools_of_the_newest_models_go_where_they_work(mesh, upstream):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    for model, more, path in [
        ("gpt-6.1-sol", {}, "/v1/responses"),
        ("gpt-6.1-sol", {"reasoning_effort": "none"}, "/v1/chat/completions"),
        ("gpt-5.6-sol", {}, "/v1/chat/completions"),
    ]:
        asked, answer = await send(mesh, upstream, "chat", "openai", tools=tools, **{**more, "model": model})
        assert (asked.path, answer.status) == (path, 200)
        assert answer.json["object"] == "chat.completion"


async def test_stop_sequences_go_where_they_are_known(mesh, upstream):
    asked, _ = await send(mesh, upstream, "messages", "openai", stop_sequences=["x"])
    assert (asked.path, asked.json["stop"]) == ("/v1/chat/completions", ["x"])


@pytest.mark.parametrize(
    ("model", "more", "version"),
    [
        ("claude-haiku-5-5", {}, "2026-10-21"),
        ("claude-haiku-4-5", {}, "2026-10-21"),
        ("claude-haiku-4-5", {"temperature": 0.5}, "2023-06-01"),
        ("claude-haiku-5-5", {"temperature": 0.5}, "2026-10-21"),
    ],
)
async def test_anthropics_version_is_the_newest_that_takes_the_request(mesh, upstream, model, more, version):
    asked, answer = await send(mesh, upstream, "chat", "anthropic", model=model, **more)
    assert asked.headers["anthropic-version"] == version
    if version == "2023-06-01":
        assert asked.headers["x-api-key"] == "sk-ant-shared-1234"
        assert "authorization" not in asked.headers
        assert asked.json["temperature"] == 0.5
    else:
        assert asked.headers["authorization"] == "Bearer sk-ant-shared-1234"
        assert "x-api-key" not in asked.headers
        assert "temperature" not in asked.json
    assert ("temperature" in answer.headers.get("mesh-warnings", "")) == (bool(more) and version != "2023-06-01")


async def test_an_anthropic_clients_version_and_betas_go_on(mesh, upstream):
    headers = {"anthropic-version": "2024-01-01", "anthropic-beta": "one-2025-01-01, two"}
    asked, _ = await send(mesh, upstream, "messages", "anthropic", headers=headers)
    assert asked.headers["anthropic-version"] == "2024-01-01"
    assert asked.headers["anthropic-beta"] == "one-2025-01-01, two"
    asked, _ = await send(mesh, upstream, "messages", "anthropic")
    assert asked.headers["anthropic-version"] == "2023-06-01"
    asked, _ = await send(mesh, upstream, "messages", "anthropic", headers={"anthropic-beta": "x\ty:z"})
    assert "anthropic-beta" not in asked.headers
    asked, answer = await send(mesh, upstream, "messages", "plain", headers=headers)
    assert "anthropic-beta" not in asked.headers
    assert "anthropic-beta" in answer.headers["mesh-warnings"]


@pytest.mark.parametrize("name", ["anthropic_key", "ANTHROPIC_API_KEY"])
async def test_the_callers_own_key_comes_before_the_servers(mesh, upstream, name):
    await mesh.call("PUT", f"/api/v1/keys/{name}", {"value": "sk-ant-mine"})
    asked, _ = await send(mesh, upstream, "messages", "anthropic", headers=ANTHROPIC)
    assert asked.headers["authorization"] == "Bearer sk-ant-mine"


@pytest.mark.parametrize("streams", [False, True])
async def test_what_is_left_of_a_rate_is_told_to_the_keys_owner_only(mesh, upstream, streams):
    async def script(exchange):
        limits = {"x_ratelimit_remaining_requests": "7", "anthropic_ratelimit_tokens_limit": "9", "x_other": "1"}
        if streams:
            await exchange.head(200, content_type="text/event-stream", connection="close", **limits)
            await exchange.send(b"".join(events(exchange)))
        else:
            await exchange.answer(200, whole(exchange), **limits)

    upstream.script = script
    names = {"x-ratelimit-remaining-requests", "anthropic-ratelimit-tokens-limit"}
    _, answer = await send(mesh, upstream, "chat", "plain", stream=streams)
    assert not names & set(answer.headers)
    await mesh.call("PUT", "/api/v1/keys/plain_key", {"value": "sk-mine"})
    _, answer = await send(mesh, upstream, "chat", "plain", stream=streams)
    assert names <= set(answer.headers)
    assert "x-other" not in answer.headers


async def test_a_callers_headers_and_token_go_nowhere(mesh, upstream):
    headers = {"openai-organization": "org-1", "cookie": "a=b", "x-stainless-lang": "python"}
    asked, _ = await send(mesh, upstream, "chat", "plain", headers=headers)
    assert not set(headers) & set(asked.headers)
    assert mesh.token not in str(asked.headers)


# --- successors ------------------------------------------------------------------------------------------


async def test_a_retired_models_request_is_fitted_to_its_successor(mesh, upstream):
    body = {"model": "gpt-4", "temperature": 0.2, "max_tokens": 9}
    asked, answer = await send(mesh, upstream, "chat", "openai", **body)
    assert asked.json == {"model": "gpt-5.6-sol", "messages": HI, "max_completion_tokens": 9}
    assert "gpt-4 was retired" in answer.headers["mesh-warnings"]
    assert "temperature" in answer.headers["mesh-warnings"]
    thinking = {"type": "enabled", "budget_tokens": 3000}
    body = {"model": "claude-3-7-sonnet-20250219", "thinking": thinking, "top_k": 5, "max_tokens": 200_000}
    asked, answer = await send(mesh, upstream, "messages", "anthropic", **body)
    assert asked.json["model"] == "claude-sonnet-5-5"
    assert (asked.json["thinking"]["type"], asked.json["output_config"]) == ("adaptive", {"effort": "medium"})
    assert asked.json["max_tokens"] == 128_000
    assert "top_k" not in asked.json


@pytest.mark.parametrize(
    "more",
    [
        {"thinking": "on"},
        {"thinking": [1]},
        {"thinking": {"type": "enabled", "budget_tokens": "x"}},
        {"output_config": 5, "thinking": {"type": "enabled"}},
    ],
)
async def test_a_request_that_can_not_be_fitted_is_refused(mesh, upstream, more):
    asked, answer = await send(mesh, upstream, "messages", "anthropic", model="claude-3-7-sonnet-20250219", **more)
    assert (answer.status, asked) == (400, None)


@pytest.mark.parametrize("depth", [100, 900, 990, 2000, 20_000])
async def test_nesting_is_an_answer_or_a_refusal(mesh, depth):
    deep = '{"\\u0061":' * depth + "1" + "}" * depth
    for surface in ("chat", "messages"):
        for model in ("claude-haiku-5-5", "plain-model"):
            part = '{"type": "text", "text": "x", "more": ' + deep + "}"
            body = f'{{"model": "{model}", "max_tokens": 5, "messages": [{{"role": "user", "content": [{part}]}}]}}'
            answer = await mesh.call("POST", SURFACES[surface][0], body.encode())
            assert answer.status in {200, 400}, answer.body
    nested = '{"type": "tool_result", "tool_use_id": "t", "content": [' * depth + "]}" * depth
    tools = '{"type": "function", "function": {"name": "f", "parameters": ' + '{"a":' * depth + "1" + "}" * depth + "}}"
    for path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions"):
        for model in ("plain-model", "gpt-6.1-sol"):
            more = f'"messages": [{{"role": "user", "content": [{nested}]}}]' if "messages" in path else ""
            more = more or f'"messages": [{{"role": "user", "content": "x"}}], "tools": [{tools}]'
            answer = await mesh.call("POST", path, f'{{"model": "{model}", "max_tokens": 5, {more}}}'.encode())
            assert answer.status in {200, 400}, answer.body


async def test_a_current_models_request_is_not_touched(mesh, upstream):
    body = {"temperature": 0.2, "max_tokens": 9, "made_up": [1, {"a": None}]}
    asked, _ = await send(mesh, upstream, "chat", "openai", **body)
    assert asked.json == {"model": "gpt-5.6-sol", "messages": HI, **body}


@pytest.mark.parametrize(("surface", "status"), [("mesh", 400), ("chat", 404), ("responses", 404), ("messages", 404)])
async def test_strict_models_refuses_a_retired_name(mesh, upstream, surface, status):
    asked, answer = await send(mesh, upstream, surface, "openai", model="gpt-4", strict_models=True)
    assert answer.status == status
    assert "gpt-5.6-sol" in answer.json["error"]["message"]
    assert asked is None


async def test_strict_models_can_be_the_servers_own_rule(tmp_path, monkeypatch, upstream):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text("strict_models = true\n" + CONFIG.format(url=upstream.url))
    made = await open_mesh(tmp_path, MESH_CONFIG=str(tmp_path / "c.toml"))
    try:
        assert (
            await made.call("POST", SURFACES["mesh"][0], {"model": "gpt-4", "message": "hi"})
        ).code == "model_retired"
        body = {"model": "gpt-4", "message": "hi", "strict_models": False}
        assert (await made.call("POST", SURFACES["mesh"][0], body)).status == 200
    finally:
        await made.services.close()


# --- what a provider keeps -------------------------------------------------------------------------------

FILE = {"type": "input_file", "file_id": "file-1"}
STATE = [
    ("responses", "openai", {"previous_response_id": "resp_1"}),
    ("responses", "openai", {"conversation": "conv_1"}),
    ("responses", "openai", {"prompt": {"id": "p"}}),
    ("responses", "openai", {"background": True}),
    ("responses", "openai", {"input": [{"role": "user", "content": [FILE]}]}),
    ("responses", "openai", {"input": [{"type": "item_reference", "id": "x"}]}),
    ("responses", "openai", {"tools": [{"type": "file_search", "vector_store_ids": ["vs"]}]}),
    ("responses", "openai", {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}),
    ("chat", "openai", {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}),
    ("messages", "anthropic", {"container": "c"}),
    (
        "messages",
        "anthropic",
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]}]},
    ),
]


@pytest.mark.parametrize(("surface", "kind", "more"), STATE)
async def test_state_of_the_shared_key_is_refused_and_of_an_own_key_is_not(mesh, upstream, surface, kind, more):
    asked, answer = await send(mesh, upstream, surface, kind, **more)
    assert answer.status == 400
    assert "shared by many accounts" in answer.json["error"]["message"]
    assert asked is None
    await mesh.call("PUT", f"/api/v1/keys/{kind}_key", {"value": "sk-mine"})
    asked, answer = await send(mesh, upstream, surface, kind, **more)
    assert answer.status == 200
    assert {name: asked.json[name] for name in more} == more


async def test_an_escaped_name_hides_nothing(mesh, upstream):
    path, _ = SURFACES["responses"]
    hidden = b'{"type": "input_file", "file\\u005fid": "x"}'
    raw = b'{"model": "gpt-5.6-sol", "input": [{"role": "user", "content": [' + hidden + b"]}]}"
    answer = await mesh.call("POST", path, raw)
    assert answer.status == 400
    assert not upstream.asked


async def test_words_of_the_callers_own_tools_are_no_state(mesh, upstream):
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"file_id": "mine"}}
    messages = [
        *HI,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
    ]
    tools = [{"name": "f", "input_schema": {"type": "object", "properties": {"file_id": {"type": "string"}}}}]
    _, answer = await send(mesh, upstream, "messages", "anthropic", messages=messages, tools=tools)
    assert answer.status == 200


@pytest.mark.parametrize("asked_for", [None, True, False])
async def test_nothing_is_stored_under_the_shared_key(mesh, upstream, asked_for):
    more = {} if asked_for is None else {"store": asked_for}
    asked, answer = await send(mesh, upstream, "responses", "openai", **more)
    assert asked.json["store"] is False
    assert ("store" in answer.headers.get("mesh-warnings", "")) == (asked_for is True)
    await mesh.call("PUT", "/api/v1/keys/openai_key", {"value": "sk-mine"})
    asked, _ = await send(mesh, upstream, "responses", "openai", **more)
    assert asked.json.get("store") is asked_for


# --- Mesh chat -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "more", "expected"),
    [
        ("claude-haiku-4-5", {"thinking": True}, {"thinking": {"type": "enabled", "budget_tokens": 4000}}),
        ("claude-haiku-4-5", {"thinking_budget": 2000, "max_tokens": 100}, {"max_tokens": 6096}),
        ("claude-haiku-5-5", {"thinking": True}, {"thinking": {"type": "adaptive", "display": "summarized"}}),
        ("claude-haiku-5-5", {"thinking": False}, {"thinking": {"type": "disabled"}}),
        ("gpt-5.6-sol", {"thinking": True}, {"reasoning_effort": "medium"}),
        ("gpt-5.6-sol", {"thinking": False}, {"reasoning_effort": "none"}),
        ("gpt-5.6-sol", {"max_tokens": 5, "temperature": 1}, {"max_completion_tokens": 5}),
    ],
)
async def test_mesh_chat_is_fitted_to_every_model(mesh, upstream, model, more, expected):
    asked, answer = await send(mesh, upstream, "mesh", "openai", model=model, **more)
    assert answer.status == 200
    assert {name: asked.json.get(name) for name in expected} == expected
    assert not {"thinking_budget", "temperature"} & set(asked.json)


async def test_mesh_chat_tells_cost_tokens_and_thinking(mesh, upstream):
    async def script(exchange):
        content = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "Hello"}]
        usage = {"input_tokens": 1000, "cache_read_input_tokens": 500, "output_tokens": 100}
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-5-5",
            "stop_reason": "end_turn",
        }
        await exchange.answer(200, {**message, "content": content, "usage": usage})

    upstream.script = script
    _, answer = await send(mesh, upstream, "mesh", "anthropic", thinking=True)
    body = answer.json
    assert (body["thinking"], body["provider"], body["success"]) == ("hm", "anthropic", True)
    assert body["choices"][0]["message"]["content"] == "Hello"
    assert (body["usage"]["input_tokens"], body["usage"]["cached_tokens"], body["usage"]["prompt_tokens"]) == (
        1500,
        500,
        1500,
    )
    assert body["cost_usd"] == 0.000155  # 1,000 at 0.10, 500 cached at 0.01, 100 at 0.50 dollars a million
    assert answer.headers["mesh-route"] == "anthropic/claude-haiku-5-5"
    assert any("effort" in warning for warning in body["warnings"])


async def test_what_has_no_known_price_has_no_cost(mesh, upstream):
    _, answer = await send(mesh, upstream, "mesh", "plain")
    assert answer.json["cost_usd"] is None
    assert answer.json["usage"]["total_tokens"] == 5
