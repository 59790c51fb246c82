"""Clients in the places where people use them: threads, forks, running event loops, notebooks, and without a server."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import subprocess
import sys
import threading

import pytest

import mesh
from mesh import _module

from .server import chunk, completion, slow


@pytest.fixture(autouse=True)
def no_shared_client(monkeypatch):
    monkeypatch.setattr(_module, "_client", None)


# --- without a server or a login ---


def test_without_a_server_a_call_says_how_to_name_one():
    answer = mesh.chat("hi")
    assert (answer["success"], answer["code"]) == (False, "server_not_configured")
    assert any("mesh-server dev" in step for step in answer["troubleshooting"])
    with pytest.raises(mesh.ConfigurationError):
        mesh.get_key("a")


def test_without_a_login_a_call_says_how_to_get_one(server):
    client = mesh.MeshClient(server.url)
    assert client.chat("hi")["code"] == "not_logged_in"
    with pytest.raises(mesh.AuthenticationError):
        client.list_keys()
    assert not server.asked


def test_the_functions_find_a_server_that_was_set_up_after_the_first_call(server, monkeypatch):
    assert mesh.chat("hi")["code"] == "server_not_configured"
    monkeypatch.setenv("MESH_API_URL", server.url)
    monkeypatch.setenv("MESH_AUTH_TOKEN", "mesh_x")
    assert mesh.chat("hi").content == "Hello"
    assert _module._shared() is _module._shared()


# --- where it runs ---


def test_many_threads_share_one_client(server):
    with mesh.MeshClient(server.url, "mesh_x") as client:
        results = []
        threads = [threading.Thread(target=lambda: results.append(client.chat("hi").content)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == ["Hello"] * 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_after_the_first_call_is_told_what_to_do(server):
    with mesh.MeshClient(server.url, "mesh_x", timeout=10) as client:
        assert client.chat("hi").success
        child = os.fork()
        if child == 0:
            status = 2
            try:
                told = [client.chat("hi"), mesh.MeshClient(server.url, "mesh_x").chat("hi")]
                status = 0 if {answer["code"] for answer in told} == {"process_forked"} else 1
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert client.chat("hi").success


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_forked_before_the_first_call_works(server):
    program = """
import os, sys, mesh
client = mesh.MeshClient(sys.argv[1], "mesh_x")
child = os.fork()
good = client.chat("hi").get("content") == "Hello"
if child == 0:
    os._exit(0 if good else 1)
_, status = os.waitpid(child, 0)
sys.exit(0 if good and os.waitstatus_to_exitcode(status) == 0 else 1)
"""
    done = subprocess.run([sys.executable, "-c", program, server.url], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


async def test_the_sync_client_works_inside_a_running_event_loop(server):
    with mesh.MeshClient(server.url, "mesh_x") as client:
        assert client.chat("hi").content == "Hello"


def test_an_async_client_works_in_one_event_loop_after_another(server):
    client = mesh.AsyncMeshClient(server.url, "mesh_x")

    async def ask():
        return (await client.chat("hi")).content

    assert [asyncio.run(ask()) for _ in range(3)] == ["Hello"] * 3
    asyncio.run(client.close())


async def test_async_calls_run_at_the_same_time(server):
    barrier = threading.Barrier(10, timeout=10)

    def together(exchange):
        barrier.wait()
        exchange.answer(200, completion())

    server.script(together)
    async with mesh.AsyncMeshClient(server.url, "mesh_x") as client:
        answers = await asyncio.gather(*(client.chat("hi") for _ in range(10)))
    assert all(answer.success for answer in answers)


async def test_a_cancelled_call_is_over(server):
    server.script(slow(3))
    async with mesh.AsyncMeshClient(server.url, "mesh_x") as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.chat("hi")


@pytest.mark.parametrize("kind", [mesh.MeshClient, mesh.AsyncMeshClient])
def test_a_client_that_is_forgotten_goes_quietly(kind, server, recwarn):
    client = kind(server.url, "mesh_x")
    if kind is mesh.MeshClient:
        client.chat("hi")
    del client
    gc.collect()
    assert not recwarn.list


def test_a_transport_of_ones_own_is_used():
    from mesh._transport import Reply

    class Canned:
        def send(self, request):
            return Reply(200, {}, b'{"success": true, "keys": [{"name": "%s"}]}' % request.method.encode())

        def close(self):
            pass

    assert mesh.MeshClient("https://x.example", "mesh_x", transport=Canned()).list_keys() == ["GET"]


INTERRUPTED = """
import os, signal, sys, threading, time, mesh
client = mesh.MeshClient(sys.argv[1], "mesh_x")
stream = sys.argv[2] == "stream"
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    answer = client.chat("hi", stream=stream)
    for piece in answer if stream else ():
        pass
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(0 if client.list_keys() == [] else 1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("how", ["whole", "stream"])
def test_ctrl_c_ends_a_waiting_call_at_once_and_hangs_up(server, how):
    hung_up = threading.Event()

    def stalls(exchange):
        if how == "stream":
            exchange.stream(done=False)
        exchange.connection.settimeout(0.2)
        while True:
            with contextlib.suppress(TimeoutError):
                if not exchange.connection.recv(1):
                    return hung_up.set()
            if how == "stream":
                exchange.send(b"data: " + json.dumps(chunk("a")).encode() + b"\n\n")

    server.script(stalls, lambda exchange: exchange.answer(200, {"keys": []}))
    child = subprocess.Popen([sys.executable, "-c", INTERRUPTED, server.url, how], stdout=subprocess.PIPE, text=True)
    try:
        assert hung_up.wait(20)
        assert child.wait(20) == 0
        assert child.stdout.read() == "interrupted\n"
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


# --- debug ---


SECRETS = ("mesh_secret_token", "the prompt", "the answer", "the-value", "name-of-a-key")


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_debug_lines_tell_of_calls_and_nothing_of_their_content(server, logger, capsys, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("DEBUG", "true")
    server.script(
        lambda exchange: exchange.answer(200, completion("the answer"), x_request_id="req_7"),
        lambda exchange: exchange.answer(200, {"success": True, "value": "the-value"}),
    )
    with mesh.MeshClient(server.url, "mesh_secret_token", debug=True if how == "argument" else None) as client:
        client.chat("the prompt")
        client.store_key("name-of-a-key", "the-value")
        client.get_key("name-of-a-key")
    lines = capsys.readouterr().err
    assert "POST /api/v1/chat/completions -> 200 req_7" in lines
    assert "GET /api/v1/keys/{name} -> 200" in lines
    assert not [secret for secret in SECRETS if secret in lines]


def test_debug_touches_no_other_logger_and_never_writes_twice(server, logger, capsys):
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    for _ in range(3):
        mesh.MeshClient(server.url, "mesh_x", debug=True).chat("hi")
    assert (root.level, root.handlers) == before
    assert len(capsys.readouterr().err.strip().splitlines()) == 3


def test_without_debug_nothing_is_written(server, capsys):
    with mesh.MeshClient(server.url, "mesh_x") as client:
        client.chat("hi")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_default_model_is_set_for_one_client(server):
    with mesh.MeshClient(server.url, "mesh_x") as client, mesh.MeshClient(server.url, "mesh_x") as other:
        client.set_default_model("openai", "gpt-4o")
        client.chat("hi")
        other.chat("hi")
        client.reset_default_models()
        client.chat("hi")
    assert [asked.json["model"] for asked in server.asked] == ["gpt-4o", "gpt-4", "gpt-4"]
