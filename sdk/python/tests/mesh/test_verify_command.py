"""`mesh verify`: what it says, what it exits with, and what it never sends or prints."""

import io
import json
import sys

import pytest

from mesh.cli import verify as module
from mesh.cli._run import run
from mesh.cli.mesh import mesh as command

from .proving import ProofServer

SECRET = "the-secret-value"


def piped(text):
    return io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")


class Terminal(io.StringIO):
    """A stdin at which a person sits."""

    def isatty(self):
        return True


class Vault(ProofServer):
    """A server with a vault of names, beside its records."""

    def __init__(self):
        super().__init__()
        self.names = ["OPENAI", "STRIPE", "PLAIN"]
        self.may_list = True

    def __call__(self, exchange):
        path = exchange.path.partition("?")[0]
        if exchange.method == "GET" and path in {"/api/v1/keys", "/api/v1/zkp/records"}:
            self.asked.append(path)
            if not self.may_list:
                exchange.refuse("scope_missing", 403)
                return
            names = self.names if path.endswith("keys") else sorted(self.records)
            listed = [{"name": name} for name in names]
            exchange.answer(200, {"keys": listed, "records": listed, "next_cursor": None, "next_after": None})
            return
        super().__call__(exchange)


@pytest.fixture
def vault(server, monkeypatch):
    made = Vault()
    server.script(made)
    monkeypatch.setenv("MESH_API_URL", server.url)
    monkeypatch.setenv("MESH_AUTH_TOKEN", "mesh_test_token")
    import mesh

    with mesh.MeshClient() as client:
        for name in ("OPENAI", "STRIPE", "ALONE"):
            assert client.store_key_zkp(name, f"{SECRET}-{name}", high_entropy=True).success
    made.paths()
    made.bodies.clear()
    return made


@pytest.fixture
def call(capsys, monkeypatch):
    def do(*arguments, stdin=None):
        monkeypatch.setattr(sys, "stdin", Terminal() if stdin is None else piped(stdin))
        status = run(command, ["verify", *arguments], "mesh")
        out = capsys.readouterr()
        assert SECRET not in out.out + out.err
        return status, out.out, out.err

    return do


def test_the_right_value_on_stdin(vault, call):
    assert call("OPENAI", stdin=f"{SECRET}-OPENAI\n") == (0, "OPENAI  same\n", "")
    assert call("OPENAI", stdin=f"{SECRET}-OPENAI")[0] == 0
    assert call("OPENAI", stdin=f"{SECRET}-OPENAI\r\n")[0] == 0


def test_line_ends_inside_a_value_stay_as_they_are(vault, call):
    import mesh

    with mesh.MeshClient() as client:
        assert client.store_key_zkp("PEM", f"{SECRET}\r\nline two\r", high_entropy=True).success
    assert call("PEM", stdin=f"{SECRET}\r\nline two\r\n")[0] == 1
    assert call("PEM", stdin=f"{SECRET}\r\nline two\r\r\n")[0] == 0
    assert call("PEM", stdin=f"{SECRET}\nline two\r\r\n")[0] == 1


def test_one_line_end_is_taken_away_and_no_more(vault, call):
    assert call("OPENAI", stdin=f"{SECRET}-OPENAI\n\n")[0] == 1


def test_a_wrong_value_is_not_sent(vault, call):
    assert call("OPENAI", stdin="wrong-value") == (1, "OPENAI  different\n", "")
    assert "zkp/verify" not in vault.asked
    assert b"wrong-value" not in b"".join(vault.bodies)


def test_a_value_of_the_environment(vault, call, monkeypatch):
    monkeypatch.setenv("MY_KEY", f"{SECRET}-OPENAI")
    assert call("OPENAI", "--env", "MY_KEY")[0] == 0
    assert call("OPENAI", "--env", "NOT_SET")[0] == 2
    monkeypatch.setenv("MY_KEY", "")
    assert call("OPENAI", "--env", "MY_KEY")[0] == 2


def test_a_value_from_a_prompt_is_not_shown(vault, call, monkeypatch):
    asked = {}

    def prompt(text, **arguments):
        asked.update(arguments, text=text)
        return f"{SECRET}-OPENAI"

    monkeypatch.setattr(module.click, "prompt", prompt)
    assert call("OPENAI")[0] == 0
    assert asked["hide_input"]
    assert asked["err"]


def test_what_is_not_enrolled_is_told_apart(vault, call):
    assert call("NOTHING", stdin="x") == (4, "NOTHING  not in the vault\n", "")
    status, out, err = call("PLAIN", stdin="x")
    assert (status, out) == (1, "PLAIN  no verifier\n")
    assert "provable=True" in err
    assert call("ALONE", stdin=f"{SECRET}-ALONE")[0] == 0  # enrolled, and not in the vault itself


def test_a_login_that_may_not_list_learns_less(vault, call):
    vault.may_list = False
    assert call("OPENAI", stdin=f"{SECRET}-OPENAI")[0] == 0
    assert call("NOTHING", stdin="x") == (1, "NOTHING  different, or not in the vault\n", "")


def written(tmp_path, text):
    path = tmp_path / ".env"
    path.write_text(text)
    return str(path)


def test_a_file_s_entries_one_a_line(vault, call, tmp_path):
    path = written(tmp_path, f"# keys\nOPENAI={SECRET}-OPENAI\nexport STRIPE='old-value'\nDEBUG=1\nPLAIN=x\n")
    status, out, _ = call("--env-file", path)
    assert status == 1
    assert out == "OPENAI  same\nSTRIPE  different\nDEBUG   not in the vault\nPLAIN   no verifier\n"
    assert vault.asked.count("zkp/verify") == 1
    assert b"old-value" not in b"".join(vault.bodies)


def test_a_file_agrees_if_all_that_is_in_the_vault_is_the_same(vault, call, tmp_path):
    path = written(tmp_path, f'OPENAI={SECRET}-OPENAI\nSTRIPE="{SECRET}-STRIPE"\nDEBUG=1\n')
    assert call("--env-file", path)[0] == 0


@pytest.mark.parametrize("line", ["STRIPE=old", "STRIPE=", "PLAIN=x"])
def test_one_that_is_not_the_same_is_enough(vault, call, tmp_path, line):
    assert call("--env-file", written(tmp_path, f"OPENAI={SECRET}-OPENAI\n{line}\n"))[0] == 1


@pytest.mark.parametrize("text", ["", "# nothing\n", "DEBUG=1\n"])
def test_a_file_of_which_nothing_is_in_the_vault_does_not_agree(vault, call, tmp_path, text):
    assert call("--env-file", written(tmp_path, text))[0] == 4


def test_only_what_is_named_is_checked(vault, call, tmp_path):
    vault.may_list = False
    path = written(tmp_path, f"OPENAI={SECRET}-OPENAI\nSTRIPE=old\nDEBUG=1\n")
    assert call("--env-file", path, "--only", "OPENAI")[0] == 0
    assert call("--env-file", path)[0] == 1
    assert call("--env-file", path, "--only", "TYPO")[0] == 2


def test_json_for_programs(vault, call, tmp_path):
    path = written(tmp_path, f"OPENAI={SECRET}-OPENAI\nDEBUG=1\n")
    status, out, _ = call("--env-file", path, "--json")
    assert (status, json.loads(out)) == (
        0,
        {
            "agree": True,
            "results": [{"name": "OPENAI", "result": "same"}, {"name": "DEBUG", "result": "not in the vault"}],
        },
    )
    assert json.loads(call("OPENAI", "--json", stdin="x")[1])["agree"] is False


def test_a_file_in_another_form_is_wrong_usage_with_its_line(vault, call, tmp_path):
    status, _, err = call("--env-file", written(tmp_path, f"A=1\nB={SECRET}'\n"))
    assert status == 2
    assert "line 2" in err
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe")
    assert call("--env-file", str(path))[0] == 2
    assert vault.asked == []


@pytest.mark.parametrize(
    "arguments",
    [(), ("A", "--env-file", __file__), ("--env-file", __file__, "--env", "X"), ("A", "--only", "B"), ("A", "--nope")],
)
def test_wrong_usage_sends_nothing(vault, call, arguments):
    assert call(*arguments, stdin="x")[0] == 2
    assert vault.asked == []


def test_what_can_be_no_name_or_value_is_wrong_usage(vault, call):
    vault.may_list = False
    for name, value in (("..", "x"), ("", "x"), ("a" * 257, "x"), ("OPENAI", "x" * 70_000)):
        status, out, err = call(name, stdin=value)
        assert (status, out) == (2, "")
        assert "internal error" not in err
    assert "zkp/challenge" not in vault.asked


def test_no_value_is_wrong_usage(vault, call):
    assert call("OPENAI", stdin="")[0] == 2


@pytest.mark.parametrize(
    ("code", "status", "exit_status"),
    [("token_expired", 401, 3), ("database_unavailable", 503, 5), ("rate_limited", 429, 1)],
)
def test_failures_have_the_exit_statuses_of_all_commands(vault, call, code, status, exit_status):
    vault.fail["zkp/challenge"] = [lambda exchange: exchange.refuse(code, status)]
    found, out, err = call("OPENAI", stdin=f"{SECRET}-OPENAI")
    assert (found, out) == (exit_status, "")
    assert "Do this." in err


def test_a_namespace_is_handed_on(vault, call):
    call("OPENAI", "--user-id", "prod", stdin="x")
    assert b'"userId":"prod"' in b"".join(body or b"" for body in vault.bodies)


def test_help_imports_no_command(call, capsys):
    assert run(command, ["--help"], "mesh") == 0
    assert "verify" in capsys.readouterr().out
    assert run(command, ["nothing"], "mesh") == 2
