"""What a call is accounted as, however it ends, and what limits do to it: through the whole gateway."""

import asyncio

import pytest

from mesh_server.billing.models import DOLLAR

from .kinds import HI, answer_well
from .spending import events_of, flush, limit, standing_of, usage_of

CHAT = "/v1/chat/completions"
MESH = "/api/v1/chat/completions"
GPT = "gpt-4o"  # $2.50 and $10 for a million tokens
ASK = {"model": GPT, "messages": HI, "max_tokens": 100}


@pytest.fixture
async def mesh(mesh):
    await flush(mesh)
    return mesh


def body_of(upstream):
    return upstream.asked[-1].json


# --- the limit of an answer ---


@pytest.mark.parametrize(("path", "name"), [(MESH, "max_completion_tokens"), (CHAT, "max_completion_tokens")])
async def test_an_answer_without_a_limit_gets_one_that_the_budget_admits(mesh, upstream, path, name):
    await limit(mesh, 10_000_000)  # a cent: 1,000 tokens of output
    answer = await mesh.call("POST", path, {"model": GPT, "messages": HI})
    assert answer.status == 200
    assert 16 <= body_of(upstream)[name] < 1000
    assert "so that a budget holds" in answer.headers["mesh-warnings"]


@pytest.mark.parametrize("path", [MESH, CHAT])
@pytest.mark.parametrize("model", ["claude-opus-5-5", "gpt-5.6-sol"])
@pytest.mark.parametrize("unit", ["usd", "tokens"])
async def test_a_limit_that_mesh_itself_wrote_is_lowered_too(mesh, upstream, path, model, unit):
    """Anthropic's format needs one; its default is more than many budgets hold."""
    await limit(mesh, 100_000_000 if unit == "usd" else 3000, unit)
    answer = await mesh.call("POST", path, {"model": model, "messages": HI})
    assert answer.status == 200, answer.body
    asked = body_of(upstream)
    assert 16 <= asked.get("max_tokens", asked.get("max_completion_tokens", 0)) < 4000
    assert "so that a budget holds" in answer.headers["mesh-warnings"]


async def test_a_limit_of_requests_alone_writes_none(mesh, upstream):
    await limit(mesh, 5, "requests")
    answer = await mesh.call("POST", MESH, {"model": GPT, "messages": HI})
    assert answer.status == 200
    assert not {"max_tokens", "max_completion_tokens"} & body_of(upstream).keys()
    assert "so that a budget holds" not in answer.headers.get("mesh-warnings", "")


async def test_a_limit_is_not_lowered_below_what_is_for_thinking(mesh, upstream):
    await limit(mesh, 50_000_000)
    more = {"thinking": True, "thinking_budget": 20_000}
    answer = await mesh.call("POST", MESH, {"model": "claude-opus-4-1", "messages": HI, **more})
    if answer.status == 200:
        asked = body_of(upstream)
        assert asked["max_tokens"] > asked.get("thinking", {}).get("budget_tokens", 0)
    else:
        assert (answer.status, answer.code) == (402, "budget_exceeded")


async def test_an_answer_that_fits_is_asked_for_as_it_came(mesh, upstream):
    await limit(mesh, DOLLAR)
    answer = await mesh.call("POST", CHAT, {"model": GPT, "messages": HI})
    assert answer.status == 200
    assert {"max_tokens", "max_completion_tokens"}.isdisjoint(body_of(upstream))
    assert "mesh-warnings" not in answer.headers


async def test_a_callers_own_limit_is_never_lowered(mesh, upstream):
    await limit(mesh, 10_000_000)
    answer = await mesh.call("POST", CHAT, {**ASK, "max_tokens": 2000})
    assert answer.status == 429
    assert upstream.asked == []


@pytest.mark.parametrize("number", [-1, -(10**9), 0])
async def test_a_limit_below_one_credits_nothing(mesh, upstream, number):
    """llama.cpp and others read it as no limit at all."""
    await limit(mesh, 10_000_000)
    held = asyncio.Event()

    async def script(exchange):
        held.set()
        await exchange.left()

    upstream.script = script
    call = asyncio.create_task(mesh.call("POST", CHAT, {**ASK, "max_tokens": number}))
    done, _ = await asyncio.wait({call, asyncio.create_task(held.wait())}, return_when=asyncio.FIRST_COMPLETED)
    standing = await standing_of(mesh)
    assert standing.used + standing.held <= 10_000_000
    assert standing.held > 0 or call in done
    assert all(slice_.free <= 10_000_000 for slice_ in mesh.services.billing.slices._slices.values())
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


async def test_of_two_limits_the_larger_counts(mesh, upstream):
    await limit(mesh, 10_000_000)
    answer = await mesh.call("POST", CHAT, {**ASK, "max_tokens": 90_000, "max_completion_tokens": 1})
    assert answer.status == 429
    assert upstream.asked == []


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
    ],
)
async def test_what_a_small_body_may_unfold_to_is_admitted_as_large(mesh, upstream, part):
    await limit(mesh, 100_000_000)  # ten cents; a full context of this model is 32
    answer = await mesh.call("POST", CHAT, {**ASK, "messages": [{"role": "user", "content": [part]}]})
    assert answer.status == 429
    assert answer.json["error"]["code"] == "insufficient_quota"
    assert upstream.asked == []


# --- refusals ---


async def test_money_that_is_used_up_is_402_with_all_that_a_program_needs(mesh, upstream):
    await limit(mesh, 100)
    answer = await mesh.call("POST", MESH, {"model": GPT, "messages": HI})
    assert (answer.status, answer.code) == (402, "budget_exceeded")
    details = answer.json["error"]["details"]
    assert details | {"needed": 0} == {
        "scope": "tenant", "unit": "usd", "period": "total", "limit": 1e-7, "used": 0.0, "held": 0.0, "left": 1e-7,
        "needed": 0, "resets_at": None,
    }  # fmt: skip
    assert "retry-after" not in answer.headers
    assert upstream.asked == []
    assert await events_of(mesh) == []


async def test_calls_that_are_used_up_are_429_and_say_when_to_come_back(mesh, upstream):
    await limit(mesh, 1, "requests", "day")
    assert (await mesh.call("POST", MESH, ASK)).status == 200
    answer = await mesh.call("POST", MESH, ASK)
    assert (answer.status, answer.code) == (429, "quota_exceeded")
    assert 0 < int(answer.headers["retry-after"]) <= 86_400
    assert answer.json["error"]["details"]["unit"] == "requests"
    assert (await standing_of(mesh)).used == 1
    assert len(await events_of(mesh)) == 1


async def test_a_model_without_a_price_is_refused_under_a_limit_of_money_alone(mesh, upstream):
    await limit(mesh, DOLLAR)
    answer = await mesh.call("POST", MESH, {**ASK, "model": "plain-model"})
    assert (answer.status, answer.code) == (400, "price_unknown")
    assert upstream.asked == []
    assert await events_of(mesh) == []
    assert (await standing_of(mesh)).used == 0


async def test_an_unknown_price_is_counted_as_unknown(mesh):
    answer = await mesh.call("POST", MESH, {**ASK, "model": "plain-model"})
    assert answer.json["cost_usd"] is None
    assert "mesh-cost-nano" not in answer.headers
    total = (await usage_of(mesh))["total"]
    assert (total["calls"], total["unpriced"], total["cost_nano"], total["total_tokens"]) == (1, 1, 0, 5)


async def test_what_is_left_is_in_the_answer(mesh):
    await limit(mesh, DOLLAR)
    first = (await mesh.call("POST", MESH, ASK)).json
    assert first["cost_usd"] == 0.0000275
    assert first["budget_left_usd"] == pytest.approx(1 - 0.0000275, abs=1e-9)
    second = (await mesh.call("POST", MESH, {**ASK, "stream": True})).body.decode()
    assert f'"budget_left_usd":{1 - 0.000055:.6f}'.rstrip("0") in second


async def test_without_a_limit_of_money_nothing_is_said_of_what_is_left(mesh):
    await limit(mesh, 100, "requests")
    assert "budget_left_usd" not in (await mesh.call("POST", MESH, ASK)).json


async def test_a_soft_limit_lets_everything_pass_and_warns(mesh):
    await limit(mesh, 30_000, hard=False)
    first = await mesh.call("POST", MESH, ASK)
    await flush(mesh)
    second = await mesh.call("POST", MESH, ASK)
    assert (first.status, second.status) == (200, 200)
    assert "mesh-warnings" not in first.headers
    assert "This tenant's limit of $0.00003 in total is used up: $0.000055." in second.headers["mesh-warnings"]
    assert (await standing_of(mesh)).used == 55_000


async def test_a_token_is_called_by_its_name_in_a_warning(mesh):
    me = await mesh.services.accounts.authenticate(f"Bearer {mesh.token}".encode(), None)
    await limit(mesh, 1, hard=False, scope="token", subject_id=me.token_id)
    answer = await mesh.call("POST", MESH, ASK)
    assert "This API token's limit" in answer.headers["mesh-warnings"]


async def test_a_keys_limit_holds_for_calls_with_it_alone(mesh, upstream):
    me = await mesh.services.accounts.authenticate(f"Bearer {mesh.token}".encode(), None)
    await limit(mesh, 0, "requests", scope="key", subject_id=me.account_id, key_name="plain_key")
    assert (await mesh.call("POST", MESH, {**ASK, "model": "plain-model"})).status == 200
    await mesh.call("PUT", "/api/v1/keys/plain_key", {"value": "sk-plain-own-1234"})
    answer = await mesh.call("POST", MESH, {**ASK, "model": "plain-model"})
    assert (answer.status, answer.code) == (429, "quota_exceeded")
    assert answer.json["error"]["details"]["scope"] == "key"
    assert (await mesh.call("POST", MESH, ASK)).status == 200


async def test_a_key_that_was_tried_first_pays_only_for_its_own_attempt(mesh, upstream):
    me = await mesh.services.accounts.authenticate(f"Bearer {mesh.token}".encode(), None)
    await mesh.call("PUT", "/api/v1/keys/plain_key", {"value": "sk-plain-own-1234"})
    await limit(mesh, 10, "requests", scope="key", subject_id=me.account_id, key_name="plain_key")

    async def script(exchange):
        if exchange.json["model"] == "plain-model":
            await exchange.answer(429, {"error": {"message": "no"}}, retry_after="100")
        else:
            await answer_well(exchange)

    upstream.script = script
    answer = await mesh.call("POST", MESH, {"model": "ours", "messages": HI})
    assert answer.headers["mesh-route"] == "plain/plain-model, openai/gpt-5.6-sol"
    standing = await standing_of(mesh)
    assert (standing.used, standing.held) == (0, standing.held)
    (event,) = await events_of(mesh)
    assert (event.provider, event.key_name) == ("openai", None)
