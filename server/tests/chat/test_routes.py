"""Chat through the whole server to a provider on a socket: what goes there, what comes back, and every fault."""

import asyncio
import json

import pytest

from mesh_server.chat.upstream import pool

from ..conftest import open_mesh
from .upstream import LAST, USAGE, chunk, completion

MESH, OPENAI = "/api/v1/chat/completions", "/v1/chat/completions"
ASK = {"model": "m-1", "messages": [{"role": "user", "content": "hi"}]}
SECRET = "sk-acme-secret-1234"


def events(answer):
    """Return the data of a stream's events."""
    return [line[6:] for line in answer.body.decode().split("\n") if line.startswith("data: ")]


def scripted(upstream):
    def use(script):
        upstream.script = script

    return use


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
    ],
)
async def test_a_body_that_does_not_fit_mesh_chat_is_refused(mesh, upstream, body):
    answer = await mesh.call("POST", MESH, body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert not upstream.asked


@pytest.mark.parametrize("extra", [{"thinking": True}, {"thinking_budget": 1000}])
async def test_thinking_is_refused_and_not_ignored(mesh, upstream, extra):
    answer = await mesh.call("POST", MESH, {**ASK, **extra})
    assert (answer.status, answer.code) == (400, "unsupported_feature")
    assert not upstream.asked


async def test_null_means_that_nothing_was_said(mesh, upstream):
    nothing = {"tools": None, "temperature": None, "thinking": None, "provider": None, "stream": None, "message": None}
    assert (await mesh.call("POST", MESH, {**ASK, **nothing})).status == 200
    assert upstream.asked[0].json == ASK


@pytest.mark.parametrize(("surface", "status"), [(MESH, 400), (OPENAI, 404)])
async def test_an_unknown_model_is_told_with_near_ones(mesh, surface, status):
    answer = await mesh.call("POST", surface, {**ASK, "model": "m-11"})
    assert (answer.status, answer.json["error"]["code"]) == (status, "model_not_found")
    assert "m-1" in answer.json["error"]["message"]


# --- streams ---


async def test_a_mesh_stream_ends_with_what_was_spent(mesh, upstream):
    async def script(exchange):
        assert exchange.json["stream_options"] == {"include_usage": True}
        await exchange.stream(chunk("Hel"), chunk("lo"), chunk(finish="stop"), LAST)

    upstream.script = script
    answer = await mesh.call("POST", MESH, {**ASK, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    *pieces, last, done = events(answer)
    assert [json.loads(piece)["choices"][0]["delta"].get("content") for piece in pieces] == ["Hel", "lo", None]
    last = json.loads(last)
    assert (last["choices"], last["usage"], last["provider"], last["model"]) == ([], USAGE, "acme", "m-1")
    assert last["request_id"] == answer.headers["x-request-id"]
    assert done == "[DONE]"
    assert answer.whole


@pytest.mark.parametrize("asked", [None, {"include_usage": False}, {"include_usage": True, "x": 1}])
async def test_usage_goes_only_to_who_asked_for_it(mesh, upstream, asked):
    async def script(exchange):
        assert exchange.json["stream_options"]["include_usage"] is True
        await exchange.stream(chunk("a"), chunk(finish="stop"), LAST)

    upstream.script = script
    answer = await mesh.call("POST", OPENAI, {**ASK, "stream": True, "stream_options": asked})
    shown = any('"choices": []' in event for event in events(answer))
    assert shown == bool(asked and asked["include_usage"])
    assert events(answer)[-1] == "[DONE]"


async def test_pieces_are_cut_anywhere_and_still_whole(mesh, upstream):
    content = b": hello\r\n\r\n"
    for piece in (chunk("a€b"), chunk(finish="stop")):
        content += b"event: x\r\ndata:" + json.dumps(piece, ensure_ascii=False).encode() + b"\r\n\r\n"
    content += b"data: [DONE]\n\n"

    async def script(exchange):
        await exchange.head(200, content_type="text/event-stream", connection="close")
        for start in range(0, len(content), 7):
            await exchange.send(content[start : start + 7])
            await asyncio.sleep(0)

    upstream.script = script
    answer = await mesh.call("POST", OPENAI, {**ASK, "stream": True})
    assert json.loads(events(answer)[0])["choices"][0]["delta"]["content"] == "a€b"


async def test_a_stream_without_done_is_complete_if_it_has_its_reason_to_finish(mesh, upstream):
    async def script(exchange):
        await exchange.stream(chunk("a"), chunk(finish="stop"), done=False)

    upstream.script = script
    assert events(await mesh.call("POST", OPENAI, {**ASK, "stream": True}))[-1] == "[DONE]"


async def ends_early(exchange):
    await exchange.stream(chunk("a"), done=False)


async def is_reset(exchange):
    await exchange.stream(chunk("a"), done=False)
    await asyncio.sleep(0.05)
    exchange.reset()


async def sends_nonsense(exchange):
    await exchange.stream(chunk("a"), b"data: {nonsense\n\n")


async def sends_an_error(exchange):
    await exchange.stream(chunk("a"), {"error": {"message": "overloaded, key sk-abcdefghijkl", "type": "server_error"}})


async def sends_a_giant(exchange):
    await exchange.stream(chunk("a"), done=False)
    for _ in range(10):
        await exchange.send(b"data: " + b"x" * 1024 * 1024)


async def breaks_a_chunk_off(exchange):
    await exchange.head(200, content_type="text/event-stream", transfer_encoding="chunked")
    data = b"data: " + json.dumps(chunk("a")).encode() + b"\n\n"
    await exchange.send(f"{len(data):x}\r\n".encode() + data + b"\r\nffff\r\nhalf")
    exchange.writer.close()


FAULTS = [ends_early, is_reset, sends_nonsense, sends_an_error, sends_a_giant, breaks_a_chunk_off]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("surface", [MESH, OPENAI])
async def test_a_stream_that_breaks_off_ends_with_an_error_and_without_done(mesh, upstream, surface, fault):
    upstream.script = fault
    answer = await mesh.call("POST", surface, {**ASK, "stream": True})
    data = events(answer)
    assert data[-1] != "[DONE]"
    failure = json.loads(data[-1])
    assert failure["error"]["code"] == "provider_failed"
    assert "acme" in failure["error"]["message"]
    assert "sk-abc" not in answer.body.decode()
    assert answer.whole
    if surface == MESH:
        assert failure["request_id"] == answer.headers["x-request-id"]
        assert failure["error"]["troubleshooting"]
    else:
        assert failure["error"].keys() == {"message", "type", "param", "code"}


async def test_a_stream_that_falls_silent_is_given_up(mesh, upstream):
    async def script(exchange):
        await exchange.stream(chunk("a"), done=False)
        await asyncio.sleep(30)

    upstream.script = script
    mesh.services.chat._pool._idle_s = 0.3
    answer = await mesh.call("POST", MESH, {**ASK, "stream": True})
    assert json.loads(events(answer)[-1])["error"]["code"] == "provider_timeout"


async def test_a_failure_before_the_first_piece_is_an_answer_of_its_own(mesh, upstream):
    async def script(exchange):
        await exchange.answer(429, {"error": {"message": "slow down"}}, retry_after="7")

    upstream.script = script
    answer = await mesh.call("POST", MESH, {**ASK, "stream": True})
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, "provider_rate_limited", "7")


async def test_a_whole_answer_in_place_of_a_stream_is_an_error(mesh, upstream):
    answer = await mesh.call("POST", MESH, {**ASK, "stream": True})
    assert (answer.status, answer.code) == (502, "provider_failed")


async def test_a_client_that_hangs_up_cancels_the_call(mesh, upstream):
    stopped = asyncio.Event()

    async def script(exchange):
        await exchange.stream(chunk("a"), done=False)
        try:
            while True:
                await exchange.event(chunk("b"))
                await asyncio.sleep(0.01)
        finally:
            stopped.set()

    upstream.script = script
    hung_up = asyncio.Event()
    sent = []

    async def receive():
        if not sent:
            sent.append(1)
            return {"type": "http.request", "body": json.dumps({**ASK, "stream": True}).encode(), "more_body": False}
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message.get("body"):
            hung_up.set()

    scope = {
        "type": "http",
        "method": "POST",
        "path": MESH,
        "raw_path": MESH.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {mesh.token}".encode())],
    }
    await asyncio.wait_for(mesh.app(scope, receive, send), 5)
    await asyncio.wait_for(stopped.wait(), 5)


async def test_a_slow_reader_slows_the_provider_down(mesh, upstream):
    written = 0

    async def script(exchange):
        nonlocal written
        await exchange.stream(chunk("a"), done=False)
        piece = b"data: " + json.dumps(chunk("x" * 60_000)).encode() + b"\n\n"
        for _ in range(2000):  # 120 MB
            await exchange.send(piece)
            written += len(piece)

    upstream.script = script
    reading = asyncio.Event()
    sent = []

    async def receive():
        if not sent:
            sent.append(1)
            return {"type": "http.request", "body": json.dumps({**ASK, "stream": True}).encode(), "more_body": False}
        await reading.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message.get("body"):
            await reading.wait()

    scope = {
        "type": "http",
        "method": "POST",
        "path": OPENAI,
        "raw_path": OPENAI.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {mesh.token}".encode())],
    }
    serving = asyncio.ensure_future(mesh.app(scope, receive, send))
    before = -1
    while written != before:
        before = written
        await asyncio.sleep(0.3)
    assert written < 40_000_000  # what sockets hold, not the stream
    reading.set()
    await asyncio.wait_for(serving, 5)


# --- what a provider's failure means ---


@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (400, {"error": {"message": "bad temperature"}}, 400, "provider_rejected"),
        (401, {"error": {"message": f"Incorrect API key: {SECRET}"}}, 424, "provider_auth_failed"),
        (403, {"error": {"message": f"Key {SECRET} may not"}}, 424, "provider_auth_failed"),
        (402, {}, 402, "provider_quota_exceeded"),
        (
            404,
            {"error": {"message": "The model m-1 does not exist", "code": "model_not_found"}},
            400,
            "model_not_found",
        ),
        (404, b"<html>not found</html>", 400, "provider_rejected"),
        (422, {"detail": "x"}, 400, "provider_rejected"),
        (429, {"error": {"code": "rate_limit_exceeded"}}, 429, "provider_rate_limited"),
        (429, {"error": {"code": "insufficient_quota"}}, 402, "provider_quota_exceeded"),
        (500, b"", 502, "provider_failed"),
        (502, b"<html>", 502, "provider_failed"),
        (503, {"error": "plain text"}, 503, "provider_unavailable"),
        (529, {"error": {"message": "overloaded"}}, 503, "provider_unavailable"),
        (301, b"", 502, "provider_failed"),
        (204, b"", 502, "provider_failed"),
        (200, b"", 502, "provider_failed"),
        (200, b"<html>", 502, "provider_failed"),
        (200, {"hello": "world"}, 502, "provider_failed"),
        (200, [1], 502, "provider_failed"),
    ],
)
@pytest.mark.parametrize("surface", [MESH, OPENAI])
async def test_a_providers_failure_keeps_its_meaning(mesh, upstream, surface, status, body, expected, code):
    async def script(exchange):
        await exchange.answer(status, body, location="http://127.0.0.1:1/elsewhere")

    upstream.script = script
    answer = await mesh.call("POST", surface, ASK)
    error = answer.json["error"]
    if surface == MESH:
        assert (answer.status, error["code"]) == (expected, code)
    else:
        assert answer.status == {"model_not_found": 404, "provider_quota_exceeded": 429}.get(code, expected)
        assert answer.headers["x-should-retry"] in {"true", "false"}
    assert "acme" in error["message"]
    assert SECRET not in answer.body.decode()
    assert len(upstream.asked) == 1


async def test_a_provider_that_is_not_there_is_unavailable(mesh, upstream):
    await upstream.stop()
    answer = await mesh.call("POST", MESH, ASK)
    assert (answer.status, answer.code) == (503, "provider_unavailable")


async def test_a_provider_that_never_answers_is_given_up(mesh, upstream):
    async def script(_exchange):
        await asyncio.sleep(30)

    upstream.script = script
    mesh.services.chat._pool._idle_s = 0.3
    answer = await mesh.call("POST", MESH, ASK)
    assert (answer.status, answer.code) == (504, "provider_timeout")


async def test_an_answer_without_end_is_given_up(mesh, upstream, monkeypatch):
    monkeypatch.setattr(pool.UpstreamAnswer.read, "__defaults__", (100_000,))

    async def script(exchange):
        await exchange.answer(200, completion("x" * 200_000))

    upstream.script = script
    answer = await mesh.call("POST", MESH, ASK)
    assert (answer.status, answer.code) == (502, "provider_failed")


async def test_an_answer_that_is_cut_short_is_an_error(mesh, upstream):
    async def script(exchange):
        await exchange.head(200, content_type="application/json", content_length="1000")
        await exchange.send(b'{"id": "half')
        exchange.writer.close()

    upstream.script = script
    answer = await mesh.call("POST", MESH, ASK)
    assert (answer.status, answer.code) == (502, "provider_failed")


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
