"""Old servers: the second path only where the first is not there, and never a second execution."""

import pytest

from mesh import _endpoints

HTML = (404, b"<html>Not Found</html>")


@pytest.fixture(autouse=True)
def forget():
    yield
    _endpoints._older.clear()


def paths(fake):
    return [(call.method, call.path) for call in fake.calls]


@pytest.mark.parametrize("status", [404, 405])
def test_a_missing_endpoint_is_looked_for_under_the_older_path_and_remembered(client, fake, status):
    fake.reply(status, b"<html>")
    fake.answer("old")
    fake.answer("again")
    assert str(client.chat("hi")) == "old"
    assert str(client.chat("hi")) == "again"
    assert paths(fake) == [
        ("POST", "/api/v1/chat/completions"),
        ("POST", "/v1/mesh/chat"),
        ("POST", "/v1/mesh/chat"),
    ]
    assert fake.calls[0].json == fake.calls[1].json


def test_a_server_that_was_renewed_is_noticed(client, fake):
    fake.reply(*HTML)
    fake.answer("old")
    client.chat("hi")
    fake.reply(*HTML)
    fake.answer("new")
    assert str(client.chat("hi")) == "new"
    assert str(client.chat("hi")) == "You said: hi"
    assert paths(fake)[2:] == [
        ("POST", "/v1/mesh/chat"),
        ("POST", "/api/v1/chat/completions"),
        ("POST", "/api/v1/chat/completions"),
    ]


def test_where_none_is_there_it_says_what_was_tried(client, fake):
    fake.reply(*HTML)
    fake.reply(405, b"")
    answer = client.chat("hi")
    assert answer.error == "Request failed: All endpoints failed"
    assert (answer.success, answer.code, answer.status) == (False, "all_endpoints_failed", 405)
    assert answer.details == {"tried": ["POST /api/v1/chat/completions: 404", "POST /v1/mesh/chat: 405"]}
    assert answer.troubleshooting


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "model_not_found"),
        (404, "key_not_found"),
        (400, None),
        (401, None),
        (402, None),
        (429, None),
        (500, None),
        (503, None),
    ],
)
def test_everything_else_is_an_answer_and_nothing_is_sent_again(make, fake, status, code):
    client = make(max_retries=0)
    if code is None:
        fake.reply(status, b"<html>")
    else:
        fake.fail(code, status=status)
    assert not client.chat("hi").success
    assert len(fake.calls) == 1


@pytest.mark.parametrize("fault", ["broken", "timeout"])
def test_a_request_that_may_have_been_executed_is_not_sent_elsewhere(client, fake, fault):
    fake.fault(fault)
    assert not client.chat("hi").success
    assert len(fake.calls) == 1


def test_keys_and_models_fall_back_too(client, fake):
    fake.fail("route_not_found")
    fake.reply(200, {"success": True, "models": {"old": ["m"]}})
    assert client.get_models()["models"] == {"old": ["m"]}
    fake.reply(200, {"value": "v"})
    assert client.get_key("a/b", user_id="u") == "v"
    assert paths(fake)[1:] == [("GET", "/v1/mesh/models"), ("GET", "/v1/mesh/keys/a%2Fb?user_id=u")]


def test_a_stream_falls_back(client, fake):
    fake.reply(*HTML)
    fake.stream("a", "b")
    assert [piece.text for piece in client.items(client.chat("hi", stream=True))] == ["a", "b"]


def test_a_given_idempotency_key_goes_along(client, fake):
    client.chat("hi", idempotency_key="mine")
    assert fake.calls[0].headers["idempotency-key"] == "mine"
    assert "idempotency_key" not in fake.calls[0].json
    with pytest.raises(TypeError):
        client.chat("hi", idempotency_key=5)
