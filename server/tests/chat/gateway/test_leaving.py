"""A client that leaves: the call to the provider ends at once, on every surface, for every kind of provider."""

import asyncio
import json

import pytest

from .kinds import MODELS, SURFACES, cut

pairs = pytest.mark.parametrize(("surface", "kind"), [(s, k) for s in SURFACES for k in MODELS])


async def leave(mesh, path, body, *, when):
    """Send a request, and hang up when `when` is done."""
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

    headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {mesh.token}".encode())]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": headers}
    scope["query_string"] = b""
    before = asyncio.all_tasks()
    await asyncio.wait_for(mesh.app(scope, receive, send), 5)
    return asyncio.all_tasks() - before


@pairs
async def test_leaving_a_stream_ends_the_call_at_the_provider(mesh, upstream, surface, kind):
    over = asyncio.Event()

    async def script(exchange):
        try:
            await exchange.stream(*cut(exchange), done=False)
            while True:
                await exchange.send(b": waiting\n\n")  # a write is how a server notices that nobody reads
                await asyncio.sleep(0.01)
        finally:
            over.set()

    upstream.script = script
    path, least = SURFACES[surface]

    async def when(said):
        await said.wait()

    left = await leave(mesh, path, {**least, "model": MODELS[kind], "stream": True}, when=when)
    await asyncio.wait_for(over.wait(), 2)
    assert not left - set(upstream.connections)


@pairs
async def test_leaving_a_plain_call_ends_it_at_the_provider(mesh, upstream, surface, kind):
    asked, over = asyncio.Event(), asyncio.Event()

    async def script(exchange):
        asked.set()
        await exchange.left()
        over.set()

    upstream.script = script
    path, least = SURFACES[surface]

    async def when(_said):
        await asked.wait()

    left = await leave(mesh, path, {**least, "model": MODELS[kind]}, when=when)
    await asyncio.wait_for(over.wait(), 0.1)  # nothing is waited for: neither an answer nor a write
    assert not left - set(upstream.connections)


@pairs
@pytest.mark.parametrize("streams", [False, True])
async def test_the_callers_own_time_ends_the_call_at_the_provider(mesh, upstream, surface, kind, streams):
    over = asyncio.Event()

    async def script(exchange):
        try:
            while True:
                await exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")  # a write is how a server notices
                await asyncio.sleep(0.01)
        finally:
            over.set()

    upstream.script = script
    path, least = SURFACES[surface]
    body = {**least, "model": MODELS[kind], "stream": streams}
    answer = await mesh.call("POST", path, body, headers={"mesh-timeout": "0.1"})
    assert answer.status == 504
    await asyncio.wait_for(over.wait(), 2)


async def test_leaving_while_another_try_is_waited_for(mesh, upstream):
    from mesh_server.chat.attempts import Attempts, Patience

    mesh.services.chat._attempts = Attempts(Patience(tries=3, most_wait_s=60))
    asked = asyncio.Event()

    async def script(exchange):
        await exchange.answer(429, {"error": {"message": "slow"}}, retry_after="30")
        asked.set()

    upstream.script = script
    path, least = SURFACES["chat"]

    async def when(_said):
        await asked.wait()

    left = await leave(mesh, path, {**least, "model": MODELS["plain"]}, when=when)
    assert len(upstream.asked) == 1
    assert not left - set(upstream.connections)
