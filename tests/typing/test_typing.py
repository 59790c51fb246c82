"""The client's types: two type checkers accept typical uses and refuse typical mistakes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def mypy(file):
    """Return the lines on which mypy finds something."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--config-file=", str(file)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    assert "Found" in done.stdout or "Success" in done.stdout, done.stdout + done.stderr
    return {
        int(line): text for line, text in re.findall(rf"^.*{file.name}:(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    }


def pyright(file):
    """Return the lines on which pyright's rules find something."""
    settings = HERE / "pyrightconfig.json"
    command = [str(Path(sys.executable).with_name("basedpyright")), "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run([*command, "--project", str(settings), str(file)], capture_output=True, text=True)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1: one["message"] for one in found if one["severity"] == "error"}


CHECKERS = pytest.mark.parametrize("check", [mypy, pyright], ids=["mypy", "pyright"])


@CHECKERS
def test_typical_uses_are_accepted(check):
    assert check(HERE / "typical.py") == {}


@CHECKERS
def test_each_typical_mistake_is_refused(check):
    lines = (HERE / "mistakes.py").read_text("utf-8").splitlines()
    expected = {number for number, line in enumerate(lines, 1) if line.endswith("# mistake")}
    assert check(HERE / "mistakes.py").keys() == expected
