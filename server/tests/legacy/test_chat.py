"""Chat as the published clients ask for it: their bodies, their paths, and answers that they can bear."""

import json

import pytest

from mesh_server.accounts.models import EVERYDAY_SCOPES

from ..chat.upstream import LAST, SECRET, chunk, completion, events

SHARED = "/api/v1/chat/completions"
PATHS = [
    "/v1/mesh/chat",
    "/v1/mesh/chat/completions",
    "/v1/mesh/completions",
    "/v1/mesh/complete",
    "/api/v1/completions",
]
AGENT = {"user-agent": "python-requests/2.32.3"}
TEXT = [{"role": "user", "content": "hi"}]
SYSTEM = {"role": "system", "content": "be"}
#: What `mesh-beta` sends, and `mesh-sdk` from its module functions.
BETA = {"prompt": "hi", "provider": "acme", "model": "m-1", "messages": TEXT, "temperature": 0.7}
SDK = {"model": "m-1", "messages": TEXT, "provider": "acme", "temperature": None, "max_tokens": None, "thinking": None}


async def chat(mesh, body, path="/v1/mesh/chat", **more):
    return await mesh.call("POST", path, body, headers=AGENT, **more)


async def said(mesh, upstream, body, path="/v1/mesh/chat"):
    answer = await chat(mesh, body, path)
    assert answer.status == 200, answer.body
    return upstream.asked[-1].json


@pytest.mark.parametrize("path", [*PATHS, SHARED, "//v1/mesh/chat"])
async def test_the_bodies_of_both_clients_are_taken_and_answered(mesh, upstream, path):
    for body in (BETA, {**SDK, "original_response": True} if path != SHARED else BETA):
        answer = await chat(mesh, body, path)
        assert answer.status == 200
        sent = upstream.asked[-1]
        expected = {"model": "m-1", "messages": TEXT} | ({"temperature": 0.7} if body is BETA else {})
        assert sent.json == expected
        assert sent.headers["authorization"] == f"Bearer {SECRET}"
        found = answer.json
        assert found["choices"][0]["message"]["content"] == "Hello"
        assert (found["success"], found["provider"], found["model"]) == (True, "acme", "m-1")
        assert "message" not in found
        assert "content" not in found


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        ({"prompt": "hi"}, TEXT),
        ({"message": "hi"}, TEXT),
        ({"message": TEXT}, TEXT),
        ({"messages": [], "prompt": "hi"}, TEXT),
        ({"messages": None, "message": "hi", "prompt": None}, TEXT),
        ({"messages": [SYSTEM, *TEXT], "prompt": "other"}, [SYSTEM, *TEXT]),
    ],
)  # fmt: skip
async def test_what_is_said_comes_in_several_members(mesh, upstream, body, messages):
    assert (await said(mesh, upstream, {"model": "m-1", **body}))["messages"] == messages


PNG = "data:image/png;base64,AAAA"
URL = {"type": "image_url", "image_url": {"url": PNG}}
SEE = {"type": "text", "text": "see"}


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": [SEE, {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}}]}, None),
        ({"content": [{"type": "image", "source": {"media_type": "image/png", "data": "AAAA"}}, SEE]}, [URL, SEE]),
        ({"content": [{"type": "image", "source": {"type": "url", "url": PNG}}]}, [URL]),
        ({"parts": [{"text": "see"}, {"inline_data": {"mime_type": "image/png", "data": "AAAA"}}]}, [SEE, URL]),
        ({"content": "lost", "parts": ["see", {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}, [SEE, URL]),
        ({"content": ["see", {"image": {"mime_type": "image/png", "data": "AAAA"}}]}, [SEE, URL]),
        ({"content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}, None),
        ({"content": [{"image": "no"}, 5]}, None),
    ],
)  # fmt: skip
async def test_images_are_told_in_openai_s_words_whoever_s_they_were(mesh, upstream, message, content):
    body = {"model": "m-1", "messages": [{"role": "user", **message}]}
    answer = await chat(mesh, body)
    if content is None and not upstream.asked:
        assert answer.status == 400
        return
    expected = message["content"] if content is None else content
    assert upstream.asked[-1].json["messages"] == [{"role": "user", "content": expected}]


async def test_google_s_word_for_the_assistant_is_understood(mesh, upstream):
    messages = [{"role": "model", "parts": [{"text": "a"}]}, {"role": "user", "parts": [{"text": "b"}]}]
    sent = await said(mesh, upstream, {"model": "m-1", "messages": messages})
    assert [message["role"] for message in sent["messages"]] == ["assistant", "user"]


async def test_members_that_nobody_knows_do_not_go_on(mesh, upstream):
    body = {
        **SDK,
        "original_response": True,
        "generationConfig": {"a": 1},
        "response_format": "dict",
        "images": "x.png",
    }
    sent = await said(mesh, upstream, {**body, "top_p": 0.5, "stop": ["."], "top_k": None})
    assert sent == {"model": "m-1", "messages": TEXT, "top_p": 0.5, "stop": ["."]}


@pytest.mark.parametrize("provider", ["openai", "anthropic", "google", "free", "nobody", "ACME", "", None])
async def test_the_model_is_believed_over_the_provider(mesh, upstream, provider):
    for model in ("m-1", "ours", "acme/m-1"):
        answer = await chat(mesh, {**SDK, "provider": provider, "model": model})
        assert (answer.status, answer.json["provider"]) == (200, "acme")
    assert upstream.asked[1].json["model"] == "m-2"


async def test_a_model_that_nobody_knows_is_the_named_provider_s_to_judge(mesh, upstream):
    assert (await said(mesh, upstream, {**SDK, "provider": "free", "model": "new-1"}))["model"] == "new-1"


@pytest.mark.parametrize("path", [*PATHS, SHARED])
@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"model": "nonsense", "provider": None}, "model_not_found"),
        ({"model": None, "provider": "nobody"}, "provider_not_found"),
        ({"model": "gpt-4o", "provider": "openai"}, "provider_key_missing"),
        ({"key_name": "none"}, "key_not_found"),
        ({"messages": [5]}, "invalid_request"),
        ({"messages": "hi"}, "invalid_request"),
        ({"model": 5}, "invalid_request"),
        ({"stream": "yes"}, "invalid_request"),
        ({"thinking_budget": -1}, "invalid_request"),
    ],
)
async def test_every_path_refuses_in_the_same_words_and_never_with_404(mesh, upstream, path, more, code):
    answer = await chat(mesh, BETA | more, path)
    assert (answer.status, answer.code) == (400, code)
    first = await chat(mesh, BETA | more, PATHS[0])
    assert answer.json["error"] == first.json["error"]
    assert not upstream.asked


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"hi"', b"[" * 5000, b'{"messages":' + b"[" * 5000])
async def test_what_is_no_json_object_is_refused(mesh, body):
    for path in (PATHS[0], SHARED):
        answer = await chat(mesh, body, path)
        assert answer.status == 400
        assert answer.json["success"] is False


@pytest.mark.parametrize("depth", [10, 100, 300, 500, 900])
async def test_no_depth_breaks_anything(mesh, depth):
    body = b'{"model":"m-1","messages":[{"role":"user","content":' + b"[" * depth + b"]" * depth + b"}]}"
    assert (await chat(mesh, body)).status in {200, 400}


@pytest.mark.parametrize(
    "path", [*PATHS, SHARED, "/api/v1/usage", "/api/v1/models", "/v1/mesh/usage", "/v1/mesh/models"]
)
async def test_whoever_is_known_is_never_told_401_or_403(mesh, path):
    lesser = await mesh.user("ann", scopes=EVERYDAY_SCOPES - {"chat"})
    method = "GET" if path.endswith(("usage", "models")) else "POST"
    answer = await lesser(method, path, BETA if method == "POST" else None, headers=AGENT)
    assert (answer.status, answer.code) == (400, "scope_missing")


@pytest.mark.parametrize("path", [SHARED, "/api/v1/usage", "/api/v1/models"])
async def test_everybody_else_is_told_403_where_the_path_is_mesh_s_own(mesh, path):
    lesser = await mesh.user("ann", scopes=EVERYDAY_SCOPES - {"chat"})
    method = "POST" if path == SHARED else "GET"
    assert (await lesser(method, path, BETA if method == "POST" else None)).status == 403


async def test_mesh_chat_itself_is_as_strict_as_ever(mesh, upstream):
    both = {"prompt": "hi", "messages": TEXT, "model": "m-1"}
    assert (await mesh.call("POST", SHARED, both)).code == "invalid_request"
    await mesh.call("POST", SHARED, {"model": "m-1", "messages": TEXT, "extra": 1}, headers=AGENT)
    assert upstream.asked[0].json["extra"] == 1  # a program of somebody's own that uses the same HTTP library


async def test_a_failing_provider_is_told_with_its_own_status(mesh, upstream):
    async def script(exchange):
        await exchange.answer(401, {"error": {"message": "no"}})

    upstream.script = script
    answer = await chat(mesh, BETA)
    assert (answer.status, answer.code) == (424, "provider_auth_failed")


@pytest.mark.parametrize("reason", ["invalid token", "expired", "jwt malformed"])
async def test_a_401_says_why_in_words_that_the_clients_look_for(mesh, reason):
    from mesh_server.errors import TokenExpired, TokenInvalid, TokenMalformed

    kinds = {kind.reason: kind for kind in (TokenInvalid, TokenExpired, TokenMalformed)}

    async def refuse(*_):
        raise kinds[reason]("No.")

    mesh.services.accounts.authenticate = refuse
    for path in (PATHS[0], SHARED, "/auth/profile"):
        answer = await chat(mesh, BETA, path) if "profile" not in path else await mesh.call("GET", path)
        assert answer.status == 401
        assert reason in answer.body.decode()


async def test_an_unknown_path_of_theirs_answers_in_mesh_s_format(mesh):
    answer = await mesh.call("GET", "/v1/mesh/nothing")
    assert (answer.status, answer.json["success"], answer.code) == (404, False, "route_not_found")


# --- answers ---


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": None}, ""),
        ({}, ""),
        ({"content": None, "refusal": "I won't."}, "I won't."),
        ({"content": [{"type": "thinking", "thinking": [SEE]}, SEE, SEE]}, "seesee"),
        ({"content": "x", "reasoning_content": "hm"}, "x"),
    ],
)  # fmt: skip
async def test_content_is_always_text(mesh, upstream, message, content):
    answered = completion()
    answered["choices"][0]["message"] = {"role": "assistant", **message}

    async def script(exchange):
        await exchange.answer(200, answered)

    upstream.script = script
    answer = await chat(mesh, BETA)
    assert answer.json["choices"][0]["message"]["content"] == content
    assert answer.json["thinking"] == ("hm" if "reasoning_content" in message else None)


@pytest.mark.parametrize(
    "answered", [{"choices": []}, {"choices": [5]}, {"choices": [{"text": "x"}]}, {"choices": None}, {}]
)
async def test_an_answer_that_is_none_is_the_provider_s_failure(mesh, upstream, answered):
    async def script(exchange):
        await exchange.answer(200, {**completion(), "choices": None} | answered)

    upstream.script = script
    answer = await chat(mesh, BETA)
    assert (answer.status, answer.code) == (502, "provider_failed")


# --- streams ---


async def test_a_stream_has_no_null_and_no_empty_content(mesh, upstream):
    pieces = [chunk(""), chunk("Hel"), chunk("lo"), chunk(finish="stop"), LAST]
    pieces[3]["choices"][0]["delta"] = {"content": None}

    async def script(exchange):
        await exchange.stream(*pieces)

    upstream.script = script
    answer = await chat(mesh, {"model": "m-1", "messages": TEXT, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.whole
    found = events(answer)
    assert found[-1] == "[DONE]"
    deltas = [choice["delta"] for event in found[:-1] for choice in json.loads(event)["choices"]]
    assert [delta["content"] for delta in deltas if "content" in delta] == ["Hel", "lo"]
    assert json.loads(found[-2])["usage"]["total_tokens"] == 5


async def test_a_stream_that_breaks_does_not_look_complete(mesh, upstream):
    async def script(exchange):
        await exchange.stream(chunk("Hel"), done=False)

    upstream.script = script
    answer = await chat(mesh, {"model": "m-1", "messages": TEXT, "stream": True})
    assert not answer.whole
    assert json.loads(events(answer)[-1])["error"]["code"] == "provider_failed"


async def test_a_stream_that_never_began_is_an_error_of_its_own(mesh):
    answer = await chat(mesh, {"model": "nonsense", "messages": TEXT, "stream": True})
    assert (answer.status, answer.code) == (400, "model_not_found")
