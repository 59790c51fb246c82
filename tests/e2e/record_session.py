"""Records the session of docs/guides/commands.md: real commands on a terminal, a real server, a real login and model.

    python -m tests.e2e.record_session            # writes it into the page
    python -m tests.e2e.record_session --print    # only shows it

Only the port is not what it was: the page has the default one.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

from .conftest import ROOT, Mesh, new_machine
from .test_login import sign_in

PAGE = ROOT / "docs/guides/commands.md"
COLUMNS, LINES = 96, 24
#: What steers a terminal, and what a line that was drawn anew leaves behind.
_STEERS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
_SECRET = "an-example-that-opens--wxyz"


class Terminal:
    """A person's terminal: runs one command after the other and keeps what is seen."""

    def __init__(self, machine: Mesh) -> None:
        self.machine = machine
        folder = Path(sys.executable).parent
        known = {name: value for name, value in machine.environment.items() if name != "SSL_CERT_FILE"}
        self.environment = known | {
            "PATH": f"{folder}:{os.environ['PATH']}",
            "MESH_KEYRING": "off",
            "TERM": "xterm",
            "NO_COLOR": "1",
            "COLUMNS": str(COLUMNS),
            "PS1": "",
        }
        self.seen: list[str] = []

    def run(self, command: str, *typed: tuple[str, str], confirm: bool = False) -> str:
        """Run a command line and return what it shows.

        Args:
            command: of the shell.
            *typed: what is waited for, and what is typed then.
            confirm: a login is confirmed in a browser.
        """
        mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        process = subprocess.Popen(
            ["bash", "-c", command], env=self.environment, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
        )
        os.close(theirs)
        shown, waiting = "", list(typed)
        while True:
            try:
                content = os.read(mine, 65536)
            except OSError:  # Linux's way to say that nobody writes any more
                break
            if not content:
                break
            shown += content.decode("utf-8", "replace")
            if waiting and waiting[0][0] in shown:
                os.write(mine, waiting.pop(0)[1].encode() + b"\n")
            if confirm and (found := re.search(r"http://\S+user_code=[\w-]+", shown)):
                confirm = False
                threading.Thread(target=sign_in, args=(self.machine, found[0]), daemon=True).start()
        os.close(mine)
        process.wait()
        text = self._clean(shown)
        self.seen += [f"$ {command}", *text.splitlines()]
        return text

    def _clean(self, shown: str) -> str:
        text = _STEERS.sub("", shown).replace("\r\n", "\n").replace("\r", "")
        text = text.replace(self.machine.url, "http://127.0.0.1:8750").replace(str(self.machine.folder), "~")
        return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def session(machine: Mesh) -> str:
    """Return a session from the login to what it came to."""
    person = Terminal(machine)
    person.run("mesh-auth --headless", confirm=True)
    account = re.search(r"id ([0-9a-f-]{36})", person.run("mesh doctor"))
    assert account is not None
    person.run("mesh keys set stripe/live --tag env:prod", ("Value of", _SECRET))
    person.run("mesh keys list")
    person.run("mesh keys get stripe/live")
    person.run("mesh run -k STRIPE_KEY=stripe/live -- sh -c 'echo ${#STRIPE_KEY} characters'")
    person.run("mesh keys rm stripe/live", ("[y/N]", "y"))
    person.run("mesh keys get stripe/live; echo status $?")
    person.run("mesh keys restore stripe/live")
    set_limit = ("budget", "set", "--user", account[1], "--requests", "100", "--per", "day")
    done = machine.command(*set_limit)
    assert done.returncode == 0, done.stderr
    person.run("mesh chat --plain --temperature 0 --max-tokens 40 Write one sentence about Paris.")
    person.run("echo 'The quick brown fox.' | mesh chat --plain --temperature 0 --max-tokens 30 Which animal is it?")
    time.sleep(2)  # without a budget of money usage is written within seconds
    person.run("mesh usage --since 7d --by model,surface")
    person.run("mesh budget")
    person.run("mesh-auth logout")
    return "\n".join(person.seen)


def main() -> None:
    """Record it."""
    with tempfile.TemporaryDirectory() as folder:
        machine = new_machine(Path(folder))
        machine.start("--dev-issuer")
        (machine.config_dir / "dev.token").unlink()  # the person has no token but what the login gives
        try:
            recorded = session(machine)
        finally:
            machine.stop()
    if "--print" in sys.argv:
        sys.stdout.write(f"{recorded}\n")
        return
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition("```text\n")
    PAGE.write_text(f"{before}```text\n{recorded}\n```{rest.partition('```')[2]}", "utf-8")


if __name__ == "__main__":
    main()
