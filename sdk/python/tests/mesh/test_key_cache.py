"""The offline cache: sealed, named as stale, for the same login alone, and never against the server's word."""

import time
from datetime import UTC, datetime, timedelta

import pytest

import mesh
from mesh.keys import cache as module

from .test_keys import RECORD

SECRET = "the-secret-value"


def gives(**members):
    return lambda exchange: exchange.answer(200, {**RECORD, "value": SECRET, **members})


def down(exchange):
    exchange.answer(503, b"", connection="close")


@pytest.fixture
def cached(make, server):
    """Return a client that has read the key `a` once."""
    server.script(gives())
    client = make(server.url, cache=True, max_retries=0)
    assert client.get_key("a") == SECRET
    return client


def stored(tmp_path):
    return [file for file in (tmp_path / "config" / "cache").rglob("*.key") if file.is_file()]


def test_a_value_stands_in_while_the_server_is_away_and_says_so(cached, server, caplog):
    server.script(down)
    value = cached.get_key("a")
    assert value == SECRET
    assert isinstance(value, mesh.StaleText)
    assert abs((datetime.now(UTC) - value.read_at).total_seconds()) < 60
    assert "can't be reached" in caplog.text
    assert SECRET not in caplog.text


def test_a_broken_connection_is_no_answer_either(cached, server):
    server.script(lambda exchange: exchange.reset())
    assert cached.get_key("a") == SECRET


def test_bytes_stay_bytes(make, server):
    server.script(gives(value=None, value_base64="AP8="), down)
    client = make(server.url, cache=True, max_retries=0)
    assert client.get_key("a") == b"\x00\xff"
    value = client.get_key("a")
    assert (value, type(value)) == (b"\x00\xff", mesh.StaleBytes)


def test_a_fresh_value_is_not_stale(cached):
    assert type(cached.get_key("a")) is str


def test_on_the_disk_it_is_sealed(cached, tmp_path):
    (file,) = stored(tmp_path)
    assert SECRET.encode() not in file.read_bytes()
    assert all(b"the-secret" not in one.read_bytes() for one in (tmp_path / "config").rglob("*") if one.is_file())


def test_without_the_option_nothing_is_kept(make, server, tmp_path):
    server.script(gives(), down)
    client = make(server.url, max_retries=0)
    client.get_key("a")
    assert stored(tmp_path) == []
    with pytest.raises(mesh.MeshError):
        client.get_key("a")


@pytest.mark.parametrize(
    "changed",
    [{"user_id": "other"}, {"owner": "01a2"}, {"version": 1}],
    ids=lambda changed: next(iter(changed)),
)
def test_it_is_of_that_key_alone(cached, server, changed):
    server.script(down)
    with pytest.raises(mesh.MeshError):
        cached.get_key("a", **changed)
    with pytest.raises(mesh.MeshError):
        cached.get_key("b")


def test_another_login_gets_nothing(cached, make, server):
    server.script(down)
    other = make(server.url, auth_token="mesh_other", cache=True, max_retries=0)
    with pytest.raises(mesh.MeshError):
        other.get_key("a")


def test_a_file_moved_to_another_key_does_not_open(cached, make, server, tmp_path):
    (of_a,) = stored(tmp_path)
    content = of_a.read_bytes()
    server.script(gives(name="b"))
    cached.get_key("b")
    (of_b,) = [file for file in stored(tmp_path) if file != of_a]
    of_b.write_bytes(content)
    server.script(down)
    with pytest.raises(mesh.MeshError):
        cached.get_key("b")


@pytest.mark.parametrize(
    ("code", "status"), [("token_invalid", 401), ("scope_missing", 403), ("internal_error", 500), ("rate_limited", 429)]
)
def test_what_the_server_says_counts(cached, server, code, status):
    server.script(lambda exchange: exchange.refuse(code, status))
    with pytest.raises(mesh.MeshError) as caught:
        cached.get_key("a")
    assert caught.value.code == code


def test_a_key_that_is_gone_is_gone_offline_too(cached, server, tmp_path):
    server.script(lambda exchange: exchange.refuse("key_not_found", 404))
    assert cached.get_key("a") is None
    assert stored(tmp_path) == []


@pytest.mark.parametrize("change", [lambda c: c.store_key("a", "new"), lambda c: c.delete_key("a")])
def test_a_changed_key_is_forgotten(cached, server, tmp_path, change):
    assert change(cached)["success"]
    assert stored(tmp_path) == []


def test_what_cannot_be_removed_is_told_and_the_change_is_done(cached, server, monkeypatch, caplog):
    def refuse(_self):
        raise mesh.MeshError("It is in use.", code="login_store_unreadable")

    monkeypatch.setattr(module.SealedFile, "erase", refuse)
    assert cached.store_key("a", "new")["success"]
    assert "could not be removed" in caplog.text


@pytest.mark.parametrize("ends", ["soon", 7])
def test_a_value_whose_end_is_unknown_is_given_and_not_kept(make, server, tmp_path, ends):
    server.script(gives(expires_at=ends))
    assert make(server.url, cache=True).get_key("a") == SECRET
    assert stored(tmp_path) == []


def test_it_ends_with_the_key_and_with_age(cached, make, server, monkeypatch):
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    server.script(gives(expires_at=soon), down)
    client = make(server.url, cache=True, max_retries=0)
    client.get_key("b")
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 3700)
    with pytest.raises(mesh.MeshError):
        client.get_key("b")
    assert client.get_key("a") == SECRET
    monkeypatch.setattr(module.time, "time", lambda: now + module.MAX_AGE_S + 60)
    with pytest.raises(mesh.MeshError):
        client.get_key("a")


def test_erasing_takes_that_server_alone(cached, server, tmp_path):
    folder = tmp_path / "config"
    assert module.erase(folder, "https://elsewhere.example") is False
    assert module.erase(folder, server.url) is True
    assert stored(tmp_path) == []
