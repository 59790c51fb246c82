"""Keys: names that are any text, values that are text or bytes, and no secret in any message."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest

import mesh

RECORD = {
    "success": True,
    "name": "a",
    "user_id": None,
    "version": 1,
    "rev": 1,
    "tags": {},
    "note": None,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "expires_at": None,
}


def answer(**members):
    return lambda exchange: exchange.answer(200, {**RECORD, **members})


def test_a_key_is_stored(client, server):
    server.script(answer())
    until = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=1)))
    stored = client.store_key("a", "secret", tags={"k": "v"}, note="n", expires_at=until)
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PUT", "/api/v1/keys/a")
    assert asked.json == {
        "value": "secret",
        "tags": {"k": "v"},
        "note": "n",
        "expires_at": "2030-01-01T12:00:00+01:00",
    }
    assert (stored.success, stored.name, stored.version, stored["rev"]) == (True, "a", 1, 1)


def test_keywords_as_the_documentation_prints_them(client, server):
    server.script(answer())
    assert client.store_key(key_name="a", key_value="secret", user_id="me").success
    assert server.asked[0].path == "/api/v1/keys/a?user_id=me"


@pytest.mark.parametrize("value", [b"\x00\xff", bytearray(b"\x00\xff"), memoryview(b"\x00\xff")])
def test_bytes_go_and_come_as_bytes(client, server, value):
    server.script(answer(), answer(value_base64="AP8="))
    client.store_key("a", value)
    assert base64.b64decode(server.asked[0].json["value_base64"]) == b"\x00\xff"
    assert client.get_key("a") == b"\x00\xff"


def test_conditions_become_headers(client, server):
    server.script(answer())
    client.store_key("a", "x", if_rev=3)
    client.store_key("a", "x", if_absent=True)
    assert [asked.headers.get("if-match") for asked in server.asked] == ['"3"', None]
    assert [asked.headers.get("if-none-match") for asked in server.asked] == [None, "*"]


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("a/b", "a%2Fb"),
        ("...", "..."),
        ("../..", "..%2F.."),
        ("a b", "a%20b"),
        ("ключ", "%D0%BA%D0%BB%D1%8E%D1%87"),
        ("a?b#c%", "a%3Fb%23c%25"),
        ("restore", "restore"),
    ],
)
def test_any_name_is_one_segment_of_the_path(client, server, name, segment):
    server.script(answer(value="x"))
    client.store_key(name, "x")
    client.get_key(name)
    client.delete_key(name)
    client.restore_key(name, "me")
    paths = [asked.path for asked in server.asked]
    assert paths == [*[f"/api/v1/keys/{segment}"] * 3, f"/api/v1/keys/{segment}/restore?user_id=me"]


def test_a_key_that_is_not_there_is_none(client, server):
    server.script(lambda exchange: exchange.refuse("key_not_found", 404))
    assert client.get_key("a") is None


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("token_not_found", 404, mesh.NotFoundError),
        ("token_invalid", 401, mesh.AuthenticationError),
        ("vault_damaged", 500, mesh.ServerError),
    ],
)
def test_reading_raises_for_everything_else(client, server, code, status, error):
    server.script(lambda exchange: exchange.refuse(code, status))
    with pytest.raises(error):
        client.get_key("a")
    with pytest.raises(error):
        client.list_keys()


@pytest.mark.parametrize("body", [b"{}", b'{"value": 5}', b'{"value_base64": "!"}', b"<html>"])
def test_an_answer_without_a_value_raises(client, server, body):
    server.script(lambda exchange: exchange.answer(200, body))
    with pytest.raises(mesh.ConnectionFailed):
        client.get_key("a")


def test_a_list_is_read_to_its_end(client, server):
    def page(*names, cursor=None):
        return lambda exchange: exchange.answer(200, {"keys": [{"name": n} for n in names], "next_cursor": cursor})

    server.script(page("a", "b", cursor="x=&y"), page("c"))
    assert client.list_keys("me", prefix="p/", tag=("k", "v:w")) == ["a", "b", "c"]
    assert server.asked[1].path == "/api/v1/keys?user_id=me&prefix=p%2F&cursor=x%3D%26y&tag=k%3Av%3Aw"


@pytest.mark.parametrize("body", [b"{}", b'{"keys": [{}]}', b'{"keys": 5}'])
def test_an_answer_without_a_list_raises(client, server, body):
    server.script(lambda exchange: exchange.answer(200, body))
    with pytest.raises(mesh.ConnectionFailed):
        client.list_keys()


def test_deleting_and_restoring_report_in_the_result(client, server):
    server.script(
        lambda exchange: exchange.answer(
            200, {"success": True, "name": "a", "deleted_at": "x", "restorable_until": "y"}
        ),
        answer(rev=3),
        lambda exchange: exchange.refuse("key_not_found", 404),
    )
    assert client.delete_key("a").restorable_until == "y"
    assert client.restore_key("a").rev == 3
    assert client.delete_key("a") == {**client.restore_key("a")}
    assert client.delete_key("a")["code"] == "key_not_found"


SECRET = "s3cret-value"


@pytest.mark.parametrize(
    ("name", "value", "named", "error"),
    [
        ("", SECRET, {}, ValueError),
        (None, SECRET, {}, TypeError),
        (5, SECRET, {}, TypeError),
        ("a" * 257, SECRET, {}, ValueError),
        (".", SECRET, {}, ValueError),
        ("..", SECRET, {}, ValueError),
        ("\ud800", SECRET, {}, ValueError),
        ("a", "", {}, ValueError),
        ("a", b"", {}, ValueError),
        ("a", None, {}, TypeError),
        ("a", [SECRET], {}, TypeError),
        ("a", SECRET + "\ud800", {}, ValueError),
        ("a", SECRET * 6000, {}, ValueError),
        ("a", SECRET, {"user_id": 5}, TypeError),
        ("a", SECRET, {"user_id": "u" * 257}, ValueError),
        ("a", SECRET, {"if_rev": 1, "if_absent": True}, ValueError),
        ("a", SECRET, {"if_rev": "x"}, ValueError),
        ("a", SECRET, {"expires_at": datetime(2030, 1, 1)}, TypeError),  # noqa: DTZ001 - refused for that
        ("a", SECRET, {"expires_at": "2030-01-01"}, TypeError),
        ("a", SECRET, {"tags": {"k": object()}}, TypeError),
    ],
)
def test_a_wrong_call_raises_before_anything_is_sent_and_without_the_value(client, server, name, value, named, error):
    with pytest.raises(error) as caught:
        client.store_key(name, value, **named)
    assert SECRET not in str(caught.value)
    assert not server.asked


def test_a_failing_store_does_not_show_the_value(make, server):
    server.script(lambda exchange: exchange.reset())
    client = make(raise_on_error=True, max_retries=0)
    with pytest.raises(mesh.MeshError) as caught:
        client.store_key("a", SECRET)
    import traceback

    text = "".join(traceback.format_exception(caught.value))
    assert SECRET not in text
    assert "mesh_test_token" not in text


def test_expiry_in_the_past_is_the_servers_to_judge(client, server):
    server.script(lambda exchange: exchange.refuse("invalid_request", 400))
    assert client.store_key("a", "x", expires_at=datetime.now(UTC))["code"] == "invalid_request"
