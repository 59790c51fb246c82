"""`mesh keys`: where values come from and go to, what is never shown, and what each command exits with."""

import io
import json
import os
import stat
import sys
from datetime import UTC, datetime, timedelta

import pytest

from mesh.cli import keys_values
from mesh.cli._run import run
from mesh.cli.mesh import mesh as command
from mesh.testing import FakeMesh

SECRET = "sk-the-secret-value-1234"


class Piped(io.TextIOWrapper):
    def __init__(self, content):
        super().__init__(io.BytesIO(content if isinstance(content, bytes) else content.encode()), encoding="utf-8")


class Terminal(io.StringIO):
    """A stdin at which a person sits."""

    def isatty(self):
        return True


@pytest.fixture
def fake():
    made = FakeMesh()
    with made.installed():
        yield made


@pytest.fixture
def call(fake, capsysbinary, monkeypatch):
    def do(*arguments, stdin="", terminal=False):
        monkeypatch.setattr(sys, "stdin", Terminal(stdin) if terminal else Piped(stdin))
        if terminal:
            monkeypatch.setattr(type(sys.stdout), "isatty", lambda _self: True, raising=False)
        try:
            status = run(command, ["keys", *arguments], "mesh")
        finally:
            if terminal:
                monkeypatch.undo()
        out = capsysbinary.readouterr()
        return status, out.out.decode(), out.err.decode()

    return do


@pytest.fixture
def vault(fake):
    with fake.client() as client:
        yield client


def test_a_value_from_stdin_loses_one_line_end(call, vault):
    assert call("set", "a", stdin=f"{SECRET}\n") == (0, "", "Stored a as version 1.\n")
    assert vault.get_key("a") == SECRET
    call("set", "a", stdin="two\nlines\r\n")
    assert vault.get_key("a") == "two\nlines"


def test_a_value_from_a_file_is_all_of_it(call, vault, tmp_path):
    file = tmp_path / "value"
    file.write_bytes(b"text\n")
    call("set", "a", "--file", str(file))
    assert vault.get_key("a") == "text\n"
    file.write_bytes(b"\x00\xff")
    call("set", "a", "--file", str(file))
    assert vault.get_key("a") == b"\x00\xff"


def test_a_value_from_the_environment(call, vault, monkeypatch):
    monkeypatch.setenv("TOKEN", SECRET)
    assert call("set", "a", "--env", "TOKEN")[0] == 0
    assert vault.get_key("a") == SECRET
    assert call("set", "a", "--env", "NOTHING_THERE")[0] == 2


def test_a_value_on_the_command_line_is_taken_with_a_warning(call, vault):
    status, _, err = call("set", "a", SECRET)
    assert (status, vault.get_key("a")) == (0, SECRET)
    assert "Warning" in err
    assert SECRET not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("a", "value", "--env", "X"),
        ("a",),  # nothing on stdin
        ("a", "v", "--tag", "no-colon"),
        ("a", "v", "--expires", "soon"),
        ("a" * 257, "v"),
        ("..", "v"),
        ("a", "v", "--new", "--if-rev", "1"),
        ("a", "v", "--test", "--user-id", "u"),
        ("a", "v", "--test", "--json"),
    ],
)
def test_wrong_uses_send_nothing(call, fake, arguments):
    assert call("set", *arguments)[0] == 2
    assert fake.calls == []


def test_description_and_conditions_are_sent(call, fake):
    status, out, _ = call("set", "a", "--tag", "env:prod", "--note", "n", "--expires", "90d", "--json", stdin=SECRET)
    body = fake.calls[-1].json
    assert (body["tags"], body["note"]) == ({"env": "prod"}, "n")
    left = datetime.fromisoformat(body["expires_at"]) - datetime.now(UTC)
    assert 89 < left / timedelta(days=1) < 91
    assert (status, json.loads(out)["version"]) == (0, 1)
    assert SECRET not in out
    assert call("set", "a", "--new", stdin="x")[0] == 1
    assert call("set", "a", "--if-rev", "7", stdin="x")[0] == 1


def test_set_tests_where_it_is_told_to(call, fake):
    status, out, _ = call("set", "openai_key", "--test", stdin=SECRET)
    assert (status, out) == (0, "works: fake accepts openai_key.\n")


def test_a_test_that_was_offered_and_cannot_be_made_leaves_the_key_stored(call, fake, vault, monkeypatch):
    monkeypatch.setattr(keys_values, "_offered", lambda _name: True)
    assert call("set", "a_key", stdin="1")[1] == "works: fake accepts a_key.\n"
    fake.reply(200, vault.store_key("a_key", "2"))
    fake.fail("provider_not_found", "No provider's keys are called so.")
    status, _, err = call("set", "a_key", stdin="2")
    assert (status, "No provider" in err) == (0, True)


@pytest.mark.parametrize("value", [SECRET, "line\n", b"\x00\xff\n"])
def test_in_a_pipe_a_value_is_itself_to_the_byte(fake, vault, capsysbinary, value):
    vault.store_key("a", value)
    assert run(command, ["keys", "get", "a"], "mesh") == 0
    assert capsysbinary.readouterr().out == (value if isinstance(value, bytes) else value.encode())


def test_on_a_terminal_a_value_is_masked(call, vault):
    vault.store_key("a", SECRET)
    status, out, err = call("get", "a", terminal=True)
    assert (status, out) == (0, "••••••••1234 (24 characters)\n")
    assert "--reveal" in err
    vault.store_key("a", "short")
    assert call("get", "a", terminal=True)[1] == "•••••••• (5 characters)\n"
    assert call("get", "a", "--reveal", terminal=True)[1] == "short\n"
    assert "short" not in call("get", "a", "--json", terminal=True)[1]


def test_json_has_the_value_in_a_pipe(call, vault):
    vault.store_key("a", SECRET)
    assert json.loads(call("get", "a", "--json")[1]) == {"name": "a", "value": SECRET, "stale": False}
    vault.store_key("a", b"\xff")
    assert json.loads(call("get", "a", "--json")[1])["value_base64"] == "/w=="


@pytest.mark.parametrize(
    "arguments", [("get", "no"), ("restore", "no"), ("versions", "no"), ("rm", "no"), ("test", "no")]
)
def test_a_key_that_is_not_there_is_status_4(call, arguments):
    status, out, err = call(*arguments)
    assert (status, out) == (4, "")
    assert "no" in err


def test_listing(call, vault):
    vault.store_key("team/a", "1", tags={"env": "prod"})
    vault.store_key("b", "2")
    assert call("list")[1] == "b\nteam/a\n"
    assert call("list", "team/")[1] == "team/a\n"
    assert call("list", "--tag", "env:prod")[1] == "team/a\n"
    assert [key["name"] for key in json.loads(call("list", "--json")[1])] == ["b", "team/a"]
    assert "team/a" in call("list", terminal=True)[1]


def test_what_a_name_holds_does_not_steer_the_terminal(call, vault):
    vault.store_key("a\x1b[2J", "1")
    assert "\x1b[2J" not in call("list", terminal=True)[1]


def test_delete_and_restore(call, vault):
    vault.store_key("a", "1")
    assert call("rm", "a", "no", "--yes")[0] == 4
    assert vault.get_key("a") is None
    assert call("restore", "a")[0] == 0
    assert vault.get_key("a") == "1"


def test_deleting_asks_a_person(call, vault):
    vault.store_key("a", "1")
    assert call("rm", "a", stdin="n\n", terminal=True)[0] == 130
    assert vault.get_key("a") == "1"
    assert call("rm", "a", stdin="y\n", terminal=True)[0] == 0


def test_versions_and_rollback(call, vault):
    vault.store_key("a", "1")
    vault.store_key("a", "2")
    assert [row.split("\t")[::2] for row in call("versions", "a")[1].splitlines()] == [["2", "current"], ["1", ""]]
    assert call("rollback", "a", "1")[0] == 0
    assert vault.get_key("a") == "1"
    assert call("get", "a", "--version", "2")[1] == "2"
    assert call("rollback", "a", "9")[0] == 4


def test_sharing(call, vault):
    status, out, err = call("share", "team/*", "--with", "01a2", "--allow", "read", "--allow", "chat")
    assert status == 0
    assert "01a2" in err
    assert [grant.actions for grant in vault.list_grants()] == [["read", "chat"]]
    assert out.strip() in call("shares")[1]
    assert call("unshare", out.strip())[0] == 0
    assert call("unshare", "never")[0] == 4
    assert call("share", "a", "--with", "b", "--allow", "everything")[0] == 2


def test_a_refused_key_is_status_1(call, fake):
    fake.reply(200, {"success": True, "name": "k", "provider": "p", "result": "refused", "message": "p refused k."})
    assert call("test", "k") == (1, "refused: p refused k.\n", "")


def test_import_stores_once(call, vault, tmp_path):
    file = tmp_path / ".env"
    file.write_text(f"A='{SECRET}'\nEMPTY=\nexport B=2\n")
    status, out, err = call("import", str(file), "--prefix", "shop/", "--tag", "env:prod")
    assert (status, out) == (0, "shop/A\tstored as version 1\nshop/EMPTY\tempty\nshop/B\tstored as version 1\n")
    assert SECRET not in err
    assert vault.get_key("shop/A") == SECRET
    status, out, _ = call("import", str(file), "--prefix", "shop/", "--only", "A")
    assert (status, out) == (1, "shop/A\talready there\n")
    assert call("import", str(file), "--prefix", "shop/", "--only", "A", "--overwrite")[0] == 0


def test_import_from_stdin_and_dry(call, vault):
    assert call("import", "-", "--dry-run", stdin="A=1\n") == (0, "A\twould be stored\n", "")
    assert vault.list_keys() == []
    assert call("import", "-", stdin="A=1\n")[0] == 0


def test_import_from_the_environment(call, vault, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("STRIPE", "2")
    assert call("import", "--from-env")[1] == "OPENAI_API_KEY\tstored as version 1\n"
    assert call("import", "--from-env", "--only", "STRIPE")[0] == 0
    assert vault.list_keys() == ["OPENAI_API_KEY", "STRIPE"]


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        ((), ""),
        (("-", "--from-env"), ""),
        (("-",), f"A='{SECRET}\n"),
        (("-",), b"A=\xff"),
        (("-", "--only", "B"), "A=1\n"),
        (("no-such-file",), ""),
        (("--from-env", "--only", "NOT_SET_ANYWHERE"), ""),
    ],
)
def test_what_cannot_be_imported_is_told_without_values(call, fake, arguments, stdin):
    status, out, err = call("import", *arguments, stdin=stdin)
    assert (status, fake.calls) == (2, [])
    assert SECRET not in out + err


def test_export_is_read_back_by_import(call, vault, tmp_path):
    for name, value in {"shop/A": "it's $HOME\n", "shop/b-c": SECRET}.items():
        vault.store_key(name, value)
    file = tmp_path / ".env"
    assert call("export", "--prefix", "shop/", "-o", str(file))[0] == 0
    assert file.read_text() == f'A="it\'s \\$HOME\\n"\nb_c={SECRET}\n'
    if os.name != "nt":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert call("export", "shop/A", "-o", str(file))[0] == 2  # it is there
    assert call("export", "shop/A", "-o", str(file), "--force")[0] == 0
    assert json.loads(call("export", "shop/A", "--json")[1]) == {"shop/A": "it's $HOME\n"}


def test_export_shows_nothing_on_a_terminal_unasked(call, vault):
    vault.store_key("a", SECRET)
    assert call("export", terminal=True)[0] == 2
    assert SECRET in call("export", "--reveal", terminal=True)[1]


@pytest.mark.parametrize("names", [("x/a", "y/a"), ("x/!",), ("bytes",), ("never",)])
def test_export_writes_nothing_where_one_cannot_be_written(call, vault, tmp_path, names):
    for name in ("x/a", "y/a", "x/!"):
        vault.store_key(name, "1")
    vault.store_key("bytes", b"\xff")
    assert call("export", *names, "-o", str(tmp_path / "out"))[0] in {2, 4}
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("code", "status"), [("token_invalid", 3), ("scope_missing", 3), ("storage_unavailable", 5)])
def test_exit_statuses(call, fake, code, status):
    for _ in range(3):
        fake.fail(code)
    exit_status, out, err = call("list")
    assert (exit_status, out) == (status, "")
    assert "Traceback" not in err
