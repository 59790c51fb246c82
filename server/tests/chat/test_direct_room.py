"""Room for connections: whoever finds none waits for a turn, and is told that it was not the provider's fault."""

import asyncio
import contextlib
import errno

import pytest

from mesh_server.chat.upstream import direct as direct_module
from mesh_server.chat.upstream import failures
from mesh_server.chat.upstream.direct import Direct
from mesh_server.chat.upstream.failures import Crowded, Unreachable

from .bytes_server import OK, Bytes, ask, exchange


@pytest.fixture
async def direct():
    made = Direct()
    yield made
    await made.close()


async def test_waiting_for_a_connection_is_part_of_the_time_for_the_whole_call(direct, monkeypatch):
    monkeypatch.setattr(direct_module, "MOST_CONNECTIONS", 1)
    async with Bytes(b"HTTP/1.1 200 OK\r\n\r\nhi") as server, asyncio.timeout(4), exchange(direct, server):
        with pytest.raises(Crowded):
            await ask(direct, server, within_s=0.1)


async def test_no_descriptor_left_is_no_fault_of_the_server(direct, monkeypatch):
    def none_left(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    async def no_socket(*_args, **_named):
        raise OSError("Multiple exceptions: they hide the reason")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", no_socket)
    with pytest.raises(Unreachable):
        await direct.request("GET", "http://127.0.0.1:1/", headers={}, body=None, idle_s=1.0)
    monkeypatch.setattr(failures.os, "open", none_left)
    with pytest.raises(Crowded):
        await direct.request("GET", "http://127.0.0.1:1/", headers={}, body=None, idle_s=1.0)


async def test_more_calls_than_connections_wait_for_their_turn(direct, monkeypatch):
    monkeypatch.setattr(direct_module, "MOST_CONNECTIONS", 2)

    async def takes_a_while(writer):
        await asyncio.sleep(0.02)
        writer.write(OK)

    async with Bytes(takes_a_while) as server:
        answers = await asyncio.gather(*(ask(direct, server) for _ in range(20)))
        assert answers == [(200, b"hi")] * 20
        assert server.connections == 2


async def test_a_turn_that_never_comes_is_no_fault_of_the_server(direct, monkeypatch):
    monkeypatch.setattr(direct_module, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(direct_module, "CONNECT_S", 0.1)
    async with Bytes(b"") as server:
        holding = asyncio.create_task(ask(direct, server))
        await asyncio.sleep(0.02)
        with pytest.raises(Crowded):
            await ask(direct, server)
        holding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await holding
