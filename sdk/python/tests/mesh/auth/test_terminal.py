"""First use on a real terminal: a pseudo-terminal, a person who types, and Ctrl-C."""

import os
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from .test_browser import redirected

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")

CHAT = "import mesh; print('answer:', mesh.chat('hi').get('content'), mesh.list_keys())"


class Terminal:
    """A program at a terminal of its own."""

    def __init__(self, arguments, environment):
        import pty

        self.here, there = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            arguments, stdin=there, stdout=there, stderr=there, env=environment, start_new_session=True
        )
        os.close(there)

    def until(self, pattern, seconds=30):
        """Read until the pattern shows, and return its match."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < deadline, self.text
            if select.select([self.here], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.here, 65536).decode("utf-8", "replace").replace("\r\n", "\n")
                except OSError:  # Linux says so where the program has ended
                    assert re.search(pattern, self.text), self.text
        return found

    def type(self, line):
        os.write(self.here, line.encode() + b"\n")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.here)


@pytest.fixture
def start(folder, issuer):
    made = []
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MESH_", "AUTH0_", "SSH_"))}
    for name in ("CI", "DISPLAY", "WAYLAND_DISPLAY"):
        kept.pop(name, None)

    def run(*arguments, **environment):
        settings = {"MESH_CONFIG_DIR": str(folder), "MESH_KEYRING": "off", "TERM": "xterm", "COLUMNS": "100"}
        made.append(Terminal([sys.executable, *arguments], kept | settings | environment))
        return made[-1]

    yield run
    for terminal in made:
        terminal.close()


def test_first_use_asks_once_and_then_nobody_thinks_of_it_again(start, issuer):
    first = start("-c", CHAT, MESH_API_URL=issuer.url)
    first.until("ABCD-EFGH")
    issuer.decision = "approve"
    first.until(r"answer: Hello \[\]")
    second = start("-c", CHAT)  # the profile knows the server
    second.until(r"answer: Hello \[\]")
    assert "ABCD" not in second.text


def test_ctrl_c_gives_up_the_first_use(start, issuer, store):
    terminal = start("-c", CHAT, MESH_API_URL=issuer.url)
    terminal.until("ABCD-EFGH")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(20) == -signal.SIGINT
    assert not store.exists()


def test_without_a_server_a_person_is_asked_and_no_means_no(start):
    terminal = start("-c", "import mesh; print('code:', mesh.chat('hi')['code'])")
    terminal.until(r"No server is configured\. Log in at https://mesh-abh5\.onrender\.com\? Set MESH_API_URL")
    terminal.type("")
    terminal.until("code: server_not_configured")


def test_a_pasted_address_logs_in(start, issuer, store):
    """Over SSH the browser can't come back: the person copies the address where it ended."""
    issuer.announced = {"flows": ["browser"]}
    program = "from mesh.cli.mesh_auth import main; main()"
    terminal = start("-c", program, MESH_API_URL=issuer.url, SSH_CONNECTION="1", COLUMNS="1000")
    url = terminal.until(r"(http://\S+/authorize\?\S+)")[1]
    terminal.until("paste it here")
    terminal.type("what?")
    terminal.until("That is not it")
    terminal.type(redirected(url))
    terminal.until(r"Logged in\S* as ada@example\.com")
    assert terminal.process.wait(20) == 0
    assert store.exists()


@pytest.mark.parametrize("place", [{"SSH_TTY": "/dev/pts/1"}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {}])
def test_no_browser_is_started_where_nobody_would_see_it(start, issuer, place, tmp_path):
    issuer.announced = {"flows": ["browser"]}
    witness = tmp_path / "browser"
    witness.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    witness.chmod(0o755)
    program = "from mesh.cli.mesh_auth import main; main()"
    terminal = start("-c", program, MESH_API_URL=issuer.url, BROWSER=str(witness), **place)
    terminal.until("paste it here")
    assert not (tmp_path / "started").exists()
