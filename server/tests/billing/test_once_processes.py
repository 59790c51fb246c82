"""One `Idempotency-Key` over two servers on one PostgreSQL, and after a server was killed in the middle of its call."""

import asyncio
import sys
from collections import Counter

import pytest

from mesh_server.billing.models import DOLLAR

from ..chat.upstream import completion
from ..spend import MODEL, Provider, Story, ask

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")

ASK = {"model": MODEL, "messages": [{"role": "user", "content": "hi there"}], "max_tokens": 20}


@pytest.fixture
async def two(postgres_url, tmp_path):
    made = Story(postgres_url, tmp_path, processes=2, limit=DOLLAR, provider=Provider(most_s=0.6))
    try:
        await made.prepare()
        yield made
    finally:
        await made.close()


async def send(story, number, key, **more):
    port = story.servers[number % 2].port
    return await ask(port, story.token, {**ASK, **more}, idempotency_key=key)


@pytest.mark.parametrize("stream", [False, True])
async def test_fifty_over_two_servers_are_one_call(two, stream):
    found = await asyncio.gather(*(send(two, n, "shared", stream=stream) for n in range(50)))
    assert two.provider.calls == 1
    assert Counter(got.status for got in found) == {200: 50}
    assert len({plain(got) for got in found}) == 1
    assert sum(got.headers.get("idempotency-replayed") == "true" for got in found) == 49
    books = await two.stopped()
    assert books.used == two.provider.billed
    assert list(books.settled.values()) == [1]


async def test_after_a_kill_in_its_middle_nobody_makes_the_call_again(two):
    reached = asyncio.Event()

    async def hang(exchange):
        two.provider.calls += 1
        reached.set()
        await exchange.left()

    two.upstream.script = hang
    first = asyncio.create_task(send(two, 0, "killed"))
    await reached.wait()
    joined = asyncio.create_task(send(two, 1, "killed"))
    await asyncio.sleep(0.3)
    assert not joined.done()  # it waits: the first may still answer
    mismatch = await send(two, 1, "killed", max_tokens=19)
    assert mismatch.status == 422
    two.servers[0].process.kill()
    assert await first is None

    async def answer(exchange):
        two.provider.calls += 1
        await exchange.answer(200, completion(model=MODEL))

    two.upstream.script = answer
    told = await joined
    assert told.status == 409
    assert b"outcome_unknown" in told.body
    again = await send(two, 1, "killed")
    assert again.status == 409
    assert two.provider.calls == 1
    fresh = await send(two, 1, "another")
    assert (fresh.status, two.provider.calls) == (200, 2)
    books = await two.settled(keep=1)
    assert books.lost > 0  # what was reserved for the call counts as spent
    assert list(books.settled.values()) == [1]


def plain(got):
    """Return a body without the frames of its transfer."""
    if "content-length" in got.headers:
        return got.body
    rest, found = got.body, b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        found, rest = found + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return found
