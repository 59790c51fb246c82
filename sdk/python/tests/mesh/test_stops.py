"""Streams that are stopped, left or forgotten, and calls whose time is over, on real sockets."""

import asyncio
import gc
import json
import subprocess
import sys
import threading

import pytest

import mesh

from .server import LAST, chunk, completion


def test_cancelling_from_another_thread_ends_a_reader_that_waits(server):
    """The server says nothing more; the reader is over at once."""
    go_on = threading.Event()

    def script(exchange):
        exchange.stream(chunk("a"), done=False)
        go_on.wait(5)

    server.script(script)
    stream = mesh.MeshClient(server.url, "mesh_x", timeout=30).chat("hi", stream=True)
    assert next(stream).text == "a"
    threading.Timer(0.1, stream.cancel).start()
    assert list(stream) == []
    assert stream.response.finish_reason == "cancelled"
    go_on.set()


def test_a_stream_can_be_read_in_any_thread(server):
    server.script(lambda exchange: exchange.stream(*[chunk("a")] * 500, chunk(finish="stop"), LAST))
    client = mesh.MeshClient(server.url, "mesh_x", timeout=5)
    found = []
    thread = threading.Thread(target=lambda: found.append(client.chat("hi", stream=True).until_done()))
    thread.start()
    thread.join(5)
    assert found[0].content == "a" * 500


def test_a_reader_that_does_not_read_slows_the_server_and_not_memory(server):
    sent = []

    def script(exchange):
        exchange.connection.settimeout(0.5)
        exchange.head(200, content_type="text/event-stream")
        try:
            for _ in range(2000):
                exchange.send(b"data: %s\n\n" % (b"x" * 65536))
                sent.append(1)
        except TimeoutError:
            pass

    server.script(script)
    stream = mesh.MeshClient(server.url, "mesh_x", timeout=5).chat("hi", stream=True)
    body = iter(stream._body)
    next(body)
    threading.Event().wait(1.2)
    assert len(sent) < 1000, "at most what sockets and 64 pieces hold"
    stream.close()


def test_tools_that_take_all_the_time_leave_none_for_the_next_round(make, server):
    called = {"id": "c", "type": "function", "function": {"name": "wait", "arguments": "{}"}}
    body = completion(None)
    body["choices"][0]["message"]["tool_calls"] = [called]

    def wait() -> str:
        """Wait."""
        threading.Event().wait(0.4)
        return "done"

    server.script(lambda exchange: exchange.answer(200, body))
    answer = make(max_retries=0).chat("hi", tools=[wait], timeout=0.3)
    assert (answer.success, answer.code) == (False, "timeout")
    assert [result.content for result in answer.tool_results] == ["done"]
    assert len(server.asked) == 1


def without_end(exchange):
    """Send pieces until the other side hangs up."""
    exchange.stream(chunk("a"), done=False)
    while True:
        exchange.send(b"data: %s\n\n" % json.dumps(chunk("b")).encode())
        threading.Event().wait(0.01)


LEAVE = """
import asyncio, sys, mesh
url, kind = sys.argv[1:]

async def leave():
    stream = await mesh.AsyncMeshClient(url, "mesh_x").chat("hi", stream=True)
    await anext(stream)

if kind == "async":
    asyncio.run(leave())
else:
    next(mesh.MeshClient(url, "mesh_x").chat("hi", stream=True))
"""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_program_that_ends_in_the_middle_of_a_stream_ends_quietly(server, kind):
    server.script(without_end)
    done = subprocess.run([sys.executable, "-c", LEAVE, server.url, kind], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_stream_that_is_forgotten_hangs_up(server):
    gone = threading.Event()

    def script(exchange):
        try:
            without_end(exchange)
        except OSError:
            gone.set()

    server.script(script)
    stream = mesh.MeshClient(server.url, "mesh_x", timeout=30).chat("hi", stream=True)
    next(stream)
    del stream
    gc.collect()
    assert gone.wait(5)


def test_an_asynchronous_stream_that_is_forgotten_hangs_up(server):
    gone = threading.Event()

    def script(exchange):
        try:
            without_end(exchange)
        except OSError:
            gone.set()

    server.script(script)

    async def run():
        client = mesh.AsyncMeshClient(server.url, "mesh_x", timeout=30)
        stream = await client.chat("hi", stream=True)
        await anext(stream)
        del stream
        gc.collect()
        return await asyncio.to_thread(gone.wait, 5)

    assert asyncio.run(run())
