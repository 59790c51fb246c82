"""What a call is accounted as, however it ends, and what limits do to it: through the whole gateway."""

import asyncio

import pytest

from mesh_server.billing.models import DOLLAR

from ..upstream import chunk, completion
from .kinds import HI, MODELS, SURFACES, answer_well, cut
from .spending import events_of, flush, limit, standing_of, usage_of
from .test_leaving import leave

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


# --- ends that are not answers ---


async def test_an_attempt_that_may_have_run_is_counted_beside_the_one_that_answered(mesh, upstream):
    await limit(mesh, 10 * DOLLAR)

    async def script(exchange):
        if exchange.path.endswith("/messages"):
            await answer_well(exchange)
        else:
            exchange.reset()

    upstream.script = script
    answer = await mesh.call("POST", MESH, {"model": "priced", "messages": HI, "max_tokens": 50})
    assert answer.status == 200, answer.body
    broken, answered = await events_of(mesh)
    assert (broken.outcome, broken.provider, broken.estimated) == ("failed", "openai", True)
    assert broken.cost_nano > 0
    assert (answered.outcome, answered.provider, answered.estimated) == ("ok", "anthropic", False)
    assert broken.request_id == answered.request_id
    standing = await standing_of(mesh)
    assert standing.used == broken.cost_nano + answered.cost_nano


async def test_a_complete_answer_without_figures_is_estimated_and_paid(mesh, upstream):
    await limit(mesh, DOLLAR)
    text = "word " * 200

    async def script(exchange):
        if exchange.json.get("stream"):
            await exchange.stream(*(chunk(f"word{n} ") for n in range(200)), chunk(finish="stop"))
        else:
            await exchange.answer(200, completion(text, usage=None))

    upstream.script = script
    for stream in (False, True):
        assert (await mesh.call("POST", CHAT, {**ASK, "stream": stream})).status == 200
    events = await events_of(mesh)
    assert [(e.outcome, e.estimated) for e in events] == [("ok", True)] * 2
    assert all(e.output >= 150 and e.cost_nano >= e.output * 10_000 for e in events)
    assert (await standing_of(mesh)).used == sum(e.cost_nano for e in events)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("kind", MODELS)
async def test_a_stream_that_breaks_is_counted_and_marked_as_estimated(mesh, upstream, surface, kind):
    async def script(exchange):
        await exchange.stream(*cut(exchange), done=False)

    upstream.script = script
    path, least = SURFACES[surface]
    await mesh.call("POST", path, {**least, "model": MODELS[kind], "stream": True})
    (event,) = await events_of(mesh)
    assert (event.outcome, event.error_code, event.estimated) == ("failed", "provider_failed", True)
    assert event.input > 0
    assert event.output > 0
    assert (event.cost_nano is None) == (kind == "plain")
    assert event.streamed
    total = (await usage_of(mesh))["total"]
    assert (total["calls"], total["failed"], total["estimated"]) == (1, 1, 1)


async def test_a_stream_that_its_reader_leaves_is_counted_by_what_came(mesh, upstream):
    await limit(mesh, DOLLAR)

    async def script(exchange):
        await exchange.stream(*(chunk(f"piece {n} ") for n in range(40)), done=False)
        await exchange.left()

    upstream.script = script

    async def when(said):
        await said.wait()
        await asyncio.sleep(0.05)

    await leave(mesh, CHAT, {**ASK, "stream": True}, when=when)
    (event,) = await events_of(mesh)
    assert (event.outcome, event.error_code, event.estimated) == ("cancelled", None, True)
    assert 0 < event.output < 100
    standing = await standing_of(mesh)
    assert standing.used == event.cost_nano < 1_000_000


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_whole_call_that_nobody_knows_the_end_of_counts_as_what_was_reserved(mesh, upstream, leaves):
    await limit(mesh, DOLLAR)
    reached = asyncio.Event()

    async def script(exchange):
        reached.set()
        if leaves:
            await exchange.left()
        else:
            exchange.reset()

    upstream.script = script

    async def when(_said):
        await reached.wait()

    if leaves:
        await leave(mesh, CHAT, ASK, when=when)
    else:
        assert (await mesh.call("POST", CHAT, ASK)).status == 502
    (event,) = await events_of(mesh)
    assert event.estimated
    assert event.output == 100
    assert event.cost_nano >= 100 * 10_000
    assert (await standing_of(mesh)).used == event.cost_nano


async def test_a_failure_that_the_provider_tells_does_not_use_up_a_limit(mesh, upstream):
    await limit(mesh, DOLLAR)

    async def script(exchange):
        await exchange.answer(500, {"error": {"message": "no"}})

    upstream.script = script
    assert (await mesh.call("POST", CHAT, {**ASK, "max_tokens": 10_000})).status == 502
    assert (await standing_of(mesh)).used < 1_000_000


@pytest.mark.parametrize("status", [400, 401, 404, 429, 503])
async def test_what_was_not_executed_costs_nothing(mesh, upstream, status):
    await limit(mesh, DOLLAR)

    async def script(exchange):
        await exchange.answer(status, {"error": {"message": "no"}}, retry_after="100")

    upstream.script = script
    assert (await mesh.call("POST", CHAT, ASK)).status >= 400
    (event,) = await events_of(mesh)
    assert (event.outcome, event.cost_nano, event.input, event.output) == ("failed", 0, 0, 0)
    assert (await standing_of(mesh)).used == 0


async def test_embeddings_are_counted(mesh, upstream):
    async def script(exchange):
        data = [{"object": "embedding", "index": 0, "embedding": [0.1] * 500}]
        usage = {"prompt_tokens": 8, "total_tokens": 8} if "told" in exchange.json["input"] else None
        await exchange.answer(200, {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage})

    upstream.script = script
    for text in ("told", "estimated"):
        answer = await mesh.call("POST", "/v1/embeddings", {"model": "text-embedding-3-small", "input": text})
        assert answer.status == 200, answer.body
    told, estimated = await events_of(mesh)
    assert (told.surface, told.input, told.output, told.cost_nano, told.estimated) == ("embeddings", 8, 0, 160, False)
    assert (estimated.estimated, estimated.output) == (True, 0)
    assert estimated.cost_nano > 0


@pytest.mark.parametrize("name", ["x" * 300, "nul\0here"])
async def test_names_that_a_database_can_not_store_are_cut(mesh, upstream, name):
    async def script(exchange):
        await exchange.answer(200, completion(model=name))

    upstream.script = script
    assert (await mesh.call("POST", CHAT, {**ASK, "model": f"plain/{name}"})).status in {200, 400, 404}
    assert (await mesh.call("POST", CHAT, ASK)).status == 200
    events = await events_of(mesh)
    assert events
    assert all(len(e.model) <= 256 and len(e.model_asked) <= 256 for e in events)
    assert all("\0" not in e.model + e.model_asked for e in events)


async def test_an_event_is_found_by_the_id_that_the_answer_has(mesh):
    answer = await mesh.call("POST", MESH, ASK)
    (event,) = await events_of(mesh)
    assert event.request_id == answer.headers["x-request-id"]
    assert (event.model_asked, event.surface, event.price_revision is not None) == (GPT, "mesh", True)
    assert event.first_us is None
    assert event.latency_us > 0
