"""Versions, sharing and tests of keys: what is sent, and what a wrong call is told before anything is."""

from datetime import UTC, datetime

import pytest

import mesh
import mesh.testing

from .test_keys import RECORD, answer

GRANT = {"id": "g1", "owner": "o", "pattern": "team/*", "grantee": "b", "actions": ["chat"], "success": True}


def test_versions_and_rollback(client, server):
    versions = [{"version": 2, "current": True}, {"version": 1, "current": False}]
    server.script(
        lambda exchange: exchange.answer(200, {"success": True, "name": "a/b", "versions": versions}), answer()
    )
    found = client.key_versions("a/b", owner="01a2")
    assert [(one.version, one["current"]) for one in found] == [(2, True), (1, False)]
    assert client.rollback_key("a/b", 1, "me").success
    assert [asked.path for asked in server.asked] == [
        "/api/v1/keys/a%2Fb/versions?owner=01a2",
        "/api/v1/keys/a%2Fb/rollback?user_id=me",
    ]
    assert server.asked[1].json == {"version": 1}


def test_keys_are_found_with_what_is_known_of_them(client, server):
    pages = [{"keys": [{**RECORD, "name": "a"}], "next_cursor": "c"}, {"keys": [{**RECORD, "name": "b"}]}]
    server.script(*[lambda exchange, page=page: exchange.answer(200, page) for page in pages])
    found = client.find_keys(prefix="x", tag=("env", "prod"))
    assert [key.name for key in found] == ["a", "b"]
    assert server.asked[1].path == "/api/v1/keys?prefix=x&cursor=c&tag=env%3Aprod"


def test_keys_of_another_account_are_addressed_by_it(client, server):
    server.script(answer(value="x"))
    client.get_key("a", owner="01a2", version=3)
    client.store_key("a", "v", owner="01a2")
    client.delete_key("a", owner="01a2")
    client.restore_key("a", owner="01a2")
    client.test_key("a", owner="01a2", provider="openai")
    assert [asked.path.partition("?")[2] for asked in server.asked] == ["owner=01a2&version=3", *["owner=01a2"] * 4]
    assert server.asked[-1].json == {"provider": "openai"}


def test_version_0_is_asked_for_and_not_left_out(client, server):
    server.script(lambda exchange: exchange.refuse("version_not_found", 404))
    with pytest.raises(mesh.NotFoundError):
        client.get_key("a", version=0)
    assert server.asked[0].path == "/api/v1/keys/a?version=0"


def test_sharing(client, server):
    server.script(lambda exchange: exchange.answer(201, GRANT))
    until = datetime(2030, 1, 1, tzinfo=UTC)
    grant = client.share_keys("team/*", "b", ["chat"], expires_at=until)
    assert (grant.id, grant.actions) == ("g1", ["chat"])
    sent = {"pattern": "team/*", "grantee": "b", "actions": ["chat"], "expires_at": "2030-01-01T00:00:00Z"}
    assert server.asked[0].json == sent
    server.script(lambda exchange: exchange.answer(200, {"success": True, "grants": [GRANT]}))
    assert [one.id for one in client.list_grants("received")] == ["g1"]
    assert server.asked[1].path == "/api/v1/grants?direction=received"
    server.script(lambda exchange: exchange.answer(200, {"success": True, "id": "g1"}))
    assert client.unshare_keys("g/1").success
    assert (server.asked[2].method, server.asked[2].path) == ("DELETE", "/api/v1/grants/g%2F1")


def test_what_fails_is_in_the_result_or_raised(client, server):
    server.script(lambda exchange: exchange.refuse("grantee_not_found", 404))
    assert client.share_keys("a", "nobody", ["read"]).code == "grantee_not_found"
    server.script(lambda exchange: exchange.refuse("key_not_found", 404))
    with pytest.raises(mesh.NotFoundError):
        client.key_versions("a")


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda c: c.rollback_key("a", "1"), TypeError),
        (lambda c: c.share_keys("a", "b", "read"), TypeError),
        (lambda c: c.share_keys("a", "b", []), TypeError),
        (lambda c: c.share_keys("a", "b", ["read"], expires_at=datetime(2030, 1, 1)), TypeError),  # noqa: DTZ001
        (lambda c: c.unshare_keys(""), ValueError),
        (lambda c: c.list_grants("both"), ValueError),
        (lambda c: c.key_versions(""), ValueError),
        (lambda c: c.store_key("a", "v", owner="o", provable=True), ValueError),
    ],
)
def test_a_wrong_call_sends_nothing(client, server, call, kind):
    with pytest.raises(kind):
        call(client)
    assert server.asked == []


def test_lists_that_are_none_are_no_answer(client, server):
    server.script(lambda exchange: exchange.answer(200, {"success": True, "grants": "none", "versions": [1]}))
    for call in (client.list_grants, lambda: client.key_versions("a")):
        with pytest.raises(mesh.MeshError) as caught:
            call()
        assert caught.value.code == "answer_invalid"


def test_the_fake_keeps_history_and_grants():
    with mesh.testing.FakeMesh().client() as client:
        client.store_key("a", "one")
        client.store_key("a", "two")
        assert [one.version for one in client.key_versions("a")] == [2, 1]
        assert client.rollback_key("a", 1).version == 3
        assert client.get_key("a") == "one"
        assert client.get_key("a", version=2) == "two"
        assert client.test_key("a").result == "works"
        grant = client.share_keys("a", "bob", ["read"])
        assert client.unshare_keys(grant.id).success
        assert client.list_grants() == []
