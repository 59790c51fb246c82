"""What a call is accounted as that brings no answer, or not the usual one: through the whole gateway."""

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


@pytest.mark.parametrize("once", [{}, {"idempotency-key": "one"}], ids=["plain", "keyed"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_call_that_its_caller_gave_too_little_time_failed(mesh, upstream, stream, once):
    async def script(exchange):
        await asyncio.sleep(5)

    upstream.script = script
    answer = await mesh.call("POST", CHAT, {**ASK, "stream": stream}, headers={"mesh-timeout": "0.1", **once})
    assert answer.status == 504
    (event,) = await events_of(mesh)
    assert (event.outcome, event.error_code, event.estimated) == ("failed", "deadline_exceeded", True)
