"""The client that renews in the background: no call waits, and its thread ends with it."""

import asyncio
import gc
import os
import threading
import time
import weakref
from dataclasses import replace

import pytest

import mesh
import mesh.auto_refresh_client
from mesh import AutoRefreshMeshClient


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "mesh-refresh"]


def until(true, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_renews_without_a_call(issuer, logged_in, store):
    issuer.life = 1.5
    logged_in()
    with AutoRefreshMeshClient(issuer.url) as client:
        client.list_keys()
        first = store.load().access_token
        until(lambda: store.load().access_token != first)
        until(lambda: len(issuer.refreshes) >= 2)
        assert client.list_keys() == []
    assert not threads()


def test_no_call_waits_for_a_renewal(issuer, logged_in, store):
    """Of the time before its end the first half is the background's own."""
    now = time.time()
    store.save(replace(logged_in(), obtained_at=now - 82, expires_at=now + 18))  # due by 2 s of 20
    release = threading.Event()

    def slowly(ask):
        release.wait(10)
        issuer.token(ask)

    issuer.fault("/oauth/token", slowly)
    with AutoRefreshMeshClient(issuer.url) as client:
        client.list_keys()
        until(lambda: issuer.requests("/oauth/token"))
        assert client.list_keys() == []
        assert not issuer.refreshes
        release.set()
        until(lambda: issuer.refreshes)


def test_two_clients_have_a_thread_each_and_share_the_login(issuer, logged_in):
    issuer.life = 1.2
    logged_in()
    with AutoRefreshMeshClient(issuer.url) as first, AutoRefreshMeshClient(issuer.url) as second:
        first.list_keys()
        second.list_keys()
        assert len(threads()) == 2
        time.sleep(1.5)
        assert first.list_keys() == second.list_keys() == []
    assert issuer.reuses == 0
    assert not threads()


@pytest.mark.parametrize("arguments", [{"auto_refresh": False}, {"auth_token": "given"}])
def test_where_nothing_is_renewed_there_is_no_thread(issuer, logged_in, arguments):
    logged_in()
    with AutoRefreshMeshClient(issuer.url, **arguments) as client:
        client.list_keys()
        assert not threads()


def test_the_environment_can_switch_it_off(issuer, logged_in, monkeypatch):
    monkeypatch.setenv("AUTO_REFRESH", "false")
    logged_in()
    with AutoRefreshMeshClient(issuer.url) as client:
        client.list_keys()
        assert not threads()


def test_the_thread_ends_with_a_client_that_nobody_closed(issuer, logged_in):
    logged_in()
    client = AutoRefreshMeshClient(issuer.url)
    client.list_keys()
    gone = weakref.ref(client)
    assert threads()
    client._transport.close()
    del client
    gc.collect()
    assert gone() is None
    until(lambda: not threads())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_gets_a_thread_of_its_own(issuer, logged_in):
    import subprocess
    import sys

    logged_in()
    program = """
import os, sys, threading, mesh
client = mesh.AutoRefreshMeshClient(sys.argv[1])
child = os.fork()
good = client.list_keys() == []
good = good and [t.name for t in threading.enumerate()].count("mesh-refresh") == 1
client.close()
if child == 0:
    os._exit(0 if good else 1)
sys.exit(0 if good and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 else 1)
"""
    done = subprocess.run([sys.executable, "-c", program, issuer.url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_issuer_that_is_down_is_tried_again(issuer, logged_in, monkeypatch):
    monkeypatch.setattr(mesh.auto_refresh_client, "_AGAIN_S", 0.05)
    monkeypatch.setattr("mesh.auth.order._PAUSE_S", 0.05)
    logged_in(expires_in=0.9)
    issuer.fault("/oauth/token", *[(503, {})] * 7)
    with AutoRefreshMeshClient(issuer.url) as client:
        client.list_keys()
        until(lambda: issuer.refreshes)
        assert client.list_keys() == []


def test_a_session_that_is_over_is_not_asked_for_again(issuer, logged_in, monkeypatch):
    monkeypatch.setattr(mesh.auto_refresh_client, "_IDLE_S", 0.02)
    logged_in(expires_in=0.3)
    for family in issuer.families.values():
        family["ended"] = True
    with AutoRefreshMeshClient(issuer.url) as client:
        with pytest.raises(mesh.AuthenticationError):
            client.list_keys()
        time.sleep(0.3)
    assert len(issuer.requests("/oauth/token")) == 1


@pytest.mark.parametrize("margin", [-1, float("nan"), float("inf")])
def test_a_margin_that_is_none_is_refused(margin):
    with pytest.raises(ValueError, match="refresh_margin"):
        AutoRefreshMeshClient("http://127.0.0.1:1", refresh_margin=margin)


# --- the asynchronous twin ---


async def test_the_asynchronous_client_renews_without_a_call(issuer, logged_in, store):
    issuer.life = 1.5
    logged_in()
    async with mesh.AsyncAutoRefreshMeshClient(issuer.url) as client:
        await client.list_keys()
        first = store.load().access_token
        await asyncio.to_thread(until, lambda: store.load().access_token != first)
        assert await client.list_keys() == []
        assert len(threads()) == 1
    assert not threads()


async def test_it_renews_where_the_event_loop_stands_still(issuer, logged_in, store):
    issuer.life = 1.5
    logged_in()
    async with mesh.AsyncAutoRefreshMeshClient(issuer.url) as client:
        await client.list_keys()
        first = store.load().access_token
        until(lambda: store.load().access_token != first)  # blocks the loop
        assert await client.list_keys() == []


async def test_both_kinds_share_the_login(issuer, logged_in):
    issuer.life = 1.2
    logged_in()
    async with mesh.AsyncAutoRefreshMeshClient(issuer.url) as one:
        with AutoRefreshMeshClient(issuer.url) as other:
            other.list_keys()
            await asyncio.gather(*(one.list_keys() for _ in range(5)))
            await asyncio.to_thread(until, lambda: issuer.refreshes)
            assert other.list_keys() == await one.list_keys() == []
    assert issuer.reuses == 0
    assert not threads()


@pytest.mark.parametrize("arguments", [{"auto_refresh": False}, {"auth_token": "given"}])
async def test_it_has_no_thread_where_nothing_is_renewed(issuer, logged_in, arguments):
    logged_in()
    async with mesh.AsyncAutoRefreshMeshClient(issuer.url, **arguments) as client:
        await client.list_keys()
        assert not threads()


def test_its_thread_ends_with_a_client_that_nobody_closed(issuer, logged_in):
    logged_in()

    async def use():
        client = mesh.AsyncAutoRefreshMeshClient(issuer.url)
        await client.list_keys()
        await client._transport.close()
        return weakref.ref(client)

    gone = asyncio.run(use())
    gc.collect()
    assert gone() is None
    until(lambda: not threads())


async def test_it_says_that_a_session_is_over(issuer, logged_in):
    logged_in(expires_in=0.3)
    for family in issuer.families.values():
        family["ended"] = True
    async with mesh.AsyncAutoRefreshMeshClient(issuer.url) as client:
        with pytest.raises(mesh.AuthenticationError):
            await client.list_keys()
        await client.close()
        await client.close()


@pytest.mark.parametrize("margin", [-1, float("nan"), float("inf")])
def test_it_refuses_a_margin_that_is_none(margin):
    with pytest.raises(ValueError, match="refresh_margin"):
        mesh.AsyncAutoRefreshMeshClient("http://127.0.0.1:1", refresh_margin=margin)
