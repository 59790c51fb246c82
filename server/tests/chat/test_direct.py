"""Our own connections: kept only after a clean end, never desynchronised, bounded in every direction, closed with the
caller.
"""

import asyncio
import contextlib

import pytest

from mesh_server.chat.upstream import direct as direct_module
from mesh_server.chat.upstream.direct import Direct
from mesh_server.chat.upstream.failures import Broken, Stalled, Unreachable
from mesh_server.chat.upstream.http1 import HIGH_BYTES, MAX_FIELDS, MAX_HEAD_BYTES, request_bytes

from .bytes_server import CHUNKED, OK, Bytes, ask, exchange


@pytest.fixture
async def direct():
    made = Direct()
    yield made
    await made.close()


async def idle(direct):
    await asyncio.sleep(0.02)
    return [len(origin.idle) for origin in direct._origins.values()]


# --- answers that are right ---


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        CHUNKED,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;a=b\r\nh\r\n1\r\ni\r\n0\r\ntrailer: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,
    ],
)
async def test_a_connection_is_used_again_after_a_clean_end(direct, answer):
    async with Bytes(answer) as server:
        for _ in range(3):
            assert await ask(direct, server) == (200, b"hi")
        assert server.connections == 1


async def test_an_answer_that_is_closed_twice_gives_its_connection_back_once(direct):
    async with Bytes(OK) as server:
        async with exchange(direct, server) as answer:
            await answer.read()
            await answer.close()
        assert await idle(direct) == [1]


async def test_the_end_of_the_connection_ends_an_answer_that_has_no_other(direct):
    async with Bytes(b"HTTP/1.1 200 OK\r\n\r\nhi", close=True) as server:
        assert await ask(direct, server) == (200, b"hi")
        assert await ask(direct, server) == (200, b"hi")
        assert server.connections == 2


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_none(direct, status):
    async with Bytes(f"HTTP/1.1 {status} X\r\n\r\n".encode()) as server:
        assert await ask(direct, server) == (status, b"")


@pytest.mark.parametrize("cut", range(1, len(CHUNKED)))
async def test_an_answer_may_be_cut_anywhere(direct, cut):
    async def slowly(writer):
        writer.write(CHUNKED[:cut])
        await writer.drain()
        await asyncio.sleep(0.001)
        writer.write(CHUNKED[cut:])

    async with Bytes(slowly) as server:
        assert await ask(direct, server) == (200, b"hi")


async def test_fields_that_come_twice_are_joined_and_trailers_are_no_fields(direct):
    answer = b"HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\na: 3\r\n\r\n"
    async with Bytes(answer) as server, exchange(direct, server) as got:
        await got.read()
        assert got.header("a") == "1, 2"


# --- answers that are wrong ---

WRONG = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-encoding: gzip\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi",
    b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    b"HTTP/2 200 OK\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x00" * 64,
    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (MAX_FIELDS + 1) + b"content-length: 2\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\na: " + b"x" * (MAX_HEAD_BYTES + 1),
]


@pytest.mark.parametrize("answer", WRONG)
async def test_what_is_no_answer_is_broken_and_its_connection_is_closed(direct, answer):
    async with Bytes(answer) as server:
        with pytest.raises(Broken):
            await ask(direct, server)
        assert await idle(direct) == [0]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", OK[:-1], CHUNKED[:-2], b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_connection_that_ends_early_breaks_the_answer(direct, answer):
    async with Bytes(answer, close=True) as server:
        with pytest.raises(Broken):
            await ask(direct, server)


@pytest.mark.parametrize("beyond", [b"x", OK, b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen"])
async def test_bytes_beyond_an_answer_are_never_anothers_answer(direct, beyond):
    async with Bytes(OK + beyond, OK) as server:
        assert await ask(direct, server) == (200, b"hi")
        assert await idle(direct) == [0]
        assert await ask(direct, server) == (200, b"hi")
        assert server.connections == 2


async def test_bytes_that_come_while_nobody_asked_close_the_connection(direct):
    async def late(writer):
        writer.write(OK)
        await asyncio.sleep(0.02)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen")

    async with Bytes(late, OK) as server:
        assert await ask(direct, server) == (200, b"hi")
        await asyncio.sleep(0.05)
        assert await ask(direct, server) == (200, b"hi")
        assert server.connections == 2


async def test_a_connection_that_the_server_closed_is_not_used_again(direct):
    async with Bytes(OK, close=True) as server:
        for _ in range(3):
            assert await ask(direct, server) == (200, b"hi")
            await asyncio.sleep(0.02)
        assert server.connections == 3


async def test_a_server_that_says_how_long_it_keeps_a_connection_is_believed(direct):
    answer = b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 2\r\n\r\nhi"
    async with Bytes(answer) as server:
        await ask(direct, server)
        await ask(direct, server)
        assert server.connections == 2


async def test_an_answer_before_the_request_was_read_leaves_no_connection(direct):
    closed = asyncio.Event()

    async def early(reader, writer):
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await reader.read(1)
        writer.transport.abort()
        closed.set()

    server = await asyncio.start_server(early, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    answer = await direct.request("POST", url, headers={}, body=b"x" * 20_000_000, idle_s=2.0)
    assert answer.status == 413
    await answer.close()
    assert await idle(direct) == [0]
    server.close()
    await closed.wait()
    await asyncio.sleep(0.01)


# --- time, size, leaving ---


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi"])
async def test_silence_is_a_stall(direct, begin):
    async with Bytes(begin) as server:
        with pytest.raises(Stalled):
            await ask(direct, server, idle_s=0.1)
        assert await idle(direct) == [0]


async def test_a_shorter_limit_holds_on_a_connection_that_had_a_longer_one(direct):
    async with Bytes(OK, b"") as server:
        await ask(direct, server, idle_s=60.0)
        async with asyncio.timeout(5):
            with pytest.raises(Stalled):
                await ask(direct, server, idle_s=0.1)


async def test_a_drop_now_and_then_is_life(direct):
    async def drops(writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n")
        for _ in range(8):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with Bytes(drops) as server:
        assert await ask(direct, server, idle_s=0.2) == (200, b"x" * 8)


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n\r\nhi", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_the_time_for_the_whole_call_ends_it_however_alive_it_is(direct, begin):
    async def lives(writer):
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(begin or b"HTTP/1.1 100 Continue\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)

    async with Bytes(lives) as server, asyncio.timeout(5):
        with pytest.raises(Stalled):
            await ask(direct, server, idle_s=60.0, within_s=0.1)
        assert await idle(direct) == [0]


async def test_the_time_for_the_whole_call_ends_it_at_the_provider_while_its_reader_sleeps(direct):
    gone = asyncio.Event()

    async def endless(writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        gone.set()

    async with Bytes(endless) as server, exchange(direct, server, idle_s=60.0, within_s=0.2) as answer:
        await answer.chunk()
        await asyncio.wait_for(gone.wait(), 5)
        with pytest.raises(Stalled):
            await answer.read()


async def test_the_time_for_one_call_is_not_that_of_the_next_on_its_connection(direct):
    async def slowly(writer):
        await asyncio.sleep(0.3)
        writer.write(OK)

    async with Bytes(OK, slowly) as server:
        await ask(direct, server, within_s=0.1)
        assert await ask(direct, server) == (200, b"hi")
        assert server.connections == 1


async def test_nobody_there_is_unreachable(direct):
    with pytest.raises(Unreachable):
        await direct.request("GET", "http://127.0.0.1:1/", headers={}, body=None, idle_s=1.0)


async def test_a_slow_reader_slows_the_server_down(direct):
    sent = 0

    async def endless(writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with Bytes(endless) as server, exchange(direct, server) as answer:
        await answer.chunk()
        await asyncio.sleep(0.3)
        before = sent
        await asyncio.sleep(0.2)
        assert sent == before
        connection = answer._connection
        assert connection._waiting_bytes <= HIGH_BYTES + 1024 * 1024
        async with asyncio.timeout(10):
            while sent == before:
                await answer.chunk()


async def test_an_answer_over_its_limit_is_given_up(direct):
    async with Bytes(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000, close=True) as server:
        with pytest.raises(Broken):
            async with exchange(direct, server) as answer:
                await answer.read(9_999)


async def test_leaving_early_hangs_up_at_once(direct):
    gone = asyncio.Event()

    async def watches(writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhi")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.005)
        gone.set()

    async with Bytes(watches) as server:
        async with exchange(direct, server) as answer:
            await answer.chunk()
        await asyncio.wait_for(gone.wait(), 2)


async def test_a_cancelled_call_leaves_nothing(direct):
    async with Bytes(b"") as server:
        call = asyncio.create_task(ask(direct, server))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await idle(direct) == [0]
        assert [origin.open for origin in direct._origins.values()] == [0]


async def test_unused_connections_are_closed(direct, monkeypatch):
    monkeypatch.setattr(direct_module, "KEEP_LOOPBACK_S", 0.05)
    async with Bytes(OK) as server:
        await asyncio.gather(*(ask(direct, server) for _ in range(5)))
        await asyncio.sleep(1.2)
        assert await idle(direct) == [0]
        assert [origin.open for origin in direct._origins.values()] == [0]
        assert not server.open


# --- requests ---


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "a\0b", "ключ", "\x7f"])
def test_a_header_can_not_break_out_of_its_line(value):
    with pytest.raises(ValueError, match="authorization") as caught:
        request_bytes("GET", "/", "h", {"authorization": value}, None)
    assert value not in str(caught.value)


@pytest.mark.parametrize("target", ["", "x", "/a b", "/a\r\nx: y", "/ключ"])
def test_a_target_can_not_break_out_of_its_line(target):
    with pytest.raises(ValueError, match="address"):
        request_bytes("GET", target, "h", {}, None)


async def test_a_request_is_written_as_http_asks(direct):
    async with Bytes(OK) as server:
        await ask(direct, server, body=b'{"a": 1}', authorization="Bearer x")
        where = server.url.split("/")[2]
        assert server.requests == [
            f"POST /v1/x HTTP/1.1\r\nhost: {where}\r\nuser-agent: mesh-server\r\naccept-encoding: identity\r\n"
            'authorization: Bearer x\r\ncontent-length: 8\r\n\r\n{"a": 1}'.encode()
        ]
