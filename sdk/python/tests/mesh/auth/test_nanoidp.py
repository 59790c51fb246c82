"""Both flows, renewal and revocation against an issuer that others wrote: nanoidp, in a process of its own."""

import http.client
import re
import socket
import subprocess
import sys
import threading
import time
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

import pytest

import mesh
from mesh._plan import drive
from mesh.auth import device, discovery, flows, refresh
from mesh.auth.overrides import Overrides
from mesh.auth.screen import Screen

SETTINGS = """config_version: 1
server: {{host: "127.0.0.1", port: {port}}}
oauth:
  issuer: "http://127.0.0.1:{port}"
  audience: "https://api"
  token_expiry_minutes: 60
  refresh_token_rotation: true
  clients:
    - client_id: "mesh-cli"
      token_endpoint_auth_method: "none"
      redirect_uris: [{redirects}]
"""
USERS = """config_version: 1
users:
  ada:
    password: "lovelace"
    email: "ada@example.org"
    tenant: "default"
"""


@pytest.fixture(scope="module")
def nanoidp(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nanoidp")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    redirects = ", ".join(f'"http://localhost:{n}/callback"' for n in range(45678, 45688))
    (folder / "settings.yaml").write_text(SETTINGS.format(port=port, redirects=redirects))
    (folder / "users.yaml").write_text(USERS)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "nanoidp", "--config", str(folder), "--host", "127.0.0.1", "--port", str(port)],
            stdout=log,
            stderr=log,
            cwd=folder,
        )
        try:
            wait_for(port, process, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def wait_for(port, process, log):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"nanoidp did not start: {log.read_text('utf-8', 'replace')}")


@pytest.fixture
def at_nanoidp(nanoidp, transport):
    given = Overrides(domain=nanoidp, client_id="mesh-cli", audience="https://api")
    return drive(discovery.discover("http://127.0.0.1:9", given), transport)


class Browser:
    """Enough of one to fill in a form."""

    def __init__(self):
        self.cookies = SimpleCookie()

    def go(self, url, form=None):
        """Return where it ends, and the text; follows redirects inside the issuer."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        headers = {"cookie": "; ".join(f"{name}={morsel.value}" for name, morsel in self.cookies.items())}
        if form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
        try:
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request("GET" if form is None else "POST", path, form and urlencode(form), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        for cookie in answer.headers.get_all("set-cookie") or []:
            self.cookies.load(cookie)
        if 300 <= answer.status < 400:
            return self.go(urljoin(url, answer.headers["location"]))
        return url, text

    def log_in(self, url, **more):
        """Fill in the form at an address as ada, and return where that ends."""
        at, text = self.go(url)
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
        at, text = self.go(at, {**hidden, **more, "username": "ada", "password": "lovelace"})
        for _ in range(2):  # a consent page, where it asks for one
            fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
            if "callback" in at or not fields:
                break
            at, text = self.go(at, {**fields, "action": "authorize", "consent": "allow"})
        return at, text


def confirms(action):
    """Return what shows a code to a person who says this to it."""

    def show(code):
        fields = {"user_code": code.user_code, "action": action}
        threading.Thread(target=Browser().log_in, args=(code.complete_url or code.url,), kwargs=fields).start()

    return show


def test_the_device_flow_and_a_logout(at_nanoidp, transport):
    login = drive(device.log_in(at_nanoidp, confirms("authorize")), transport)
    assert login.subject == "ada"
    assert drive(refresh.revoke(login, None), transport)
    with pytest.raises(mesh.SessionEnded):
        drive(refresh.renew(login, None), transport)


def test_the_browser_flow_rotation_reuse_and_revocation(at_nanoidp, transport):
    class Person(Screen):
        def say(self, text=""):
            pass

        def pasted(self):
            return None

        def open(self, url):
            self.thread = threading.Thread(target=lambda: Browser().log_in(url))
            self.thread.start()
            return True

    person = Person("https://mesh.example.com")
    login = drive(flows.in_browser(at_nanoidp, person, range(45678, 45688)), transport)
    person.thread.join(20)
    assert login.subject == "ada"
    fresh = drive(refresh.renew(login, None), transport)
    assert fresh.refresh_token != login.refresh_token
    assert fresh.access_token != login.access_token
    with pytest.raises(mesh.SessionEnded):
        drive(refresh.renew(login, None), transport)


def test_a_person_who_declines_is_believed(at_nanoidp, transport):
    with pytest.raises(mesh.LoginFailed) as caught:
        drive(device.log_in(at_nanoidp, confirms("deny")), transport)
    assert caught.value.code == "login_denied"
