"""Chat: what is sent, what comes back, and the one rule for failures."""

import json

import pytest

import mesh

from .server import LAST, USAGE, chunk, completion


def test_a_chat_answers_with_everything_that_is_known(client, server):
    answer = client.chat("Hello, world!")
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/api/v1/chat/completions")
    assert asked.headers["authorization"] == "Bearer mesh_test_token"
    assert asked.json == {
        "messages": [{"role": "user", "content": "Hello, world!"}],
        "model": "gpt-4",
        "provider": "openai",
    }
    assert answer["success"] is answer.success is True
    assert answer["content"] == answer.content == str(answer) == "Hello"
    assert (answer.model, answer.provider, answer.finish_reason) == ("m-1", "acme", "stop")
    assert answer.usage == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5, "cost_usd": 0.25}
    assert answer.usage.output_tokens == 2
    assert (answer.warnings, answer.tool_calls, answer.thinking) == (["w"], [], None)
    assert (answer.id, answer.request_id) == ("chatcmpl-1", "req_1")
    assert answer.raw == completion()


def test_every_argument_arrives(client, server):
    tool = {"type": "function", "function": {"name": "f"}}
    client.chat(
        messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        model="m",
        provider="acme",
        system="Be brief.",
        thinking=False,
        max_tokens=5,
        temperature=0.5,
        tools=[tool],
        response_format={"type": "json_object"},
        top_p=0.9,
        key_name="mine",
    )
    assert server.asked[0].json == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        ],
        "model": "m",
        "provider": "acme",
        "thinking": False,
        "max_tokens": 5,
        "temperature": 0.5,
        "tools": [tool],
        "response_format": {"type": "json_object"},
        "top_p": 0.9,
        "key_name": "mine",
    }


def test_prompt_is_another_word_for_message(client, server):
    client.chat(prompt="hi")
    assert server.asked[0].json["messages"] == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("where", ["call", "client"])
def test_the_providers_own_body_comes_unchanged(make, server, where):
    own = {k: v for k, v in completion().items() if k in {"id", "object", "created", "model", "choices", "usage"}}
    if where == "call":
        assert make().chat("hi", original_response=True) == own
    else:
        client = make(original_response=True)
        assert client.chat("hi") == own
        assert client.chat("hi", original_response=False).content == "Hello"


def test_tool_calls_and_thinking_are_told(client, server):
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    body = completion(None, thinking="hm")
    body["choices"][0]["message"]["tool_calls"] = calls
    server.script(lambda exchange: exchange.answer(200, body))
    answer = client.chat("hi")
    assert (answer.content, answer.tool_calls, answer.thinking) == ("", calls, "hm")


# --- a wrong call is the caller's bug, and nothing is sent ---


class Schema:
    pass


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, TypeError),
        ({"message": "a", "messages": [{"role": "user", "content": "a"}]}, TypeError),
        ({"message": "a", "prompt": "b"}, TypeError),
        ({"message": 5}, TypeError),
        ({"message": b"a"}, TypeError),
        ({"messages": "a"}, TypeError),
        ({"messages": {"role": "user"}}, TypeError),
        ({"messages": []}, ValueError),
        ({"messages": ["a"]}, ValueError),
        ({"messages": [{"content": "a"}]}, ValueError),
        ({"message": "a", "system": 5}, TypeError),
        ({"message": "a", "model": 5}, TypeError),
        ({"message": "a", "provider": 5}, TypeError),
        ({"message": "a", "model": "gpt-4o", "provider": "anthropic"}, ValueError),
        ({"message": "a", "model": "claude-3-opus-20240229", "provider": "openai"}, ValueError),
        ({"message": "a", "max_tokens": "5"}, TypeError),
        ({"message": "a", "max_tokens": True}, TypeError),
        ({"message": "a", "max_tokens": 0}, ValueError),
        ({"message": "a", "temperature": "hot"}, TypeError),
        ({"message": "a", "thinking": "yes"}, TypeError),
        ({"message": "a", "thinking_budget": 1.5}, TypeError),
        ({"message": "a", "tools": {"name": "f"}}, TypeError),
        ({"message": "a", "tools": [print]}, TypeError),
        ({"message": "a", "response_format": Schema}, TypeError),
        ({"message": "a", "timeout": 0}, ValueError),
        ({"message": "a", "timeout": "5"}, TypeError),
        ({"message": "a", "stop": {1, 2}.__iter__()}, TypeError),
        ({"message": "a", "extra": object()}, TypeError),
    ],
)
@pytest.mark.parametrize("configured", [True, False])
def test_a_wrong_call_raises_before_anything_is_sent(make, server, arguments, error, configured):
    client = make() if configured else make("http://example.com")
    with pytest.raises(error):
        client.chat(**arguments)
    assert not server.asked


# --- failures ---


def test_a_failure_is_told_in_the_result(client, server):
    server.script(lambda exchange: exchange.refuse("provider_key_missing", 400, "There is no key."))
    answer = client.chat("hi")
    assert dict(answer) == {
        "success": False,
        "error": "There is no key.",
        "details": None,
        "troubleshooting": ["Do this."],
        "code": "provider_key_missing",
        "status": 400,
        "request_id": "req_1",
    }
    assert isinstance(answer, mesh.ChatResult)
    assert str(answer) == "Error: There is no key.\n  - Do this."
    with pytest.raises(KeyError, match="the call failed: There is no key"):
        answer["content"]
    with pytest.raises(AttributeError):
        answer.content  # noqa: B018 - the attribute is what is tested
    assert answer.get("content") is None


def test_the_same_failure_raises_where_that_was_asked_for(make, server):
    server.script(lambda exchange: exchange.refuse("provider_key_missing", 400, "There is no key."))
    quiet, loud = make(), make(raise_on_error=True)
    told = quiet.chat("hi")
    with pytest.raises(mesh.InvalidRequest) as caught:
        loud.chat("hi")
    assert caught.value.to_dict() == dict(told)


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("token_invalid", 401, mesh.AuthenticationError),
        ("scope_missing", 403, mesh.PermissionDenied),
        ("key_not_found", 404, mesh.NotFoundError),
        ("revision_conflict", 412, mesh.ConflictError),
        ("provider_rate_limited", 429, mesh.RateLimited),
        ("provider_auth_failed", 424, mesh.ProviderError),
        ("internal_error", 500, mesh.ServerError),
        ("a_code_of_the_future", 418, mesh.MeshError),
    ],
)
def test_each_family_has_its_class(make, server, code, status, expected):
    server.script(lambda exchange: exchange.refuse(code, status))
    with pytest.raises(expected) as caught:
        make(raise_on_error=True, max_retries=0).chat("hi")
    assert (caught.value.code, caught.value.status, caught.value.request_id) == (code, status, "req_1")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>login</html>"),
        (200, b"[]"),
        (200, b'{"choices": []}'),
        (200, b'{"choices": [{"message": null}]}'),
        (200, b'{"choices": "x"}'),
        (200, b"[" * 100_000),
        (301, b""),
        (403, b"<html>"),
        (502, b"Bad Gateway"),
        (500, b'{"error": "text"}'),
        (500, b'{"error": {"message": "no code"}}'),
    ],
)
def test_what_no_mesh_server_answers_is_told_as_that(make, server, status, body):
    server.script(lambda exchange: exchange.answer(status, body))
    answer = make(max_retries=0).chat("hi")
    assert (answer["success"], answer["code"], answer["status"]) == (False, "answer_invalid", status)
    assert answer["troubleshooting"]


def test_a_redirect_is_not_followed_and_takes_no_login_along(client, server):
    server.script(lambda exchange: exchange.answer(307, b"", location=f"{server.url}/elsewhere"))
    assert client.chat("hi")["code"] == "answer_invalid"
    assert len(server.asked) == 1


# --- streams ---


def tell(*pieces, **how):
    return lambda exchange: exchange.stream(*pieces, **how)


def test_a_stream_comes_in_pieces_and_ends_with_the_whole(client, server):
    server.script(tell(chunk(role="assistant"), chunk("Hel"), chunk("lo"), chunk(finish="stop"), LAST))
    stream = client.chat("hi", stream=True)
    pieces = client.pieces(stream)
    assert server.asked[0].json["stream"] is True
    assert [piece.text for piece in pieces] == [str(piece) for piece in pieces] == ["Hel", "lo"]
    assert pieces[0].raw == chunk("Hel")
    response = stream.response
    assert (response.content, response.finish_reason, response.provider) == ("Hello", "stop", "acme")
    assert response.usage == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5, "cost_usd": 0.25}
    assert (response.id, response.request_id, response.warnings) == ("chatcmpl-1", "req_1", ["w"])
    assert response.raw["choices"][0]["message"]["content"] == "Hello"
    assert response.raw["usage"] == USAGE


def test_pieces_of_tool_calls_are_put_together(client, server):
    def part(index, **call):
        return chunk(tool_calls=[{"index": index, **call}])

    server.script(
        tell(
            part(0, id="a", function={"name": "f", "arguments": ""}),
            part(0, function={"arguments": '{"x"'}),
            part(1, id="b", function={"name": "g", "arguments": "{}"}),
            part(0, function={"arguments": ": 1}"}),
            chunk(reasoning_content="hm"),
            chunk(finish="tool_calls"),
            LAST,
        )
    )
    stream = client.chat("hi", stream=True)
    assert [piece.thinking for piece in client.pieces(stream)][-1] == "hm"
    assert [(call["id"], call["function"]) for call in stream.response.tool_calls] == [
        ("a", {"name": "f", "arguments": '{"x": 1}'}),
        ("b", {"name": "g", "arguments": "{}"}),
    ]
    assert (stream.response.thinking, stream.response.finish_reason) == ("hm", "tool_calls")


def test_a_stream_of_the_providers_own_pieces(client, server):
    server.script(tell(chunk(role="assistant"), chunk("a"), chunk(finish="stop"), LAST))
    stream = client.chat("hi", stream=True, original_response=True)
    assert client.pieces(stream) == [chunk(role="assistant"), chunk("a"), chunk(finish="stop")]


def test_the_whole_is_not_there_before_the_end(client, server):
    server.script(tell(chunk("a"), chunk("b"), LAST))
    stream = client.chat("hi", stream=True)
    with pytest.raises(RuntimeError, match="end"):
        stream.response  # noqa: B018 - the attribute is what is tested
    assert client.first(stream).text == "a"


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (tell(chunk("a"), done=False), "stream_truncated"),
        (lambda exchange: (exchange.stream(chunk("a"), done=False), exchange.reset()), "stream_truncated"),
        (
            tell(chunk("a"), {"error": {"code": "provider_failed", "message": "x"}, "request_id": "req_2"}),
            "provider_failed",
        ),
        (lambda exchange: (exchange.stream(chunk("a"), done=False), exchange.send(b"data: {no\n\n")), "answer_invalid"),
        (lambda exchange: (exchange.stream(chunk("a"), done=False), exchange.send(b"data: []\n\n")), "answer_invalid"),
    ],
    ids=["ends", "reset", "error", "nonsense", "shape"],
)
def test_a_stream_that_fails_raises_while_iterating(client, server, script, code):
    server.script(script)
    stream = client.chat("hi", stream=True)
    with pytest.raises(mesh.MeshError) as caught:
        client.pieces(stream)
    assert caught.value.code == code
    assert caught.value.troubleshooting
    assert stream.response["code"] == code
    assert stream.response["success"] is False


def test_a_stream_that_is_refused_raises_while_iterating(client, server):
    server.script(lambda exchange: exchange.refuse("model_not_found", 400))
    stream = client.chat("hi", stream=True)
    assert stream.response["code"] == "model_not_found"
    with pytest.raises(mesh.InvalidRequest):
        client.pieces(stream)


def test_a_stream_that_is_refused_raises_at_once_where_that_was_asked_for(make, server):
    server.script(lambda exchange: exchange.refuse("model_not_found", 400))
    with pytest.raises(mesh.InvalidRequest):
        make(raise_on_error=True).chat("hi", stream=True)


def test_a_stream_that_falls_silent_is_given_up(client, server):
    def script(exchange):
        import time

        exchange.stream(chunk("a"), done=False)
        time.sleep(2)

    server.script(script)
    stream = client.chat("hi", stream=True, timeout=0.3)
    with pytest.raises(mesh.DeadlineExceeded):
        client.pieces(stream)


def test_pieces_are_there_before_the_stream_ends(client, server):
    import threading

    seen = threading.Event()

    def script(exchange):
        exchange.stream(chunk("a"), done=False)
        assert seen.wait(5)
        exchange.send(b"data: [DONE]\n\n")

    server.script(script)
    assert client.first(client.chat("hi", stream=True)).text == "a"
    seen.set()


def test_closing_a_stream_hangs_up(client, server):
    import threading

    hung_up = threading.Event()

    def script(exchange):
        exchange.stream(chunk("a"), done=False)
        try:
            while True:
                exchange.send(b"data: " + json.dumps(chunk("b" * 1000)).encode() + b"\n\n")
        except OSError:
            hung_up.set()

    server.script(script)
    client.first(client.chat("hi", stream=True))
    assert hung_up.wait(5)
