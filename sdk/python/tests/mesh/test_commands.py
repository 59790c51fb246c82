"""The commands as a whole: help, examples, the reference, and what they cost to load."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load("command_reference")


def mesh(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", "from mesh.cli.mesh import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
    )


def test_the_reference_is_what_the_commands_say():
    assert (ROOT / "docs/reference/commands.md").read_text("utf-8") == reference.page()


@pytest.mark.parametrize("command", [path for path in reference.commands() if path.startswith("mesh ")])
def test_every_command_shows_examples(command):
    page = (ROOT / "docs/reference/commands.md").read_text("utf-8")
    section = page.partition(f"## `{command}`\n")[2].partition("\n## ")[0]
    assert f"\n    {command}" in section or f"{command} " in section.partition("Example")[2]


@pytest.mark.parametrize("arguments", [["--help"], ["keys", "--help"], ["keys", "set", "-h"], ["--version"]])
def test_help_needs_no_configuration(arguments):
    done = mesh(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["keys", "nonsense"], ["keys", "get"], ["keys", "get", "a", "--no"]]
)
def test_wrong_usage_is_status_2(arguments):
    done = mesh(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["keys", "list"], ["chat", "hi"], ["models"], ["run", "-k", "a", "--", "true"]])
def test_without_a_server_it_says_how_to_name_one(arguments):
    done = mesh(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert "MESH_API_URL" in done.stderr


@pytest.mark.parametrize("arguments", [["keys", "list"], ["chat", "hi"]])
def test_a_server_that_is_not_there_is_status_5(arguments):
    done = mesh(*arguments, MESH_API_URL="http://127.0.0.1:1", MESH_AUTH_TOKEN="mesh_x", MESH_MAX_RETRIES="0")
    assert (done.returncode, done.stdout) == (5, "")
    assert "127.0.0.1:1" in done.stderr


def test_without_a_login_it_is_status_3():
    done = mesh("keys", "list", MESH_API_URL="http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (3, "")
    assert "mesh-auth" in done.stderr


def test_help_imports_no_command_and_nothing_that_draws():
    code = "import sys; from mesh.cli.mesh import mesh; mesh.main(['--help'], standalone_mode=False)"
    code += "; print(sorted({'mesh.client', 'mesh.cli.keys', 'mesh.cli.chat', 'rich.markdown'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("[]\n"), done.stderr
