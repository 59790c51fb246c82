"""A login that ends while a stream runs, or between the rounds of a chat with tools."""

import json
import threading

import pytest

import mesh

from ..server import LAST, chunk

CHAT = "/api/v1/chat/completions"
CALL = {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
EXPIRED = {"error": {"code": "token_expired", "message": "The token has expired.", "type": "authentication_error"}}


def weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


def begin(ask):
    ask.handler.send_response(200)
    ask.handler.send_header("content-type", "text/event-stream")
    ask.handler.send_header("connection", "close")
    ask.handler.end_headers()
    ask.handler.close_connection = True


def send(ask, *pieces):
    for piece in pieces:
        ask.handler.wfile.write(b"data: " + json.dumps(piece).encode() + b"\n\n")
    ask.handler.wfile.flush()


def end(ask, *pieces):
    send(ask, *pieces, LAST)
    ask.handler.wfile.write(b"data: [DONE]\n\n")


def calls_a_tool(ask):
    begin(ask)
    end(ask, chunk(tool_calls=[CALL]), chunk(finish="tool_calls"))


def says(*texts):
    def script(ask):
        begin(ask)
        end(ask, *map(chunk, texts), chunk(finish="stop"))

    return script


def test_a_stream_goes_on_when_its_login_ends(make, issuer, logged_in):
    """The server looked at the login when the call began; meanwhile other calls renew it."""
    logged_in()
    renewed = threading.Event()

    def script(ask):
        begin(ask)
        send(ask, chunk("a"))
        assert renewed.wait(10)
        end(ask, chunk("b"), chunk(finish="stop"))

    issuer.fault(CHAT, script)
    client = make()
    stream = client.chat("hi", stream=True)
    issuer.access.clear()
    assert client.list_keys() == []
    renewed.set()
    assert [piece.text for piece in client.pieces(stream)] == ["a", "b"]
    assert len(issuer.refreshes) == 1
    assert len(issuer.requests(CHAT)) == 1


def test_a_server_that_ends_a_stream_for_its_login_is_believed_and_nothing_is_asked_twice(make, issuer, logged_in):
    logged_in()

    def script(ask):
        begin(ask)
        send(ask, chunk("a"), EXPIRED)

    issuer.fault(CHAT, script)
    client = make()
    stream = client.chat("hi", stream=True)
    with pytest.raises(mesh.AuthenticationError) as caught:
        client.pieces(stream)
    assert caught.value.code == stream.response.code == "token_expired"
    assert any("mesh-auth" in step for step in caught.value.troubleshooting)
    assert len(issuer.requests(CHAT)) == 1


def test_a_login_that_ended_between_two_rounds_is_renewed_and_the_chat_goes_on(make, issuer, logged_in):
    logged_in()

    def ends_the_login(ask):
        issuer.access.clear()
        calls_a_tool(ask)

    issuer.fault(CHAT, ends_the_login, (401, EXPIRED), says("It is ", "sunny"))
    client = make()
    stream = client.chat("?", tools=[weather], stream=True)
    client.pieces(stream)
    assert stream.response.content == "It is sunny"
    assert [result.content for result in stream.response.tool_results] == ["sunny in Rome"]
    assert len(issuer.refreshes) == 1
    first, refused, again = issuer.requests(CHAT)
    assert refused.headers["idempotency-key"] == again.headers["idempotency-key"] != first.headers["idempotency-key"]


def test_a_given_token_that_ended_between_two_rounds_is_told_with_what_was_spent(make, issuer):
    issuer.fault(CHAT, calls_a_tool, (401, EXPIRED))
    client = make(auth_token="given")
    stream = client.chat("?", tools=[weather], stream=True)
    with pytest.raises(mesh.AuthenticationError):
        client.pieces(stream)
    assert stream.response.code == "token_expired"
    assert stream.response.usage.total_tokens == 5
    assert len(issuer.requests(CHAT)) == 2
