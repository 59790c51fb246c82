"""`mesh keys` and `mesh run` as a person types them, against a real server."""

import json
import subprocess
import sys
import urllib.request

import pytest

MESH = "import sys; from mesh.cli.mesh import main; main()"


@pytest.fixture
def mesh(mesh_server):
    def do(*arguments, stdin=""):
        done = subprocess.run(
            [sys.executable, "-c", MESH, *arguments],
            env=mesh_server.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return do


def test_the_life_of_a_key(mesh):
    assert mesh("keys", "set", "cmd/a", "--tag", "of:commands", stdin="one\n")[0] == 0
    assert mesh("keys", "set", "cmd/a", stdin="two\n")[2] == "Stored cmd/a as version 2.\n"
    assert mesh("keys", "set", "cmd/a", "--new", stdin="three\n")[0] == 1
    assert mesh("keys", "get", "cmd/a") == (0, "two", "")
    assert mesh("keys", "list", "cmd/", "--tag", "of:commands")[1] == "cmd/a\n"
    shown = [row.split("\t") for row in mesh("keys", "versions", "cmd/a")[1].splitlines()]
    assert sorted((row[0], row[2]) for row in shown) == [("1", ""), ("2", "current")]
    assert mesh("keys", "rollback", "cmd/a", "1")[0] == 0
    assert mesh("keys", "get", "cmd/a")[1] == "one"
    assert mesh("keys", "get", "cmd/a", "--version", "2")[1] == "two"
    assert mesh("keys", "rollback", "cmd/a", "99")[0] == 4
    assert mesh("keys", "rm", "cmd/a")[0] == 0
    assert mesh("keys", "get", "cmd/a")[0] == 4
    assert mesh("keys", "restore", "cmd/a")[0] == 0
    assert mesh("keys", "get", "cmd/a")[1] == "one"


def test_a_file_goes_in_and_comes_out(mesh, tmp_path):
    file = tmp_path / ".env"
    file.write_text("URL='db://$x'\nPEM=\"a\\nb\"\n")
    assert mesh("keys", "import", str(file), "--prefix", "cmd-file/")[0] == 0
    assert mesh("keys", "export", "--prefix", "cmd-file/")[1] == "PEM=\"a\\nb\"\nURL='db://$x'\n"
    show = [sys.executable, "-c", "import os; print(repr(os.environ['PEM']))"]
    assert mesh("run", "--prefix", "cmd-file/", "--", *show) == (0, "'a\\nb'\n", "")


def test_sharing_with_another_account(mesh, mesh_server):
    mesh("keys", "set", "cmd-shared", stdin="v")
    made = mesh_server.command("token", "create", "--user", "colleague", "--scopes", "keys:read")
    token = made.stdout.splitlines()[-1]
    assert mesh("keys", "share", "cmd-shared", "--with", "0" * 8, "--allow", "read")[0] == 4
    asked = urllib.request.Request(
        f"{mesh_server.url}/api/v1/auth/profile", headers={"authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(asked) as answer:
        who = json.load(answer)["id"]
    status, grant, _ = mesh("keys", "share", "cmd-shared", "--with", who, "--allow", "read")
    assert status == 0
    assert json.loads(mesh("keys", "shares", "--json")[1])[-1]["grantee"] == who
    assert mesh("keys", "unshare", grant.strip())[0] == 0
    assert mesh("keys", "unshare", grant.strip())[0] == 4


def test_a_key_of_no_provider_cannot_be_tested(mesh):
    mesh("keys", "set", "cmd-none", stdin="v")
    status, out, err = mesh("keys", "test", "cmd-none")
    assert (status, out) == (1, "")
    assert "provider" in err


def test_a_question_is_answered_and_everything_is_well(mesh):
    status, out, err = mesh("chat", "--max-tokens", "8", "Say", "hello.")
    assert (status, err) == (0, "")
    assert out.strip()
    assert json.loads(mesh("chat", "--json", "--max-tokens", "4", stdin="hi")[1])["provider"] == "local"
    assert mesh("models")[1].startswith("local\t")
    assert mesh("doctor")[0] == 0
    assert mesh("chat", "-m", "no-such-model", "hi")[0] == 1


def test_the_session_of_the_guide_is_what_happens(machine):
    """Times, ids and the model's words are its own; what was typed, and what each command said, is the page's."""
    pytest.importorskip("termios", reason="there is no terminal to record")
    from .record_session import PAGE, session

    machine.start("--dev-issuer")
    (machine.config_dir / "dev.token").unlink()
    recorded = session(machine).splitlines()
    shown = PAGE.read_text("utf-8").partition("```text\n")[2].partition("\n```")[0].splitlines()
    typed = [line for line in shown if line.startswith("$ ")]
    assert [line for line in recorded if line.startswith("$ ")] == typed
    for line in ("Stored stripe/live as version 1.", "27 characters", "status 4", "--reveal shows it."):
        assert line in recorded
        assert line in shown
    assert any(line.startswith("smollm2-135m-instruct  mesh         2") for line in recorded)
    assert any(line.startswith("account  100 requests a day  2 (2%)") for line in recorded)
