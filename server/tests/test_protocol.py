"""HTTP/1.1 towards clients: what is read, refused and written, byte for byte, whatever uvicorn's next version does."""

import asyncio
import contextlib
import json

import pytest

from mesh_protocol.wire import MAX_HEADER_BYTES
from mesh_server import protocol as protocol_module
from mesh_server.asgi import Request, send_bytes
from mesh_server.listen import Server, bind, serve
from mesh_server.protocol import Protocol


class App:
    """Tells what it was asked, as JSON; some paths answer otherwise."""

    def __init__(self):
        self.writes = []

    async def __call__(self, scope, receive, send):
        request, path = Request(scope, receive, "req_1"), scope["path"]
        body = await request.body()
        if path == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})
            for piece in (b"one", b"", b"two"):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"three"})
        elif path == "/slow":
            await asyncio.sleep(0.05)
            await send_bytes(send, 200, b"slow", [])
        elif path == "/empty":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        elif path == "/header":
            await send_bytes(send, 200, b"x", [(b"a", body)])
        elif path == "/short":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            await send({"type": "http.response.body", "body": b"x"})
        elif path == "/long":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
            await send({"type": "http.response.body", "body": b"xyz"})
        elif path == "/order":
            await send({"type": "http.response.body", "body": b"x"})
        elif path == "/gone":
            assert (await receive())["type"] == "http.disconnect"
            self.writes.append(b"gone")
        else:
            names = ("method", "path", "query_string", "http_version")
            told = {name: scope[name] for name in names} | {"raw": scope["raw_path"], "body": body}
            told = {name: value.decode() if isinstance(value, bytes) else value for name, value in told.items()}
            await send_bytes(send, 200, json.dumps(told).encode(), [])


@pytest.fixture
async def app(monkeypatch):
    monkeypatch.setattr(Server, "capture_signals", lambda _self: contextlib.nullcontext())
    servers = []
    original = Server.__init__

    def remember(self, *arguments):
        original(self, *arguments)
        servers.append(self)

    monkeypatch.setattr(Server, "__init__", remember)
    made, started = App(), asyncio.Event()
    sockets = bind("127.0.0.1", 0)
    made.port = sockets[0].getsockname()[1]
    serving = asyncio.ensure_future(serve(made, sockets, trusted_proxies=(), tls=None, on_started=started.set))
    await started.wait()
    made.server = servers[0]
    yield made
    servers[0].should_exit = True
    await serving


@pytest.fixture
def written(monkeypatch):
    """Return what each write to a client's socket held."""
    writes = []

    class Noting:
        def __init__(self, transport):
            self._transport = transport

        def write(self, data):
            writes.append(data)
            self._transport.write(data)

        def __getattr__(self, name):
            return getattr(self._transport, name)

    original = Protocol.connection_made
    monkeypatch.setattr(Protocol, "connection_made", lambda self, transport: original(self, Noting(transport)))
    return writes


async def talk(app, *pieces, close=True):
    """Send pieces and return all that comes until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.01)
    if close:
        writer.write(b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


def parts(answer):
    """Return status line, headers and body of one answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    return line, dict(field.split(b": ", 1) for field in fields), body


LAST = b"\r\nconnection: close\r\n\r\n"


async def test_a_request_is_handed_on_as_it_came(app):
    answer = await talk(
        app, b"POST /a%20b?c=%20d HTTP/1.1\r\nHost: x\r\ncontent-length: 2\r\nCONNECTION: close\r\n\r\nhi", close=False
    )
    line, headers, body = parts(answer)
    assert line == b"HTTP/1.1 200 OK"
    assert headers[b"connection"] == b"close"
    assert int(headers[b"content-length"]) == len(body)
    assert {b"date", b"server"} & headers.keys() == {b"date"}
    assert json.loads(body) == {
        "method": "POST",
        "path": "/a b",
        "raw": "/a%20b",
        "query_string": "c=%20d",
        "body": "hi",
        "http_version": "1.1",
    }


@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://x/y HTTP/1.1\r\nhost: x" + LAST,
        b"GET /y HTTP/1.0\r\nhost: x\r\n\r\n",
        b"\r\nGET /y HTTP/1.1\r\nhost: x" + LAST,
        b"GET /y HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade, close\r\n\r\n",
    ],
)
async def test_other_ways_to_ask_for_a_path(app, request_):
    line, headers, body = parts(await talk(app, request_, close=False))
    assert (line, json.loads(body)["path"], headers[b"connection"]) == (b"HTTP/1.1 200 OK", "/y", b"close")


@pytest.mark.parametrize("cut", range(1, 60, 7))
async def test_a_request_may_be_cut_anywhere(app, cut):
    request = b"POST /y HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked" + LAST + b"1\r\nh\r\n1\r\ni\r\n0\r\n\r\n"
    _, _, body = parts(await talk(app, request[:cut], request[cut:], close=False))
    assert json.loads(body)["body"] == "hi"


async def test_head_and_first_piece_leave_in_one_write(app, written):
    await talk(app, b"GET /x HTTP/1.1\r\nhost: x" + LAST, close=False)
    assert len(written) == 1
    written.clear()
    answer = await talk(app, b"GET /stream HTTP/1.1\r\nhost: x" + LAST, close=False)
    assert [piece.rpartition(b"\r\n\r\n")[2] for piece in written[:1]] == [b"3\r\none\r\n"]
    assert written[1:] == [b"3\r\ntwo\r\n", b"5\r\nthree\r\n0\r\n\r\n"]
    assert parts(answer)[1][b"transfer-encoding"] == b"chunked"


@pytest.mark.parametrize(("method", "path"), [(b"HEAD", b"/x"), (b"GET", b"/empty")])
async def test_an_answer_without_a_body_has_none(app, method, path):
    _, headers, body = parts(await talk(app, method + b" " + path + b" HTTP/1.1\r\nhost: x" + LAST, close=False))
    assert body == b""
    assert b"transfer-encoding" not in headers


async def test_pipelined_requests_are_answered_one_after_the_other(app):
    first = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = await talk(app, first + first + b"GET /y HTTP/1.1\r\nhost: x\r\n\r\n")
    assert [answer.count(text) for text in (b"HTTP/1.1 200", b"slow", b'h": "/y"', b'h": "/last"')] == [4, 2, 1, 1]
    assert answer.rindex(b"slow") < answer.index(b'"/y"') < answer.index(b'"/last"')


async def test_who_asks_whether_to_send_the_body_is_told_to(app):
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.write(b"POST /y HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue" + LAST)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hi")
    assert json.loads(parts(await reader.read())[2])["body"] == "hi"
    writer.close()


async def test_a_client_that_leaves_is_a_disconnect(app):
    _, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.write(b"GET /gone HTTP/1.1\r\nhost: x\r\n\r\n")
    await asyncio.sleep(0.02)
    writer.transport.abort()
    await asyncio.sleep(0.05)
    assert app.writes == [b"gone"]


# --- refusals ---


@pytest.mark.parametrize("value", [b"x\r\nset-cookie: y", b"x\ny", b"x\ry", b"x\0y"])
async def test_a_header_can_not_break_out_of_its_line(app, value):
    length = str(len(value)).encode()
    answer = await talk(
        app, b"POST /header HTTP/1.1\r\nhost: x\r\ncontent-length: " + length + b"\r\n\r\n" + value, close=False
    )
    assert not any(text in answer for text in (b"set-cookie", b"\na: x"))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 500")


@pytest.mark.parametrize(
    ("path", "begins"), [(b"/short", b"HTTP/1.1 200"), (b"/long", b""), (b"/order", b"HTTP/1.1 500")]
)
async def test_an_answer_that_breaks_its_own_promise_ends_the_connection(app, path, begins):
    answer = await talk(app, b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n", close=False)
    assert answer.startswith(begins)
    assert b"xyz" not in answer


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /x HTTP/9.9\r\n\r\n", b"GET /x HTTP/1.1\r\nno colon\r\n\r\n"]
)
async def test_what_is_no_http_is_refused(app, nonsense):
    line, headers, body = parts(await talk(app, nonsense, close=False))
    assert line.startswith(b"HTTP/1.1 400")
    assert headers[b"connection"] == b"close"
    assert json.loads(body)["error"]["code"] == "invalid_http"


@pytest.mark.parametrize("before", [b"", b"POST /y HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi"])
async def test_a_head_over_the_limit_is_refused_also_behind_another_request(app, before):
    field = b"a: " + b"x" * 1000 + b"\r\n"
    head = b"GET /x HTTP/1.1\r\nhost: x\r\n" + field * (MAX_HEADER_BYTES // 1000 + 1)
    answer = await talk(app, before + head + b"\r\n", close=False)
    assert b"/x" not in answer
    assert b"headers_too_large" in answer or (before and answer.count(b"HTTP/1.1") <= 1)


async def test_a_head_that_does_not_end_is_given_up_at_the_limit(app):
    line, _, _ = parts(await talk(app, b"GET /x HTTP/1.1\r\na: " + b"x" * (MAX_HEADER_BYTES + 1), close=False))
    assert line.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("sent", [b"", b"GET /x HT", b"GET /y HTTP/1.1\r\nhost: x\r\n\r\nGET /x HT"])
async def test_a_head_that_takes_too_long_ends_the_connection(app, monkeypatch, sent):
    monkeypatch.setattr(protocol_module, "HEADER_TIMEOUT_S", 0.1)
    answer = await talk(app, sent, close=False)
    assert b"/x" not in answer


async def test_a_connection_that_nobody_uses_is_closed_and_one_in_use_is_not(app, monkeypatch):
    made = []
    original = Protocol.__init__

    def quick(self, *arguments, **more):
        original(self, *arguments, **more)
        self.timeout_keep_alive = 0.15
        made.append(self)

    monkeypatch.setattr(Protocol, "__init__", quick)
    request = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = await talk(app, request, *[request] * 8, close=False)
    assert answer.count(b"slow") == 9
    assert made[0]._idle_timer is None
