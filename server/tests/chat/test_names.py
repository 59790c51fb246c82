"""Names of providers: looked up once for all who ask at a time, and nobody waits for the name of another."""

import asyncio
import contextlib
import socket

import pytest

from mesh_server.chat.upstream import names as names_module
from mesh_server.chat.upstream.direct import Direct
from mesh_server.chat.upstream.failures import Unreachable
from mesh_server.chat.upstream.names import Names

from .bytes_server import OK, Bytes


class Resolver:
    """Answers in place of the system's, as it is told."""

    def __init__(self):
        self.asked, self.answers, self.go_on = [], {}, asyncio.Event()
        self.go_on.set()

    async def __call__(self, host, port, **_):
        self.asked.append(host)
        await self.go_on.wait()
        found = self.answers.get(host)
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


@pytest.fixture
async def resolver(monkeypatch):
    made = Resolver()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", made)
    return made


async def test_all_who_ask_at_a_time_ask_once(resolver):
    resolver.answers["a"] = ["10.0.0.2", "10.0.0.1", "10.0.0.2"]
    names = Names()
    assert await asyncio.gather(*(names.addresses("a", 1) for _ in range(50))) == [["10.0.0.2", "10.0.0.1"]] * 50
    await names.addresses("a", 1)
    assert resolver.asked == ["a"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "fe80::1%eth0"])
async def test_an_address_is_its_own(resolver, address):
    assert await Names().addresses(address, 1) == [address]
    assert not resolver.asked


async def test_what_is_known_is_known_for_a_moment_or_until_it_is_forgotten(resolver, monkeypatch):
    resolver.answers["a"] = ["10.0.0.1"]
    names = Names()
    await names.addresses("a", 1)
    names.forget("a", 1)
    await names.addresses("a", 1)
    monkeypatch.setattr(names_module, "KEEP_S", 0.0)
    names.forget("a", 1)
    await names.addresses("a", 1)
    await names.addresses("a", 1)
    assert len(resolver.asked) == 4


async def test_a_failure_is_everybodys_who_waits_and_not_the_next_ones(resolver):
    names = Names()
    found = await asyncio.gather(*(names.addresses("a", 1) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in found] == [socket.gaierror] * 3
    resolver.answers["a"] = ["10.0.0.1"]
    assert await names.addresses("a", 1) == ["10.0.0.1"]
    assert resolver.asked == ["a", "a"]


async def test_who_goes_away_takes_nothing_from_the_others(resolver):
    resolver.go_on.clear()
    names = Names()
    first, second = [asyncio.create_task(names.addresses("a", 1)) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    resolver.answers["a"] = ["10.0.0.1"]
    resolver.go_on.set()
    assert await second == ["10.0.0.1"]


async def test_a_stop_waits_for_no_name(resolver):
    resolver.go_on.clear()
    names = Names()
    asking = asyncio.create_task(names.addresses("a", 1))
    await asyncio.sleep(0)
    names.close()
    with pytest.raises(OSError, match="stopping"):
        await asking


async def test_another_address_is_tried_where_one_does_not_answer(resolver):
    direct = Direct()
    async with Bytes(OK) as server:
        port = server.url.rsplit(":", 1)[1].strip("/")
        resolver.answers["two.test"] = ["127.0.0.254", "127.0.0.1"]
        answer = await direct.request("GET", f"http://two.test:{port}/", headers={}, body=None, idle_s=1.0)
        assert await answer.read() == b"hi"
        await answer.close()
        resolver.answers["none.test"] = ["127.0.0.254"]
        for _ in range(2):
            with pytest.raises(Unreachable):
                await direct.request("GET", f"http://none.test:{port}/", headers={}, body=None, idle_s=1.0)
        assert resolver.asked == ["two.test", "none.test", "none.test"], "what did not answer is asked for anew"
    await direct.close()
