"""`mesh run`: the environment, the signals and the exit status of the command, and nothing on the disk."""

import json
import os
import signal
import subprocess
import sys
from urllib.parse import unquote

import pytest

from mesh.cli import run as module

MESH = [sys.executable, "-c", "from mesh.cli.mesh import main; main()"]
SHOW = [sys.executable, "-c", "import os, json; print(json.dumps(dict(os.environ)))"]
SECRET = "the-secret-value"
KEYS = {"openai_key": SECRET, "team/db": "p@ss {{ x }}", "bytes": None}

posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture
def start(server, tmp_path):
    """Return a function that starts `mesh` with arguments; the server has the keys above."""

    def vault(exchange):
        path = exchange.path.partition("?")[0]
        name = unquote(path.removeprefix("/api/v1/keys/"))
        if path == "/api/v1/keys":
            found = [{"name": name} for name in KEYS if name.startswith("team/") or "prefix" not in exchange.path]
            exchange.answer(200, {"success": True, "keys": found, "next_cursor": None})
        elif name not in KEYS:
            exchange.refuse("key_not_found", 404)
        else:
            value = KEYS[name]
            held = {"value": value} if value else {"value_base64": "/w=="}
            exchange.answer(200, {"success": True, "name": name, **held})

    server.script(vault)
    environment = os.environ | {
        "MESH_API_URL": server.url,
        "MESH_AUTH_TOKEN": "mesh_test_token",
        "MESH_CONFIG_DIR": str(tmp_path / "config"),
    }

    def do(*arguments, **options):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
        return subprocess.Popen([*MESH, *arguments], stdin=subprocess.DEVNULL, **(pipes | options))

    return do


@pytest.fixture
def finish(start):
    def do(*arguments):
        with start(*arguments) as process:
            out, err = process.communicate(timeout=60)
        assert "Traceback" not in err
        return process.returncode, out, err

    return do


def test_keys_are_in_the_environment_and_nowhere_else(finish, tmp_path):
    status, out, err = finish("run", "-k", "openai_key", "-k", "PASSWORD=team/db", "--", *SHOW)
    seen = json.loads(out)
    assert (status, err) == (0, "")
    assert (seen["openai_key"], seen["PASSWORD"]) == (SECRET, "p@ss {{ x }}")
    assert "team_db" not in seen
    assert not any(SECRET.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_prefix_and_a_template(finish, tmp_path):
    file = tmp_path / "template"
    file.write_text("URL='db://app:{{ team/db }}@host'\nKEY=mesh://openai_key\nPLAIN=1\n")
    seen = json.loads(finish("run", "--prefix", "team/", "-f", str(file), "--", *SHOW)[1])
    assert (seen["URL"], seen["KEY"], seen["PLAIN"], seen["db"]) == (
        "db://app:p@ss {{ x }}@host",
        SECRET,
        "1",
        "p@ss {{ x }}",
    )


def test_what_is_named_wins(finish, tmp_path):
    file = tmp_path / "template"
    file.write_text("db=from-the-file\n")
    assert json.loads(finish("run", "--prefix", "team/", "-f", str(file), "--", *SHOW)[1])["db"] == "from-the-file"
    both = ("run", "-k", "db=openai_key", "-f", str(file), "--", *SHOW)
    assert json.loads(finish(*both)[1])["db"] == SECRET


def test_the_commands_options_are_its_own(finish):
    echo = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "--key", "-h"]
    assert finish("run", "-k", "openai_key", *echo)[:2] == (0, "['--key', '-h']\n")


@pytest.mark.parametrize("status", [0, 1, 7, 130])
def test_the_exit_status_is_the_commands(finish, status):
    assert finish("run", "-k", "openai_key", "--", sys.executable, "-c", f"raise SystemExit({status})")[0] == status


def test_a_command_that_is_not_there(finish, tmp_path):
    status, out, err = finish("run", "-k", "openai_key", "--", "no-such-command-here")
    assert (status, out) == (127, "")
    assert "no-such-command-here" in err
    if os.name != "nt":
        assert finish("run", "-k", "openai_key", "--", str(tmp_path))[0] == 126


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--", "true"), 2),
        (("-k", "never", "--", "true"), 4),
        (("-k", "bytes", "--", "true"), 2),
        (("-k", "a/x", "-k", "b/x", "--", "true"), 2),
        (("-k", "!", "--", "true"), 2),
        (("-k", "openai_key"), 2),
    ],
)
def test_the_command_is_not_started_without_its_keys(finish, tmp_path, arguments, status):
    found = finish("run", *arguments)
    assert found[:2] == (status, "")
    assert SECRET not in found[2]


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_command(start, number):
    waits = [
        sys.executable,
        "-c",
        "import signal; signal.signal(2, signal.SIG_DFL); print('up', flush=1); signal.pause()",
    ]
    with start("run", "-k", "openai_key", "--", *waits) as process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == -number


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_the_command_does_not_inherit_that_python_ignores_broken_pipes(finish):
    ignored = finish("run", "-k", "openai_key", "--", "grep", "SigIgn", "/proc/self/status")[1].split()[1]
    assert not int(ignored, 16) & 1 << (signal.SIGPIPE - 1)


def test_where_a_process_cannot_become_another_it_waits():
    code = "raise SystemExit(7)"
    assert module._wait_for([sys.executable, "-c", code], os.environ) == 7
    if os.name != "nt":
        killed = "import os; os.kill(os.getpid(), 15)"
        assert module._wait_for([sys.executable, "-c", killed], os.environ) == 143
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@posix
def test_who_reads_only_the_beginning_ends_it_quietly(start):
    reading, writing = os.pipe()
    os.close(reading)
    with start("keys", "list", stdout=writing) as process:
        os.close(writing)
        err = process.communicate(timeout=60)[1]
    assert (process.returncode, err) == (1, "")


def test_shells_complete_the_commands(start):
    with start(
        env=os.environ | {"_MESH_COMPLETE": "bash_complete", "COMP_WORDS": "mesh keys ro", "COMP_CWORD": "2"}
    ) as one:
        assert one.communicate(timeout=60)[0] == "plain,rollback\n"
