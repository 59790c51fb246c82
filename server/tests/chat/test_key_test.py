"""`POST /api/v1/keys/{name}/test`: what the provider says of a stored key, and nothing of its value."""

import pytest

from .upstream import SECRET

TEST = "/api/v1/keys/acme_key/test"


def lists(*, checks=True, status=401):
    """Return a provider with two models, for those with a good key alone where it checks keys."""

    async def script(exchange):
        given = exchange.headers.get("authorization")
        if checks and given != f"Bearer {SECRET}":
            await exchange.answer(status, {"error": {"message": f"Incorrect API key: {given}"}})
        else:
            await exchange.answer(200, {"data": [{"id": "m-1"}, {"id": "m-2"}]})

    return script


async def test_a_key_that_the_provider_takes_works(mesh, upstream):
    upstream.script = lists()
    answer = await mesh.call("POST", TEST, {})
    assert answer.status == 200
    told = {name: answer.json[name] for name in ("name", "provider", "result", "models")}
    assert told == {"name": "acme_key", "provider": "acme", "result": "works", "models": 2}
    assert {asked.method for asked in upstream.asked} == {"GET"}  # nothing that costs


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_an_answer_and_not_quoted(mesh, upstream, status):
    upstream.script = lists(status=status)
    await mesh.call("PUT", "/api/v1/keys/acme_key", {"value": "sk-wrong-5678"})
    answer = await mesh.call("POST", TEST, {})
    assert (answer.status, answer.json["result"]) == (200, "refused")
    assert "sk-wrong-5678" not in answer.body.decode()


async def test_a_provider_that_answers_anybody_proves_nothing(mesh, upstream):
    upstream.script = lists(checks=False)
    answer = await mesh.call("POST", TEST, {})
    assert (answer.status, answer.json["result"]) == (200, "unknown")
    assert "authorization" not in upstream.asked[-1].headers


async def test_a_value_that_no_key_can_be_is_refused_without_asking(mesh, upstream):
    await mesh.call("PUT", "/api/v1/keys/acme_key", {"value": "two\nlines"})
    answer = await mesh.call("POST", TEST, {})
    assert (answer.json["result"], upstream.asked) == ("refused", [])


async def test_a_name_that_is_no_providers_needs_one(mesh, upstream):
    upstream.script = lists()
    await mesh.call("PUT", "/api/v1/keys/other", {"value": SECRET})
    answer = await mesh.call("POST", "/api/v1/keys/other/test", {})
    assert (answer.status, answer.code) == (400, "provider_not_found")
    assert "acme" in answer.json["error"]["message"]
    assert upstream.asked == []
    assert (await mesh.call("POST", "/api/v1/keys/other/test", {"provider": "acme"})).json["result"] == "works"


async def test_what_the_provider_cannot_say_is_its_failure(mesh, upstream):
    async def down(exchange):
        await exchange.answer(503, {"error": {"message": "overloaded"}})

    upstream.script = down
    answer = await mesh.call("POST", TEST, {})
    assert (answer.status, answer.code) == (503, "provider_unavailable")


@pytest.mark.parametrize(("status", "code"), [(500, "provider_failed"), (429, "provider_rate_limited")])
async def test_a_provider_that_fails_when_asked_without_the_key_proves_nothing(mesh, upstream, status, code):
    async def fails_without(exchange):
        if "authorization" in exchange.headers:
            await exchange.answer(200, {"data": [{"id": "m-1"}]})
        else:
            await exchange.answer(status, {"error": {"message": "later"}})

    upstream.script = fails_without
    assert (await mesh.call("POST", TEST, {})).code == code


async def test_a_missing_key_and_a_wrong_body_are_told(mesh, upstream):
    missing = await mesh.call("POST", "/api/v1/keys/never/test", {"provider": "acme"})
    assert (missing.status, missing.code) == (404, "key_not_found")
    assert (await mesh.call("POST", TEST, {"value": SECRET})).status == 400
    assert upstream.asked == []


async def test_it_is_in_the_trail(mesh, upstream):
    upstream.script = lists()
    await mesh.call("POST", TEST, {})
    events = (await mesh.call("GET", "/api/v1/audit?action=key.used")).json["events"]
    assert [event["object"] for event in events]


async def test_who_may_use_a_key_for_chat_may_test_it(mesh, upstream):
    upstream.script = lists()
    bob = await mesh.user("bob")
    me, them = [(await call("GET", "/api/v1/auth/profile")).json["id"] for call in (mesh.call, bob)]
    assert (await bob("POST", f"{TEST}?owner={me}", {})).status == 404
    grant = {"pattern": "acme_key", "grantee": them, "actions": ["chat"]}
    assert (await mesh.call("POST", "/api/v1/grants", grant)).status == 201
    assert (await bob("POST", f"{TEST}?owner={me}", {})).json["result"] == "works"
