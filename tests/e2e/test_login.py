"""A login from its beginning to its end: `mesh-auth`, the client, the server and its dev issuer."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

import pytest

from mesh import AutoRefreshMeshClient, MeshClient, SessionEnded

AUTH = [sys.executable, "-c", "from mesh.cli.mesh_auth import main; main()"]


@pytest.fixture
def server(machine, monkeypatch):
    """A dev server with its issuer; this process is its user, who has no token but what a login gives."""
    if "--dev-issuer" not in machine.command("dev", "--help").stdout:
        if os.environ.get("CI") == "true":
            pytest.fail("this server has no dev issuer")
        pytest.skip("this server has no dev issuer")
    machine.start("--no-model", "--dev-issuer")
    (machine.config_dir / "dev.token").unlink()
    for name in list(os.environ):
        if re.match(r"MESH_|AUTH0_|CI$|DEFAULT_", name):
            monkeypatch.delenv(name)
    for name, value in {"MESH_CONFIG_DIR": str(machine.config_dir), "MESH_KEYRING": "off"}.items():
        monkeypatch.setenv(name, value)
    return machine


class Browser:
    """Enough of a browser to fill in forms."""

    def __init__(self):
        self.cookies = {}

    def get(self, url, form=None):
        """Return where it ends, and the page."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form is not None:
            headers |= {
                "content-type": "application/x-www-form-urlencoded",
                "origin": f"{parts.scheme}://{parts.netloc}",
            }
        try:
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request("GET" if form is None else "POST", path, form and urlencode(form), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        for cookie in answer.headers.get_all("set-cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value
        if 300 <= answer.status < 400:
            return self.get(urljoin(url, answer.headers["location"]))
        assert answer.status == 200, text
        return url, text

    def submit(self, at, page, **fields):
        """Fill in the form of a page and send it."""
        action = re.search(r'<form method="post" action="([^"]+)"', page)[1]
        known = dict(re.findall(r'<input[^>]*name="(\w+)"[^>]*?value="([^"]*)"', page))
        return self.get(urljoin(at, action), known | fields)


def sign_in(machine, url):
    """Log in as ada at an address of the dev issuer, with the one-time code of the server's console."""
    browser = Browser()
    at, page = browser.get(url)
    if 'name="user_code"' in page:
        at, page = browser.submit(at, page)
    deadline = time.monotonic() + 20
    while not (codes := re.findall(r"one-time code\s+(\d{3}) (\d{3})", machine.log.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return browser.submit(at, page, name="ada", code="".join(codes[-1]), action="allow")


def begun(machine, pattern, *arguments, **environment):
    """Start `mesh-auth`; return the process and the first match of what it shows."""
    log = machine.folder / f"auth-{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*AUTH, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | environment
        )
    deadline = time.monotonic() + 30
    while not (found := re.search(pattern, log.read_text("utf-8", "replace"))):
        assert process.poll() is None, log.read_text("utf-8", "replace")
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process, found[0], log


def auth(*arguments):
    return subprocess.run([*AUTH, *arguments], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def by_device(machine):
    process, url, log = begun(machine, r"http://\S+user_code=\S+", "--headless")
    _, page = sign_in(machine, url)
    assert process.wait(60) == 0, log.read_text("utf-8", "replace")
    return page


def test_the_whole_life_of_a_login(server):
    assert MeshClient().chat("hi")["code"] == "not_logged_in"
    by_device(server)
    known = json.loads(auth("status", "--json").stdout)
    assert (known["logged_in"], known["refreshable"], known["name"]) == (True, True, "ada")
    with MeshClient() as client:
        assert client.store_key("a", "value").success
        assert client.get_key("a") == "value"
        before = let_it_expire(client)
        assert client.list_keys() == ["a"]  # renewed on the way
        assert client._found.credentials.kept.access_token != before.access_token
    doctor = auth("doctor")
    assert doctor.returncode == 0, doctor.stderr
    assert auth("logout").returncode == 0
    assert auth("status").returncode == 3
    with MeshClient() as client:
        assert client.chat("hi")["code"] == "not_logged_in"


def let_it_expire(client):
    """Make the client and the store believe that the time of its token has come; return the login as it was."""
    credentials = client._found.credentials
    before = credentials.kept
    credentials._kept = replace(before, expires_at=time.time() - 1)
    credentials._store.save(credentials._kept)
    return before


def test_a_login_in_a_browser(server):
    """Through an application of which the issuer knows no device flow."""
    from mesh._plan import drive
    from mesh._transport import HTTPTransport
    from mesh.auth import discovery, flows
    from mesh.auth.overrides import Overrides
    from mesh.auth.screen import Screen

    class Person(Screen):
        def say(self, text=""):
            pass

        def pasted(self):
            return None

        def open(self, url):
            import threading

            self.pages = []
            self.thread = threading.Thread(target=lambda: self.pages.append(sign_in(server, url)))
            self.thread.start()
            return True

    transport, person = HTTPTransport(), Person(server.url)
    settings = drive(discovery.discover(server.url, Overrides()), transport)
    assert settings.names_itself
    login = drive(flows.in_browser(settings, person, range(45678, 45688)), transport)
    person.thread.join(30)
    transport.close()
    assert login.name == "ada"
    assert "You are logged in" in person.pages[0][1]


def test_a_login_that_was_revoked_elsewhere_ends_at_the_next_renewal(server):
    from mesh._plan import drive
    from mesh.auth.refresh import revoke

    by_device(server)
    with AutoRefreshMeshClient() as client:
        assert client.list_keys() == []
        assert drive(revoke(let_it_expire(client), None), client._transport)
        with pytest.raises(SessionEnded):
            client.list_keys()
        assert not client._found.credentials._store.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_leaves_nothing_behind(server):
    process, _, log = begun(server, r"Waiting for you", "--headless")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130, log.read_text("utf-8", "replace")
    assert not list(Path(server.config_dir).glob("logins/*"))
