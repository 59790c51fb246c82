"""What a provider's failure means on each surface."""

import asyncio

import pytest

from mesh_server.chat.upstream import direct

from .upstream import ASK, MESH, OPENAI, SECRET, completion


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
        (500, {"error": {"message": "input (901 tokens) is too large to process"}}, 400, "provider_rejected"),
        (500, {"error": {"message": "Context size has been exceeded."}}, 502, "provider_failed"),  # of another provider
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
    mesh.services.chat._pool._whole_s = 0.3
    answer = await mesh.call("POST", MESH, ASK)
    assert (answer.status, answer.code) == (504, "provider_timeout")


async def test_an_answer_without_end_is_given_up(mesh, upstream, monkeypatch):
    monkeypatch.setattr(direct.DirectAnswer.read, "__defaults__", (100_000,))

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
