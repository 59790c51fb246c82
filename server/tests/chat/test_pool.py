"""The one way out: straight where it can, through a proxy where one is named, with the same limits on both ways."""

import asyncio
import contextlib

import pytest

from mesh_server.chat.upstream.failures import Stalled, Unreachable
from mesh_server.chat.upstream.pool import Pool

from .bytes_server import Bytes

LIMITED = b"HTTP/1.1 200 OK\r\nx-ratelimit-left: 7\r\ncontent-length: 2\r\n\r\nhi"


@pytest.fixture(params=["straight", "proxied"])
def reach(request, monkeypatch):
    """Return a function that says how a server is reached: by its own address, or as a proxy for another one."""
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def address(server):
        if request.param == "straight":
            monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # this machine is never reached through one
            return server.url
        monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1/x"))
        return "http://provider.test/v1/x"

    return address


@contextlib.asynccontextmanager
async def opened(**arguments):
    pool = Pool(**arguments)
    try:
        yield pool
    finally:
        await pool.close()


async def ask(pool, url, **arguments):
    answer = await pool.request("POST", url, headers={"x-api-key": "k"}, body=b"{}", **arguments)
    try:
        return answer.status, answer.headers("x-ratelimit-", "anthropic-"), await answer.read()
    finally:
        await answer.close()


async def drops(writer):
    with contextlib.suppress(ConnectionError):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)


async def test_a_request_and_its_answer(reach):
    async with Bytes(LIMITED) as server:
        url = reach(server)
        async with opened() as pool:
            status, headers, body = await ask(pool, url)
        assert (status, headers, body) == (200, {"x-ratelimit-left": "7"}, b"hi")
        assert server.requests[0].startswith(
            b"POST " + (b"/v1/x" if url == server.url else url.encode()) + b" HTTP/1.1"
        )
        assert server.requests[0].endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize(("streams", "limits"), [(True, (0.2, 60.0)), (False, (60.0, 0.2))])
async def test_streams_and_whole_answers_have_limits_of_their_own(reach, streams, limits):
    async with Bytes(b"HTTP/1.1 200 OK\r\n") as server, asyncio.timeout(10):
        url = reach(server)
        async with opened(idle_s=limits[0], whole_s=limits[1]) as pool:
            with pytest.raises(Stalled):
                await ask(pool, url, streams=streams)


@pytest.mark.parametrize("streams", [False, True])
async def test_the_time_for_the_whole_call_ends_it_however_alive_it_is(reach, streams):
    async with Bytes(drops) as server, asyncio.timeout(10):
        url = reach(server)
        async with opened() as pool:
            with pytest.raises(Stalled):
                await ask(pool, url, streams=streams, within_s=0.2)


async def test_a_proxy_that_is_not_there_is_unreachable(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with opened() as pool:
        with pytest.raises(Unreachable):
            await ask(pool, "http://provider.test/v1/x")
