"""The same `Idempotency-Key` is one call, whatever becomes of it and of those who wait for it."""

import asyncio
import json

import pytest

from mesh_server.chat import once as once_module
from mesh_server.vault import answers as answers_module

from ..upstream import chunk, completion
from .kinds import HI, MODELS, SURFACES, answer_well
from .spending import events_of, flush

MESH = "/api/v1/chat/completions"
KEY = {"idempotency-key": "the-same"}
ASK = {"model": "gpt-4o", "messages": HI, "max_tokens": 100}


@pytest.fixture
async def mesh(mesh):
    await flush(mesh)
    return mesh


def slowly(answer=answer_well):
    async def script(exchange):
        await asyncio.sleep(0.1)
        await answer(exchange)

    return script


async def test_fifty_at_once_are_one_call_and_fifty_equal_answers(mesh, upstream):
    upstream.script = slowly()
    found = await asyncio.gather(*(mesh.call("POST", MESH, ASK, headers=KEY) for _ in range(50)))
    assert len(upstream.asked) == 1
    assert {(answer.status, answer.body) for answer in found} == {(200, found[0].body)}
    assert sum("idempotency-replayed" in answer.headers for answer in found) == 49
    assert len({answer.headers["mesh-cost-nano"] for answer in found}) == 1
    assert len(await events_of(mesh)) == 1


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("kind", MODELS)
async def test_streams_too(mesh, upstream, surface, kind):
    upstream.script = slowly()
    path, least = SURFACES[surface]
    body = {**least, "model": MODELS[kind], "stream": True}
    found = await asyncio.gather(*(mesh.call("POST", path, body, headers=KEY) for _ in range(8)))
    assert len(upstream.asked) == 1
    assert {(answer.status, answer.body) for answer in found} == {(200, found[0].body)}
    assert {answer.headers["content-type"] for answer in found} == {found[0].headers["content-type"]}
    assert sum("idempotency-replayed" in answer.headers for answer in found) == 7
    assert len(await events_of(mesh)) == 1


async def test_it_is_found_again_later(mesh, upstream):
    first = await mesh.call("POST", MESH, ASK, headers=KEY)
    again = await mesh.call("POST", MESH, ASK, headers=KEY)
    assert again.body == first.body
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(upstream.asked) == 1


@pytest.mark.parametrize(
    ("path", "more", "headers"),
    [
        (MESH, {"max_tokens": 99}, {}),
        (MESH, {"stream": True}, {}),
        ("/v1/chat/completions", {}, {}),
        (MESH, {}, {"anthropic-beta": "x"}),
    ],
)
async def test_another_request_with_its_key_is_422(mesh, upstream, path, more, headers):
    await mesh.call("POST", MESH, ASK, headers=KEY)
    answer = await mesh.call("POST", path, {**ASK, **more}, headers={**KEY, **headers})
    assert (answer.status, answer.code) == (422, "idempotency_mismatch")
    assert len(upstream.asked) == 1


async def test_another_request_with_its_key_is_422_while_the_first_runs(mesh, upstream):
    upstream.script = slowly()
    first = asyncio.create_task(mesh.call("POST", MESH, ASK, headers=KEY))
    await asyncio.sleep(0.05)
    answer = await mesh.call("POST", MESH, {**ASK, "max_tokens": 99}, headers=KEY)
    assert answer.status == 422
    assert (await first).status == 200


async def test_the_key_of_somebody_else_is_another(mesh, upstream):
    other = await mesh.user("bea")
    await mesh.call("POST", MESH, ASK, headers=KEY)
    answer = await other("POST", MESH, {**ASK, "max_tokens": 99}, headers=KEY)
    assert answer.status == 200
    assert "idempotency-replayed" not in answer.headers
    assert len(upstream.asked) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "umlaut-ü"])
async def test_what_is_no_key_is_refused(mesh, upstream, key):
    answer = await mesh.call("POST", MESH, ASK, headers={"idempotency-key": key})
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert upstream.asked == []


async def test_who_leaves_and_comes_again_gets_the_answer(mesh, upstream):
    upstream.script = slowly()

    async def when(_said):
        await until(lambda: upstream.asked)

    await leave_with_key(mesh, ASK, when)
    again = await mesh.call("POST", MESH, ASK, headers=KEY)
    assert again.status == 200
    assert again.headers["idempotency-replayed"] == "true"
    assert len(upstream.asked) == 1
    (event,) = await events_of(mesh)
    assert event.outcome == "ok"


async def test_a_call_that_nobody_comes_back_for_is_given_up_and_not_made_again(mesh, upstream, monkeypatch):
    monkeypatch.setattr(once_module, "GRACE_S", 0.05)
    monkeypatch.setattr("mesh_server.chat.calls.OnceRoutes.answer.__kwdefaults__", {"grace_s": 0.05})

    async def script(exchange):
        await exchange.left()

    upstream.script = script

    async def when(_said):
        await until(lambda: upstream.asked)

    await leave_with_key(mesh, ASK, when)
    await until(lambda: not mesh.services.chat.once._running and not mesh.services.chat.once._tasks)
    upstream.script = answer_well
    again = await mesh.call("POST", MESH, ASK, headers=KEY)
    assert (again.status, again.code) == (409, "outcome_unknown")
    assert len(upstream.asked) == 1
    (event,) = await events_of(mesh)
    assert (event.outcome, event.estimated) == ("cancelled", True)


async def test_a_stream_that_its_reader_leaves_is_not_made_again(mesh, upstream):
    async def script(exchange):
        await exchange.stream(chunk("Hel"), done=False)
        await exchange.left()

    upstream.script = script

    async def when(said):
        await said.wait()

    await leave_with_key(mesh, {**ASK, "stream": True}, when)
    await mesh.services.chat.once.close()
    again = await mesh.call("POST", MESH, {**ASK, "stream": True}, headers=KEY)
    assert (again.status, again.code) == (409, "outcome_unknown")
    assert len(upstream.asked) == 1


async def test_an_answer_that_was_stored_stays_though_its_reader_left_at_the_end(mesh, upstream):
    """The terminal event was being sent: the answer is complete, and must not be replaced by a failure."""

    async def when(said):
        await said.wait()
        while not await stored_answers(mesh):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.005)

    upstream.script = slowly()
    stream = {**ASK, "stream": True}
    await leave_with_key(mesh, stream, when, block_at=b"[DONE]")
    await mesh.services.chat.once.close()
    again = await mesh.call("POST", MESH, stream, headers=KEY)
    assert again.status == 200
    assert b"[DONE]" in again.body
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 429])
async def test_what_was_not_executed_may_be_tried_again(mesh, upstream, status):
    async def script(exchange):
        await exchange.answer(status, {"error": {"message": "no"}}, retry_after="100")

    upstream.script = script
    refused = await mesh.call("POST", MESH, ASK, headers=KEY)
    assert refused.status >= 400
    upstream.script = answer_well
    again = await mesh.call("POST", MESH, ASK, headers=KEY)
    assert again.status == 200
    assert len(upstream.asked) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_what_may_have_been_executed_is_not_tried_again(mesh, upstream, stream):
    async def script(exchange):
        exchange.reset()

    upstream.script = script
    body = {**ASK, "stream": stream}
    first = await mesh.call("POST", MESH, body, headers=KEY)
    await mesh.services.chat.once.close()
    upstream.script = answer_well
    again = await mesh.call("POST", MESH, body, headers=KEY)
    assert (first.status, again.status) == (502, 502)
    assert again.headers["idempotency-replayed"] == "true"
    assert len(upstream.asked) == 1


async def test_a_refusal_after_an_attempt_that_may_have_run_is_kept(mesh, upstream):
    """The last target refused, but the first may have been paid for: a retry would pay it again."""

    async def script(exchange):
        if exchange.path.endswith("/messages"):
            await exchange.answer(401, {"error": {"message": "no"}})
        else:
            exchange.reset()

    upstream.script = script
    body = {"model": "priced", "messages": HI, "max_tokens": 50}
    first = await mesh.call("POST", MESH, body, headers=KEY)
    assert first.status >= 400
    asked = len(upstream.asked)
    upstream.script = answer_well
    again = await mesh.call("POST", MESH, body, headers=KEY)
    assert again.status == first.status
    assert again.headers["idempotency-replayed"] == "true"
    assert len(upstream.asked) == asked


async def test_an_answer_that_is_too_large_is_made_once_and_not_kept(mesh, upstream, monkeypatch):
    monkeypatch.setattr(answers_module, "MOST_BYTES", 50)
    first = await mesh.call("POST", MESH, ASK, headers=KEY)
    assert first.status == 200
    again = await mesh.call("POST", MESH, ASK, headers=KEY)
    assert (again.status, again.code) == (409, "outcome_unknown")
    assert "too large" in again.json["error"]["message"]
    assert len(upstream.asked) == 1


async def test_a_call_that_takes_longer_than_its_answer_is_kept_is_made_once(mesh, upstream, monkeypatch):
    monkeypatch.setattr(mesh.services.chat, "answers_kept_us", 100_000)
    done = asyncio.Event()

    async def script(exchange):
        await done.wait()
        await exchange.answer(200, completion())

    upstream.script = script
    first = asyncio.create_task(mesh.call("POST", MESH, ASK, headers=KEY))
    await until(lambda: upstream.asked)
    await asyncio.sleep(0.15)  # the time for which an answer is kept is over before there is one
    second = asyncio.create_task(mesh.call("POST", MESH, ASK, headers=KEY))
    await asyncio.sleep(0.05)
    await mesh.services.chat.once._answers.purge()
    done.set()
    assert (await first).body == (await second).body
    assert len(upstream.asked) == 1


async def test_who_has_no_more_time_is_told_that_the_first_still_runs(mesh, upstream):
    async def script(exchange):
        await asyncio.sleep(0.4)
        await exchange.answer(200, completion())

    upstream.script = script
    first = asyncio.create_task(mesh.call("POST", MESH, ASK, headers=KEY))
    await asyncio.sleep(0.05)
    answer = await mesh.call("POST", MESH, ASK, headers={**KEY, "mesh-timeout": "0.1"})
    assert (answer.status, answer.code) == (409, "request_in_progress")
    assert (await first).status == 200


async def test_the_end_of_the_server_gives_up_what_nobody_waits_for(mesh, upstream):
    async def script(exchange):
        await exchange.left()

    upstream.script = script

    async def when(_said):
        await until(lambda: upstream.asked)

    await leave_with_key(mesh, ASK, when)
    await mesh.services.chat.once.close()
    (event,) = await events_of(mesh)
    assert event.outcome == "cancelled"


async def until(condition):
    while not condition():  # noqa: ASYNC110 - neither the provider nor the server tells
        await asyncio.sleep(0.005)


async def leave_with_key(mesh, body, when, block_at=None):
    """Send a request with the key, and hang up when `when` is done; `block_at` is never read to its end."""
    said = asyncio.Event()
    waiting = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive():
        if waiting:
            return waiting.pop()
        await when(said)
        return {"type": "http.disconnect"}

    async def send(message):
        if message.get("body"):
            said.set()
            if block_at is not None and block_at in message["body"]:
                await asyncio.Event().wait()

    headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {mesh.token}".encode())]
    headers.append((b"idempotency-key", KEY["idempotency-key"].encode()))
    scope = {"type": "http", "method": "POST", "path": MESH, "raw_path": MESH.encode(), "headers": headers}
    scope["query_string"] = b""
    await asyncio.wait_for(mesh.app(scope, receive, send), 5)


async def stored_answers(mesh):
    """Return how many answers are stored."""
    from sqlalchemy import func, select

    from mesh_server.db.scope import ServerWork
    from mesh_server.vault.models import chat_answers

    async def look(tx):
        return (await tx.one(select(func.count()).where(chat_answers.c.answer.is_not(None))))[0]

    return await mesh.services.database.read(look, ServerWork.VERIFY)
