"""The socket side: whoever works on a request learns at once that its client hung up."""

import asyncio
import contextlib

import pytest

from mesh_server.asgi import ClientGone, Request, send_bytes
from mesh_server.chat.formats.sse import while_connected
from mesh_server.listen import Server, bind, serve

GET = b"GET /%s HTTP/1.1\r\nhost: x\r\n\r\n"


class App:
    """Answers `/quick` at once; `/slow` waits until its client is gone, `/stops` for an event."""

    def __init__(self):
        self.begun, self.gone, self.let_go = asyncio.Event(), [], asyncio.Event()

    async def __call__(self, scope, receive, send):
        request = Request(scope, receive, "req_1")
        path = scope["path"]

        async def work():
            self.begun.set()
            if path == "/slow":
                await asyncio.sleep(60)
            elif path == "/stops":
                await self.let_go.wait()
            await send_bytes(send, 200, path.encode(), [])

        try:
            await while_connected(request, work())
        except ClientGone:
            self.gone.append(path)


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
    yield made
    servers[0].should_exit = True
    await serving


async def hang_up(writer):
    writer.transport.abort()
    await asyncio.sleep(0.05)


async def test_a_client_that_hangs_up_is_noticed_at_once(app):
    _, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.write(GET % b"slow")
    await app.begun.wait()
    await hang_up(writer)
    assert app.gone == ["/slow"]


async def test_a_request_that_was_answered_has_nobody_to_tell(app):
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.write(GET % b"quick")
    assert await reader.readuntil(b"/quick")
    await hang_up(writer)
    assert app.gone == []


async def test_a_connection_tells_of_its_last_request_only(app):
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    for _ in range(3):
        writer.write(GET % b"quick")
        await reader.readuntil(b"/quick")
    app.begun.clear()
    writer.write(GET % b"slow")
    await app.begun.wait()
    await hang_up(writer)
    assert app.gone == ["/slow"]


async def test_work_that_somebody_else_ends_ends_as_cancelled():
    async def receive():
        await asyncio.Event().wait()

    from mesh_server.asgi import Hangup

    request = Request({"headers": [], "mesh.hangup": Hangup()}, receive, "req_1")
    task = asyncio.ensure_future(while_connected(request, asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
