"""Messages that leave together: each once, in its order, and before its connection is closed."""

import asyncio

import pytest

from mesh_server import outbox as outbox_module
from mesh_server import protocol as protocol_module
from mesh_server.chat.upstream.direct import Direct
from mesh_server.chat.upstream.failures import Broken
from mesh_server.outbox import Outbox, outbox_of

from .test_protocol import app, talk  # noqa: F401 - a fixture


class Transport:
    """Notes in one list for all what is done with it."""

    def __init__(self, name, done, problem=None):
        self.name, self.done, self.problem = name, done, problem
        self.closed = False

    def is_closing(self):
        return self.closed

    def write(self, data):
        if self.problem is not None:
            raise self.problem
        self.done.append((self.name, data))

    def abort(self):
        self.closed = True
        self.done.append((self.name, "aborted"))


@pytest.fixture
async def outbox():
    return Outbox(asyncio.get_running_loop())


async def test_what_one_turn_of_the_loop_sends_leaves_in_the_next_in_its_order(outbox):
    done = []
    one, other = Transport("one", done), Transport("other", done)
    asyncio.get_running_loop().call_soon(lambda: done.append("what else was to be done"))
    for transport, message in ((one, b"1"), (other, b"2"), (one, b"3")):
        outbox.put(transport, message)
    asyncio.get_running_loop().call_soon(lambda: done.append("what follows"))
    assert done == []
    await asyncio.sleep(0)
    assert done == ["what else was to be done", ("one", b"1"), ("other", b"2"), ("one", b"3"), "what follows"]
    outbox.put(one, b"4")
    await asyncio.sleep(0)
    assert done[-1] == ("one", b"4")


async def test_nobody_waits_for_more_than_a_few_others(outbox):
    done = []
    transport = Transport("one", done)
    messages = [b"%d" % number for number in range(outbox_module.MOST + 1)]
    for message in messages:
        outbox.put(transport, message)
    assert done == [("one", message) for message in messages[:-1]]
    await asyncio.sleep(0)
    assert done == [("one", message) for message in messages]


async def test_what_is_for_a_closed_connection_is_dropped_alone(outbox):
    done = []
    gone, other = Transport("gone", done), Transport("other", done)
    outbox.put(gone, b"1")
    outbox.put(other, b"2")
    gone.closed = True
    await asyncio.sleep(0)
    assert done == [("other", b"2")]


async def test_one_that_can_not_be_written_ends_its_connection_alone(outbox, capsys):
    done = []
    outbox.put(Transport("bad", done, RuntimeError("secret")), b"1")
    outbox.put(Transport("other", done), b"2")
    await asyncio.sleep(0)
    assert done == [("bad", "aborted"), ("other", b"2")]
    said = "".join(capsys.readouterr())
    assert "RuntimeError" in said
    assert "secret" not in said


async def test_there_is_one_for_each_loop():
    assert outbox_of(asyncio.get_running_loop()) is outbox_of(asyncio.get_running_loop())

    async def theirs():
        return outbox_of(asyncio.get_running_loop())

    assert await asyncio.to_thread(asyncio.run, theirs()) is not outbox_of(asyncio.get_running_loop())


@pytest.fixture
def held(monkeypatch):
    """Let nothing leave by itself: only what a connection does before it says or does something else."""
    monkeypatch.setattr(outbox_module.Outbox, "put", lambda self, *message: self._waiting.append(message))


@pytest.mark.usefixtures("held")
async def test_a_refusal_comes_behind_the_answer_before_it(app):  # noqa: F811
    answer = await talk(app, b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n", b"nonsense\r\n\r\n", close=False)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.index(b'"/one"') < answer.index(b"HTTP/1.1 400")


@pytest.mark.usefixtures("held")
async def test_who_has_said_all_still_gets_the_answer(app):  # noqa: F811
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.write(b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0.05)
    writer.write_eof()
    async with asyncio.timeout(5):
        assert b'"/one"' in await reader.read()
    writer.close()


@pytest.mark.usefixtures("held")
async def test_a_head_that_takes_too_long_does_not_take_the_answer_before_it_along(app, monkeypatch):  # noqa: F811
    monkeypatch.setattr(protocol_module, "HEADER_TIMEOUT_S", 0.2)
    answer = await talk(app, b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /two HTTP/1.1\r\n", close=False)
    assert b'"/one"' in answer


@pytest.mark.usefixtures("held")
async def test_a_server_that_stops_sends_what_it_has_answered(app):  # noqa: F811
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.write(b"GET /one HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0.05)
    app.server.should_exit = True
    async with asyncio.timeout(5):
        assert b'"/one"' in await reader.read()
    writer.close()


@pytest.mark.usefixtures("held")
async def test_a_request_whose_connection_ends_before_it_left_is_never_sent():
    received = []

    async def hang_up(reader, writer):
        await asyncio.sleep(0.05)
        writer.close()
        received.append(await reader.read())

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        direct = Direct()
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        with pytest.raises(Broken):
            await direct.request("POST", url, headers={"authorization": "Bearer x"}, body=b"{}", idle_s=5.0)
        outbox_of(asyncio.get_running_loop()).flush()
        await asyncio.sleep(0.05)
        await direct.close()
    assert b"".join(received) == b""
