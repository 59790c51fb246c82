"""Trying again, falling back, leaving alone: only where nothing was executed, and visible to the caller."""

import asyncio
import time

import pytest

from mesh_server.chat.attempts import Attempts, Breaker, Patience
from mesh_server.chat.upstream import direct
from mesh_server.chat.upstream.direct import Direct
from mesh_server.errors import (
    ProviderFailed,
    ProviderKeyMissing,
    ProviderRateLimited,
    ProviderRejected,
    ProviderUnavailable,
)

from .kinds import HI, answer_well

QUICK = Patience(tries=3, backoff_s=0.01, most_wait_s=0.2, failures=3, rest_s=0.3)
PATH = "/v1/chat/completions"


@pytest.fixture
def mesh(mesh):
    mesh.services.chat._attempts = Attempts(QUICK)
    return mesh


def failing(times, status, body=None, **headers):
    """Return a script that fails so often, then answers."""
    seen = []

    async def script(exchange):
        seen.append(exchange)
        if len(seen) <= times:
            await exchange.answer(status, body or {"error": {"message": "no"}}, **headers)
        else:
            await answer_well(exchange)

    return script


@pytest.mark.parametrize("status", [429, 503, 529])
@pytest.mark.parametrize("streams", [False, True])
async def test_what_was_not_executed_is_tried_again(mesh, upstream, status, streams):
    upstream.script = failing(2, status, retry_after="0.01")
    answer = await mesh.call("POST", PATH, {"model": "plain-model", "messages": HI, "stream": streams})
    assert answer.status == 200
    assert len(upstream.asked) == 3
    assert answer.headers["mesh-route"] == "plain/plain-model"


@pytest.mark.parametrize("streams", [False, True])
async def test_a_connection_that_is_gone_before_anything_was_written_is_tried_again(
    mesh, upstream, monkeypatch, streams
):
    take, taken = Direct.take, []

    async def gone_once(direct, *arguments):
        taken.append(await take(direct, *arguments))
        if len(taken) == 1:
            taken[0].abort()
        return taken[-1]

    monkeypatch.setattr(Direct, "take", gone_once)
    answer = await mesh.call("POST", PATH, {"model": "plain-model", "messages": HI, "stream": streams})
    assert answer.status == 200
    assert (len(taken), len(upstream.asked)) == (2, 1)


@pytest.mark.parametrize("streams", [False, True])
async def test_a_connection_that_breaks_after_the_request_is_not(mesh, upstream, streams):
    async def script(exchange):
        exchange.reset()

    upstream.script = script
    answer = await mesh.call("POST", PATH, {"model": "plain-model", "messages": HI, "stream": streams})
    assert answer.status == 502
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500, 502, 504])
async def test_what_may_have_been_executed_is_not(mesh, upstream, status):
    upstream.script = failing(1, status)
    answer = await mesh.call("POST", PATH, {"model": "plain-model", "messages": HI})
    assert answer.status != 200
    assert len(upstream.asked) == 1


@pytest.mark.parametrize(("status", "word", "count"), [(500, "true", 2), (503, "false", 1), (429, "false", 1)])
async def test_the_provider_itself_knows_best(mesh, upstream, status, word, count):
    upstream.script = failing(1, status, x_should_retry=word, retry_after="0.01")
    await mesh.call("POST", PATH, {"model": "plain-model", "messages": HI})
    assert len(upstream.asked) == count


async def test_after_our_own_tries_the_clients_are_told_not_to(mesh, upstream):
    upstream.script = failing(9, 429, retry_after="0.01")
    answer = await mesh.call("POST", PATH, {"model": "plain-model", "messages": HI})
    assert (answer.status, answer.headers["x-should-retry"]) == (429, "false")
    assert len(upstream.asked) == 3


async def test_a_wait_that_is_too_long_is_handed_to_the_caller(mesh, upstream):
    upstream.script = failing(1, 429, retry_after="30")
    answer = await mesh.call("POST", PATH, {"model": "plain-model", "messages": HI})
    assert (answer.status, answer.headers["retry-after"], answer.headers["x-should-retry"]) == (429, "30", "true")
    assert len(upstream.asked) == 1


async def test_a_wait_beyond_the_callers_time_is_not_begun(mesh, upstream):
    upstream.script = failing(1, 429, retry_after="0.15")
    body = {"model": "plain-model", "messages": HI}
    answer = await mesh.call("POST", PATH, body, headers={"mesh-timeout": "0.1"})
    assert answer.status == 429
    assert len(upstream.asked) == 1


async def test_no_quota_is_not_waited_for(mesh, upstream):
    upstream.script = failing(1, 429, {"error": {"code": "insufficient_quota"}}, retry_after="0.01")
    await mesh.call("POST", PATH, {"model": "plain-model", "messages": HI})
    assert len(upstream.asked) == 1


# --- routes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 402, 404, 429, 500, 503])
@pytest.mark.parametrize(
    ("path", "body"), [(PATH, {"messages": HI}), ("/v1/messages", {"messages": HI, "max_tokens": 9})]
)
@pytest.mark.parametrize("streams", [False, True])
async def test_the_next_target_answers_and_the_hop_is_told(mesh, upstream, status, path, body, streams):
    async def script(exchange):
        if exchange.json["model"] == "plain-model":
            await exchange.answer(status, {"error": {"message": "no such model"}}, retry_after="30")
        else:
            await answer_well(exchange)

    upstream.script = script
    answer = await mesh.call("POST", path, {**body, "model": "ours", "stream": streams})
    assert answer.status == 200
    assert answer.headers["mesh-route"] == "plain/plain-model, openai/gpt-5.6-sol"
    assert "Hello" in answer.body.decode() or "lo" in answer.body.decode()


@pytest.mark.parametrize("status", [400, 422])
async def test_a_bad_request_is_bad_everywhere(mesh, upstream, status):
    upstream.script = failing(9, status)
    await mesh.call("POST", PATH, {"model": "ours", "messages": HI})
    assert len(upstream.asked) == 1


async def test_the_last_failure_is_told_when_all_fail(mesh, upstream):
    upstream.script = failing(99, 500)
    answer = await mesh.call("POST", PATH, {"model": "ours", "messages": HI})
    assert answer.status == 502
    assert "anthropic" in answer.json["error"]["message"]
    assert [exchange.json["model"] for exchange in upstream.asked] == ["plain-model", "gpt-5.6-sol", "claude-haiku-5-5"]


async def test_after_the_first_piece_nobody_else_is_asked(mesh, upstream):
    async def script(exchange):
        await exchange.stream(b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n', done=False)

    upstream.script = script
    answer = await mesh.call("POST", PATH, {"model": "ours", "messages": HI, "stream": True})
    assert answer.status == 200
    assert '"error"' in answer.body.decode()
    assert len(upstream.asked) == 1


async def test_an_error_in_the_place_of_the_first_piece_lets_others_answer(mesh, upstream):
    async def script(exchange):
        if exchange.json["model"] == "plain-model":
            await exchange.stream(b'data: {"error": {"message": "sorry"}}\n\n', done=False)
        else:
            await answer_well(exchange)

    upstream.script = script
    answer = await mesh.call("POST", PATH, {"model": "ours", "messages": HI, "stream": True})
    assert "[DONE]" in answer.body.decode()
    assert len(upstream.asked) == 2


async def test_a_named_provider_is_not_the_route(mesh, upstream):
    answer = await mesh.call("POST", "/api/v1/chat/completions", {"model": "ours", "provider": "plain", "messages": HI})
    assert answer.headers["mesh-route"] == "plain/ours"


# --- left alone ------------------------------------------------------------------------------------------


async def test_a_provider_that_fails_repeatedly_is_left_alone_and_probed(mesh, upstream):
    ask = {"model": "plain-model", "messages": HI}
    upstream.script = failing(3, 500)
    for _ in range(3):
        await mesh.call("POST", PATH, ask)
    answer = await mesh.call("POST", PATH, ask)
    assert (answer.status, answer.json["error"]["code"]) == (503, "provider_unavailable")
    assert len(upstream.asked) == 3
    assert (await mesh.call("POST", PATH, {**ask, "model": "gpt-5.6-sol"})).status == 200  # others are not concerned
    await asyncio.sleep(QUICK.rest_s + 0.05)
    assert (await mesh.call("POST", PATH, ask)).status == 200
    assert (await mesh.call("POST", PATH, ask)).status == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (PATH, {"model": "plain-model", "messages": HI}, 503, "server_overloaded"),
        ("/api/v1/chat/completions", {"model": "plain-model", "messages": HI}, 503, "server_overloaded"),
        ("/v1/messages", {"model": "plain-model", "messages": HI, "max_tokens": 9}, 529, "overloaded_error"),
    ],
)
async def test_a_full_house_does_not_speak_against_the_provider(mesh, upstream, monkeypatch, path, body, status, code):
    monkeypatch.setattr(direct, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(direct, "CONNECT_S", 0.02)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def script(exchange):
        if not asked.is_set():
            asked.set()
            await go_on.wait()
        await answer_well(exchange)

    upstream.script = script
    under_way = asyncio.create_task(mesh.call("POST", PATH, {"model": "plain-model", "messages": HI}))
    await asked.wait()
    for _ in range(QUICK.failures + 1):
        refused = await mesh.call("POST", path, body)
        error = refused.json["error"]
        assert (refused.status, error["type"] if status == 529 else error["code"]) == (status, code)
        assert refused.headers["retry-after"] == "1"
    go_on.set()
    assert (await under_way).status == 200
    assert (await mesh.call("POST", path, body)).status == 200
    assert len(upstream.asked) == 2


def test_one_probe_at_a_time():
    breaker = Breaker(Patience(failures=1, rest_s=0.01))
    with pytest.raises(ProviderFailed), breaker.passing("x"):
        raise ProviderFailed("no")
    with pytest.raises(ProviderUnavailable), breaker.passing("x"):
        pytest.fail("it is left alone")
    time.sleep(0.02)
    with breaker.passing("x"), pytest.raises(ProviderUnavailable), breaker.passing("x"):
        pytest.fail("a second probe")
    with breaker.passing("x"):
        pass


@pytest.mark.parametrize("failure", [ProviderRejected("bad"), ProviderRateLimited("slow")])
def test_a_refusal_does_not_speak_against_a_provider(failure):
    breaker = Breaker(Patience(failures=1))
    for _ in range(3):
        with pytest.raises(type(failure)), breaker.passing("x"):
            raise failure


def test_what_fails_before_a_provider_is_asked_says_nothing_of_it():
    breaker = Breaker(Patience(failures=2, rest_s=60))
    for failure in (ProviderFailed("no"), ProviderKeyMissing("none"), ProviderFailed("no")):
        with pytest.raises(type(failure)), breaker.passing("x"):
            raise failure
    with pytest.raises(ProviderUnavailable), breaker.passing("x"):
        pytest.fail("it is left alone")


def test_a_cancelled_probe_leaves_room_for_the_next():
    breaker = Breaker(Patience(failures=1, rest_s=0.0))
    with pytest.raises(ProviderFailed), breaker.passing("x"):
        raise ProviderFailed("no")
    with pytest.raises(asyncio.CancelledError), breaker.passing("x"):
        raise asyncio.CancelledError
    with breaker.passing("x"):
        pass


def test_who_is_left_alone_is_told_until_a_probe_may_go_and_while_it_does():
    breaker = Breaker(Patience(failures=1, rest_s=0.0))
    breaker.leave("acme/m", ProviderUnavailable("no"))
    assert breaker.resting() == []  # the next call is let pass
    breaker.enter("acme/m")
    assert breaker.resting() == ["acme/m"]
    breaker.leave("acme/m", None)
    assert breaker.resting() == []
    patient = Breaker(Patience(failures=1, rest_s=60.0))
    patient.leave("acme/m", ProviderUnavailable("no"))
    assert patient.resting() == ["acme/m"]
