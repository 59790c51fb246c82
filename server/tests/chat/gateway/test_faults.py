"""Every fault of a provider, on every surface, for every kind of provider: the surface's own error, nothing left."""

import asyncio
import gc
import json

import psutil
import pytest

from .kinds import MODELS, SURFACES, cut, error_of, events, whole

SECRETS = ("sk-openai-shared-1234", "sk-ant-shared-1234", "sk-plain-shared-1234")


@pytest.fixture
async def mesh(mesh, upstream):
    """The server, impatient; no task may be left when the test is over."""
    mesh.services.chat._pool._whole_s = mesh.services.chat._pool._idle_s = 0.3
    before = asyncio.all_tasks()
    yield mesh
    left = asyncio.all_tasks() - before - {asyncio.current_task(), *upstream.connections}
    assert not left


def asked(surface, kind, **more):
    path, least = SURFACES[surface]
    return path, {**least, "model": MODELS[kind], **more}


pairs = pytest.mark.parametrize(("surface", "kind"), [(s, k) for s in SURFACES for k in MODELS])


@pairs
async def test_it_answers_and_streams(mesh, surface, kind):
    path, body = asked(surface, kind)
    answer = await mesh.call("POST", path, body)
    assert answer.status == 200, answer.body
    assert "Hello" in answer.body.decode()
    assert answer.headers["mesh-route"].endswith(f"/{MODELS[kind]}")
    answer = await mesh.call("POST", path, {**body, "stream": True})
    said = "".join(_texts(surface, answer))
    assert said == "Hello"
    assert answer.whole
    ends = {
        "mesh": "[DONE]",
        "chat": "[DONE]",
        "responses": '"type":"response.completed"',
        "messages": '"type":"message_stop"',
    }
    assert ends[surface] in answer.body.decode().replace(": ", ":")


def _texts(surface, answer):
    for line in answer.body.decode().split("\n"):
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        data = json.loads(line[6:])
        if surface in {"mesh", "chat"}:
            yield from (choice["delta"].get("content") or "" for choice in data.get("choices", ()))
        elif data["type"] in {"response.output_text.delta", "content_block_delta"}:
            yield data["delta"] if surface == "responses" else data["delta"].get("text", "")


STATUSES = [
    (400, "provider_rejected", (400, 400, 400)),
    (401, "provider_auth_failed", (424, 424, 424)),
    (403, "provider_auth_failed", (424, 424, 424)),
    (402, "provider_quota_exceeded", (402, 429, 402)),
    (404, "model_not_found", (400, 404, 404)),
    (413, "provider_rejected", (400, 413, 413)),
    (422, "provider_rejected", (400, 400, 400)),
    (429, "provider_rate_limited", (429, 429, 429)),
    (500, "provider_failed", (502, 502, 502)),
    (503, "provider_unavailable", (503, 503, 529)),
    (504, "provider_timeout", (504, 504, 504)),
    (529, "provider_unavailable", (503, 503, 529)),
]


@pairs
@pytest.mark.parametrize(
    ("streams", "status", "code", "expected"),
    [*((False, *row) for row in STATUSES), *((True, *row) for row in STATUSES if row[0] in {400, 429, 529})],
)
async def test_a_status_keeps_its_meaning(mesh, upstream, surface, kind, status, code, expected, streams):
    async def script(exchange):
        message = f"the model has had enough of {SECRETS[0]}"
        await exchange.answer(status, {"type": "error", "error": {"type": "x", "message": message}}, retry_after="7")

    upstream.script = script
    path, body = asked(surface, kind, stream=streams)
    answer = await mesh.call("POST", path, body)
    mesh_s, openai_s, anthropic_s = expected
    assert answer.status == {"mesh": mesh_s, "messages": anthropic_s}.get(surface, openai_s)
    found, message = error_of(surface, answer.json)
    names = {"provider_rate_limited": "rate_limit_exceeded", "provider_quota_exceeded": "insufficient_quota"}
    assert found == (names.get(code, code) if surface in {"chat", "responses"} else code)
    assert kind in message
    assert not any(secret in answer.body.decode() for secret in SECRETS)
    if status in {429, 503, 529}:
        assert answer.headers["retry-after"] == "7"
    if surface != "mesh":
        assert answer.headers["x-should-retry"] == ("true" if status == 429 else "false")
    if surface == "messages":
        assert answer.headers["request-id"] == answer.headers["x-request-id"]


# --- broken answers --------------------------------------------------------------------------------------


async def never_answers(_exchange):
    await asyncio.sleep(30)


async def hangs_up(exchange):
    exchange.writer.close()


async def resets(exchange):
    exchange.reset()


async def half_a_header(exchange):
    await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    exchange.writer.close()


async def an_endless_header(exchange):
    await exchange.send(b"HTTP/1.1 200 OK\r\nx-long: ")
    for _ in range(64):
        await exchange.send(b"a" * 65536)


async def no_http(exchange):
    await exchange.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    exchange.writer.close()


async def too_short(exchange):
    content = json.dumps(whole(exchange)).encode()
    await exchange.answer(200, content[:-10], content_length=str(len(content)))
    exchange.writer.close()


async def too_long(exchange):
    content = json.dumps(whole(exchange)).encode()
    await exchange.answer(200, content, content_length=str(len(content) - 10))


async def a_web_page(exchange):
    await exchange.answer(200, b"<html>", content_type="text/html")


async def a_redirect(exchange):
    await exchange.answer(307, b"", location="http://127.0.0.1:1/elsewhere")


WHOLE = [
    never_answers,
    hangs_up,
    resets,
    half_a_header,
    an_endless_header,
    no_http,
    too_short,
    too_long,
    a_web_page,
    a_redirect,
]


@pairs
@pytest.mark.parametrize("fault", WHOLE, ids=lambda fault: fault.__name__)
async def test_a_broken_answer_is_the_providers_failure(mesh, upstream, surface, kind, fault):
    upstream.script = fault
    path, body = asked(surface, kind)
    answer = await asyncio.wait_for(mesh.call("POST", path, body), 10)
    code, message = error_of(surface, answer.json)
    assert code == ("provider_timeout" if fault is never_answers else "provider_failed")
    assert answer.status == (504 if fault is never_answers else 502)
    assert kind in message


# --- broken streams --------------------------------------------------------------------------------------


async def ends_early(exchange):
    await exchange.stream(*cut(exchange), done=False)
    exchange.writer.close()


async def is_reset(exchange):
    await exchange.stream(*cut(exchange), done=False)
    await asyncio.sleep(0.05)
    exchange.reset()


async def falls_silent(exchange):
    await exchange.stream(*cut(exchange), done=False)
    await asyncio.sleep(30)


async def sends_nonsense(exchange):
    await exchange.stream(*cut(exchange), b"event: x\ndata: {broken\n\n", done=False)


async def sends_another_type(exchange):
    await exchange.stream(*cut(exchange), b'event: x\ndata: ["a list"]\n\n', done=False)


async def sends_an_error(exchange):
    event = {"type": "error", "error": {"type": "api_error", "message": f"no more for {SECRETS[0]}"}}
    if exchange.path.endswith("/responses"):
        event = {"type": "error", "code": "server_error", "message": "no more", "sequence_number": 9}
    await exchange.stream(*cut(exchange), f"event: error\ndata: {json.dumps(event)}\n\n".encode(), done=False)


async def breaks_a_chunk_off(exchange):
    await exchange.head(200, content_type="text/event-stream", transfer_encoding="chunked")
    data = b"".join(cut(exchange))
    await exchange.send(f"{len(data):x}\r\n".encode() + data + b"\r\nffff\r\nhalf")
    exchange.writer.close()


STREAMS = [ends_early, is_reset, falls_silent, sends_nonsense, sends_another_type, sends_an_error, breaks_a_chunk_off]


@pairs
@pytest.mark.parametrize("fault", STREAMS, ids=lambda fault: fault.__name__)
async def test_a_broken_stream_ends_with_the_surfaces_error(mesh, upstream, surface, kind, fault):
    upstream.script = fault
    path, body = asked(surface, kind, stream=True)
    answer = await asyncio.wait_for(mesh.call("POST", path, body), 10)
    assert answer.status == 200
    assert answer.whole
    lines = [line for line in answer.body.decode().split("\n") if line]
    assert not any(word in answer.body.decode() for word in ("[DONE]", "message_stop", "response.completed", *SECRETS))
    code, message = error_of(surface, json.loads(lines[-1].removeprefix("data: ")))
    assert code == ("provider_timeout" if fault is falls_silent else "provider_failed")
    assert kind in message
    if surface in {"messages", "responses"}:
        assert lines[-2] == "event: error"


@pairs
async def test_a_slow_first_piece_is_waited_for(mesh, upstream, surface, kind):
    async def script(exchange):
        await asyncio.sleep(0.1)
        await exchange.stream(*events(exchange), done=False)

    upstream.script = script
    path, body = asked(surface, kind, stream=True)
    assert (await mesh.call("POST", path, body)).status == 200


@pairs
@pytest.mark.parametrize("streams", [False, True])
async def test_the_callers_own_time_ends_a_call(mesh, upstream, surface, kind, streams):
    upstream.script = never_answers
    path, body = asked(surface, kind, stream=streams)
    answer = await asyncio.wait_for(mesh.call("POST", path, body, headers={"mesh-timeout": "0.1"}), 5)
    assert answer.status == 504
    assert error_of(surface, answer.json)[0] == "deadline_exceeded"


@pytest.mark.parametrize("surface", SURFACES)
async def test_the_callers_own_time_ends_a_stream_in_its_middle(mesh, upstream, surface):
    upstream.script = falls_silent
    path, body = asked(surface, "plain", stream=True)
    answer = await asyncio.wait_for(mesh.call("POST", path, body, headers={"mesh-timeout": "0.2"}), 5)
    assert answer.status == 200
    last = [line for line in answer.body.decode().split("\n") if line][-1]
    assert error_of(surface, json.loads(last.removeprefix("data: ")))[0] == "deadline_exceeded"


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "1e99"])
@pytest.mark.parametrize("surface", SURFACES)
async def test_a_time_that_is_none_is_refused(mesh, upstream, surface, value):
    path, body = asked(surface, "plain")
    answer = await mesh.call("POST", path, body, headers={"mesh-timeout": value})
    assert answer.status == 400
    assert "mesh-timeout" in error_of(surface, answer.json)[1]
    assert not upstream.asked


async def test_a_hundred_faults_leave_no_connection_behind(mesh, upstream):
    process = psutil.Process()
    path, body = asked("messages", "plain", stream=True)
    counts = []
    for _ in range(2):
        for fault in (ends_early, is_reset, sends_nonsense, sends_an_error, breaks_a_chunk_off) * 10:
            upstream.script = fault
            await mesh.call("POST", path, body)
        gc.collect()
        await asyncio.sleep(0.2)
        counts.append(len(process.net_connections(kind="tcp")))
    assert counts[1] <= counts[0]
    assert upstream.open <= 1
