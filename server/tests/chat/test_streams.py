"""Streams through the whole server: every fault in their middle, who hangs up, who reads slowly."""

import asyncio
import json

import pytest

from .upstream import ASK, LAST, MESH, OPENAI, USAGE, chunk, events


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
    assert (last["choices"], last["provider"], last["model"]) == ([], "acme", "m-1")
    assert last["usage"].items() >= {**USAGE, "input_tokens": 3, "output_tokens": 2}.items()
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


WRONG = [b"data: {nonsense\n\n", b'data: {"error": {"message": "overloaded"}}\n\n']


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_came_before_a_failure_in_the_same_read_is_told_before_it(mesh, upstream, wrong):
    good = b"".join(b"data: " + json.dumps(chunk(letter)).encode() + b"\n\n" for letter in "abc")

    async def script(exchange):
        await exchange.stream(good + wrong + good, done=False)

    upstream.script = script
    *pieces, failure = events(await mesh.call("POST", OPENAI, {**ASK, "stream": True}))
    assert [json.loads(piece)["choices"][0]["delta"]["content"] for piece in pieces] == ["a", "b", "c"]
    assert json.loads(failure)["error"]["code"] == "provider_failed"


async def test_events_that_come_at_once_leave_in_one_piece(mesh, upstream):
    whole = b"".join(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in (chunk("a"), chunk(finish="stop")))

    async def script(exchange):
        await exchange.stream(whole + b"data: [DONE]\n\n" + b"data: {never read}\n\n", done=False)

    upstream.script = script
    answer = await mesh.call("POST", OPENAI, {**ASK, "stream": True})
    assert (len(events(answer)), events(answer)[-1]) == (3, "[DONE]")
    assert answer.whole


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
