"""Completion of `mesh` and `mesh-auth` in bash, zsh and fish: what is offered, and that it asks nobody."""

import os
import shutil
import subprocess
import sys

import pytest

MODULES = {"mesh": "mesh.cli.mesh", "mesh-auth": "mesh.cli.mesh_auth"}
TABLES = {
    "mesh": ["chat", "models", "keys", "run", "verify", "usage", "budget", "config", "doctor"],
    "mesh-auth": ["login", "status", "logout", "token", "doctor"],
}


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Put `mesh` and `mesh-auth` on the path, whatever is installed."""
    for name, module in MODULES.items():
        file = tmp_path / name
        file.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from {module} import main; main()" "$@"\n')
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def ask(name, shell, **environment):
    variable = f"_{name.upper().replace('-', '_')}_COMPLETE"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = {name!r}; from {MODULES[name]} import main; main()"],
        env=os.environ | {variable: shell} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def offered(*words):
    """Return what bash is told after these words, the last of them being written."""
    told = ask(words[0], "bash_complete", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1))
    return [tuple(line.split(",", 1)) for line in told.splitlines() if line]


def plain(*words):
    found = offered(*words)
    assert all(kind == "plain" for kind, _ in found)
    return [value for _, value in found]


@pytest.mark.parametrize("name", TABLES)
def test_commands_are_offered(name):
    assert plain(name, "") == TABLES[name]
    assert plain(name, TABLES[name][1][:3]) == [TABLES[name][1]]
    assert plain(name, "nonsense") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("mesh", "keys", "ro"), ["rollback"]),
        (("mesh", "usage", "--b"), ["--by"]),
        (("mesh", "usage", "--by", "m"), ["model"]),
        (("mesh", "usage", "--by", "day,"), ["day,provider", "day,model", "day,key", "day,surface", "day,outcome"]),
        (("mesh-auth", "login", "--head"), ["--headless"]),
        (("mesh-auth", "--vers"), ["--version"]),
        (("mesh-auth", "--head"), ["--headless"]),
        (("mesh-auth", "--help"), ["--help"]),
        (("mesh-auth", "status", "--head"), []),
    ],
)
def test_what_can_follow_is_offered(words, expected):
    assert plain(*words) == expected


def test_files_are_left_to_the_shell():
    assert offered("mesh", "keys", "import", "") == [("file", "")]
    assert offered("mesh", "chat", "--file", "a") == [("file", "a")]


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(name, shell):
    script = ask(name, f"{shell}_source")
    assert f"_{name.upper().replace('-', '_')}_COMPLETE={shell}_complete" in script
    assert name in script


@pytest.mark.parametrize(("shell", "form"), [("zsh", "plain\nusage\n"), ("fish", "plain\tusage\t")])
def test_zsh_and_fish_show_what_a_command_does(shell, form):
    """fish hands over the word that is being written, zsh its number."""
    told = ask("mesh", f"{shell}_complete", COMP_WORDS="mesh us", COMP_CWORD="1" if shell == "zsh" else "us")
    assert "usage" in told
    assert "Show what you have spent" in told


def test_a_question_of_the_shell_imports_no_command_and_needs_no_server():
    code = "import sys; from mesh.cli.mesh import mesh\ntry:\n    mesh.main([], prog_name='mesh')\n"
    heavy = {"mesh.client", "mesh.cli.keys", "mesh.cli.chat", "rich.table"}
    code += f"finally:\n    print(sorted({heavy!r} & sys.modules.keys()))"
    environment = {"_MESH_COMPLETE": "bash_complete", "COMP_WORDS": "mesh ", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.endswith("[]\n"), done.stderr


# --- in the shells themselves ---


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "expected"), [("mesh us", "usage"), ("mesh-auth sta", "status"), ("mesh keys rest", "restore")]
)
def test_bash_completes(commands, line, expected):
    words = line.split()
    function = f"_{words[0].replace('-', '_')}_completion"
    variable = f"_{words[0].upper().replace('-', '_')}_COMPLETE"
    program = f"""
eval "$({variable}=bash_source {words[0]})"
complete -p {words[0]} | grep -q {function} || exit 9
COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
{function} {words[0]}
echo "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "--norc", "--noprofile", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")])
def test_the_script_is_one_that_the_shell_reads(tmp_path, shell, check):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    script = tmp_path / "script"
    script.write_text(ask("mesh", f"{shell}_source"))
    assert subprocess.run([shell, check, str(script)], capture_output=True, timeout=60).returncode == 0
