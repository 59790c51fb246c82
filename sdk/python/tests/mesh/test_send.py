"""One deadline over all tries, and never a second time what may have been done."""

import socket
import time

import pytest

from mesh import _send

from .server import slow


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(_send, "_FIRST_WAIT_S", 0.01)


def hangs_up(exchange):
    exchange.connection.shutdown(socket.SHUT_RDWR)


def breaks_off(exchange):
    exchange.head(200, content_type="application/json", content_length=1000)
    exchange.send(b'{"half": ')
    exchange.connection.shutdown(socket.SHUT_RDWR)


CALLS = {
    "chat": lambda client: client.chat("hi"),
    "store": lambda client: client.store_key("a", "x"),
    "delete": lambda client: client.delete_key("a"),
    "restore": lambda client: client.restore_key("a"),
}


@pytest.mark.parametrize("fault", [hangs_up, breaks_off, lambda e: e.reset()], ids=["closed", "half", "reset"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_may_have_been_done_is_never_sent_twice(client, server, fault, call):
    server.script(fault)
    assert call(client)["code"] == "connection_failed"
    assert len(server.asked) == 1


@pytest.mark.parametrize("fault", [hangs_up, breaks_off, lambda e: e.reset()], ids=["closed", "half", "reset"])
def test_a_read_is_tried_again(client, server, fault):
    server.script(fault, fault, lambda exchange: exchange.answer(200, {"value": "x"}))
    assert client.get_key("a") == "x"
    assert len(server.asked) == 3


def test_tries_come_to_an_end(make, server):
    server.script(hangs_up)
    with pytest.raises(Exception, match="connection ended"):
        make(max_retries=1).get_key("a")
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_what_was_refused_with_a_time_is_sent_again(client, server, status):
    code = {429: "provider_rate_limited", 503: "provider_unavailable"}[status]
    server.script(
        lambda exchange: exchange.refuse(code, status, retry_after=0),
        lambda exchange: exchange.answer(200, {"success": True, "name": "a"}),
    )
    assert client.store_key("a", "x").success
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("code", "status", "headers"),
    [
        ("provider_unavailable", 503, {}),
        ("provider_failed", 502, {"retry_after": 0}),
        ("provider_timeout", 504, {"retry_after": 0}),
        ("internal_error", 500, {"retry_after": 0}),
        ("revision_conflict", 412, {"retry_after": 0}),
        ("unheard_of", 503, {"retry_after": 0}),
        ("provider_unavailable", 503, {"retry_after": "soon"}),
    ],
)
def test_what_was_not_surely_refused_is_not_sent_again(client, server, code, status, headers):
    server.script(lambda exchange: exchange.refuse(code, status, **headers))
    assert client.store_key("a", "x")["code"] == code
    assert len(server.asked) == 1


def test_a_wait_beyond_the_deadline_is_not_begun(client, server):
    server.script(lambda exchange: exchange.refuse("provider_rate_limited", 429, retry_after=3600))
    started = time.monotonic()
    answer = client.chat("hi")
    assert (answer["code"], answer["details"]) == ("provider_rate_limited", {"retry_after": 3600.0})
    assert time.monotonic() - started < 3
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_told_with_its_address(make):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    answer = make(url).chat("hi")
    assert answer["code"] == "connection_failed"
    assert url in answer["error"]
    assert answer["status"] is None


def test_a_server_that_comes_up_between_two_tries_is_found(make, server):
    """Nothing was sent without a connection, so even a chat is tried again."""
    import threading

    from .server import Server

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    late = Server.__new__(Server)

    def start():
        time.sleep(0.2)
        late.__init__()

    import mesh._transport as transport_module  # noqa: F401 - the real one is used

    original = socket.create_server
    thread = threading.Thread(target=start)
    try:
        socket.create_server = lambda _address: original(address)
        thread.start()
        client = make(f"http://127.0.0.1:{address[1]}", max_retries=8)
        _send._FIRST_WAIT_S = 0.1
        assert client.chat("hi").success
    finally:
        thread.join()
        socket.create_server = original
        late.close()
    assert len(late.asked) == 1


def test_a_call_has_its_own_time(make, server):
    server.script(slow(2))
    answer = make().chat("hi", timeout=0.3)
    assert answer["code"] == "timeout"
    assert len(server.asked) == 1


def test_a_client_has_a_time_for_all_its_calls(make, server):
    server.script(slow(2))
    assert make(timeout=0.3).delete_key("a")["code"] == "timeout"


def test_a_closed_client_says_so(client):
    client.close()
    client.close()
    assert client.chat("hi")["code"] == "client_closed"
