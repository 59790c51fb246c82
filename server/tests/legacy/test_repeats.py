"""Repeats of a slow call: one call of the provider and one charge, whoever hangs up when and on which path."""

import asyncio
import json

import pytest

from mesh_server.accounts.models import EVERYDAY_SCOPES, Principal
from mesh_server.legacy import bodies
from mesh_server.legacy.repeats import repeat_of
from mesh_server.vault import answers

from ..chat.upstream import completion
from .conftest import serving
from .test_chat import AGENT, BETA, SDK, SHARED, chat

#: The paths that `mesh-beta` tries, in its order.
TRIED = [SHARED, "/v1/mesh/chat", SHARED, "/api/v1/completions", SHARED, "/api/v1/completions"]


@pytest.fixture
async def mesh(tmp_path, monkeypatch, upstream, database_url):
    monkeypatch.chdir(tmp_path)
    async with serving(tmp_path, upstream, MESH_DATABASE_URL=database_url) as made:
        yield made


class Slow:
    """A provider that answers when it is told to."""

    def __init__(self, upstream):
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        upstream.script = self.script

    async def script(self, exchange):
        self.asked.set()
        await self.go.wait()
        await exchange.answer(200, completion("At last"))


async def give_up(mesh, path, body, when):
    """Send a request and hang up."""
    waiting = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive():
        if waiting:
            return waiting.pop()
        await when()
        return {"type": "http.disconnect"}

    async def send(_message):
        raise AssertionError("there is nobody to answer")

    headers = {"host": "127.0.0.1", "authorization": f"Bearer {mesh.token}", **AGENT}
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
    await asyncio.wait_for(mesh.app(scope, receive, send), 10)


async def usage(mesh):
    """Return how many calls are accounted for, once what is under way is written."""
    for _ in range(100):
        found = (await mesh.call("GET", "/api/v1/usage")).json["total"]["calls"]
        if found:
            break
        await asyncio.sleep(0.05)
    return found


async def test_twenty_four_tries_that_each_hang_up_cost_one_call(mesh, upstream):
    slow = Slow(upstream)
    for path in TRIED:
        for _ in range(4):
            await give_up(mesh, path, BETA, slow.asked.wait)
            (running,) = mesh.services.chat.once._running.values()
            assert (running.waiting, running.leaving) == (0, None)  # nothing is going to end it
    assert len(upstream.asked) == 1
    slow.go.set()
    answer = await chat(mesh, BETA)
    assert (answer.status, answer.json["choices"][0]["message"]["content"]) == (200, "At last")
    assert answer.headers["idempotency-replayed"] == "true"
    assert len(upstream.asked) == 1
    assert await usage(mesh) == 1
    rows = (await mesh.call("GET", "/api/v1/usage?by=surface")).json["usage"]
    assert [(row["surface"], row["calls"]) for row in rows] == [("legacy", 1)]


async def test_tries_side_by_side_join(mesh, upstream):
    slow = Slow(upstream)
    tries = [asyncio.ensure_future(chat(mesh, BETA, path)) for path in TRIED]
    await slow.asked.wait()
    slow.go.set()
    found = await asyncio.gather(*tries)
    assert {answer.status for answer in found} == {200}
    assert len({answer.body for answer in found}) == 1
    assert len(upstream.asked) == 1
    assert await usage(mesh) == 1


async def test_nobody_waits_and_the_answer_is_there_later(mesh, upstream):
    slow = Slow(upstream)
    await give_up(mesh, TRIED[0], BETA, slow.asked.wait)
    slow.go.set()
    assert (await chat(mesh, BETA)).json["choices"][0]["message"]["content"] == "At last"
    assert len(upstream.asked) == 1


@pytest.mark.parametrize(
    "change",
    [{"messages": [{"role": "user", "content": "ho"}]}, {"model": "m-2"}, {"temperature": 0.1}, {"max_tokens": 5}],
)
async def test_another_question_is_another_call(mesh, upstream, change):
    await chat(mesh, BETA)
    answer = await chat(mesh, BETA | change)
    assert "idempotency-replayed" not in answer.headers
    assert len(upstream.asked) == 2


async def test_another_account_or_token_is_another_call(mesh, upstream):
    await chat(mesh, BETA)
    bob, mine = await mesh.user("bob"), await mesh.user("local")
    await bob("PUT", "/api/v1/keys/acme_key", {"value": "sk-bob"})
    for call in (bob, mine):
        answer = await call("POST", "/v1/mesh/chat", BETA, headers=AGENT)
        assert (answer.status, "idempotency-replayed" in answer.headers) == (200, False)
    assert len(upstream.asked) == 3


async def test_who_lost_the_scope_gets_no_stored_answer(mesh, upstream):
    await chat(mesh, BETA)
    lesser = await mesh.user("local", scopes=EVERYDAY_SCOPES - {"chat"})
    assert (await lesser("POST", "/v1/mesh/chat", BETA, headers=AGENT)).code == "scope_missing"


async def test_after_a_quarter_of_an_hour_it_is_a_question_again(mesh, upstream, monkeypatch):
    await chat(mesh, BETA)
    now = answers.now_us
    monkeypatch.setattr(answers, "now_us", lambda: now() + 15 * 60 * 1_000_000)
    await chat(mesh, BETA)
    assert len(upstream.asked) == 2


@pytest.mark.parametrize(("minutes", "calls"), [(0, 1), (2, 2)])
async def test_a_failure_is_told_to_all_tries_and_not_to_the_next_person(mesh, upstream, monkeypatch, minutes, calls):
    async def script(exchange):
        exchange.reset()  # the provider may have done the work

    upstream.script = script
    first = await chat(mesh, BETA)
    assert first.status == 502
    now = answers.now_us
    monkeypatch.setattr(answers, "now_us", lambda: now() + minutes * 60 * 1_000_000)
    for path in TRIED:
        answer = await chat(mesh, BETA, path)
        assert (answer.status, answer.code) == (502, first.code)
    assert len(upstream.asked) == calls


async def test_a_refusal_is_not_kept(mesh, upstream):
    body = BETA | {"key_name": "late"}
    assert (await chat(mesh, body)).code == "key_not_found"
    await mesh.call("PUT", "/api/v1/keys/late", {"value": "sk-late"})
    assert (await chat(mesh, body)).status == 200


async def test_a_stream_is_its_reader_s_alone(mesh, upstream):
    for _ in range(2):
        answer = await chat(mesh, BETA | {"stream": True})
        assert "idempotency-replayed" not in answer.headers
    assert len(upstream.asked) == 2


async def test_a_key_of_the_caller_s_own_wins(mesh, upstream):
    for key in ("one", "two", "two"):
        await mesh.call("POST", "/v1/mesh/chat", SDK, headers={**AGENT, "idempotency-key": key})
    assert len(upstream.asked) == 2


async def test_mesh_chat_itself_repeats_nothing_unasked(mesh, upstream):
    for _ in range(2):
        await mesh.call("POST", SHARED, {"model": "m-1", "message": "hi"}, headers=AGENT)
    assert len(upstream.asked) == 2


def principal(**changes):
    return Principal(**{"tenant_id": "t", "account_id": "a", "token_id": "k", "scopes": frozenset(), **changes})


def test_what_says_the_same_is_the_same():
    one = bodies.canonical(json.dumps(BETA).encode())
    other = bodies.canonical(json.dumps(dict(reversed(BETA.items())) | {"extra": 1, "max_tokens": None}).encode())
    assert repeat_of(principal(), one) == repeat_of(principal(), other)


@pytest.mark.parametrize(
    "change", [{"account_id": "b"}, {"token_id": None}, {"acting": "s"}, {"account_id": "ak", "token_id": ""}]
)
def test_who_asks_makes_a_difference(change):
    assert repeat_of(principal(**change), b"{}").key != repeat_of(principal(), b"{}").key


def test_a_repeat_is_no_key_that_a_header_can_hold_and_shows_nothing():
    same = repeat_of(principal(), b"secret words")
    assert b"\0" in same.key
    assert "secret" not in repr(same)
