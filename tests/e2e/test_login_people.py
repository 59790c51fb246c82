"""A person logs in with `mesh-auth` at a server's own issuer, by both flows, and then everything just works."""

import json
import os
import re
import subprocess
import sys
import time
from html import unescape
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

import mesh

MESH_AUTH = Path(sys.executable).parent / ("mesh-auth.exe" if os.name == "nt" else "mesh-auth")


class Browser:
    """Follows the issuer's pages as a person without JavaScript does, and reads one-time codes off the console."""

    def __init__(self, machine):
        self.log = machine.log
        self.cookie = ""

    def open(self, url, **fields):
        """Return status, target of a redirect, and text of a page; sends a form where there are fields."""
        where = urlsplit(url)
        connection = HTTPConnection(where.netloc, timeout=10)
        headers = {"cookie": self.cookie} if self.cookie else {}
        body = None
        if fields:
            headers |= {"content-type": "application/x-www-form-urlencoded", "origin": f"http://{where.netloc}"}
            body = urlencode(fields)
        connection.request("POST" if fields else "GET", f"{where.path}?{where.query}", body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        self.cookie = (answer.headers["set-cookie"] or self.cookie).partition(";")[0]
        connection.close()
        return answer.status, answer.headers["location"], text

    def sign_in(self, url, page, name, action="allow"):
        """Fill the form of a sign-in page."""
        code = "".join(re.findall(r"one-time code\s+(\d{3}) (\d{3})", self.log.read_text())[-1])
        hidden = unescape(re.search(r'name="sign_in" value="([^"]+)"', page)[1])
        target = unescape(re.search(r'action="([^"]+)"', page)[1])
        origin = f"http://{urlsplit(url).netloc}"
        return self.open(origin + target, sign_in=hidden, name=name, code=code, action=action)

    def confirm_device(self, url, name="ann@example.org", action="allow"):
        """Open a device's address, confirm its code, and sign in."""
        _, _, page = self.open(url)
        code = re.search(r"user_code=([A-Z0-9-]+)", url)[1]
        assert code in page
        _, _, page = self.open(url.partition("?")[0], user_code=code)
        return self.sign_in(url, page, name, action)


@pytest.fixture
def server(machine):
    machine.environment |= {"MESH_DEV_ISSUER_INTERVAL": "1", "MESH_LOG_LEVEL": "debug"}
    machine.start("--dev-issuer", "--no-model")
    return machine


@pytest.fixture
def laptop(server, tmp_path, monkeypatch):
    """Another machine of the person: an empty configuration that knows nothing of the server."""
    config = tmp_path / "laptop"
    for name in list(os.environ):
        if re.match(r"MESH_|DEFAULT_|AUTH0_|CI$|SSH_|BROWSER", name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MESH_CONFIG_DIR", str(config))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    monkeypatch.setenv("MESH_API_URL", server.url)
    return config


@pytest.fixture(autouse=True)
def no_program_left():
    yield
    while RUNNING:
        process = RUNNING.pop()
        process.kill()
        process.wait()
        process.stdout.close()


RUNNING = []


def mesh_auth(*arguments, **environment):
    process = subprocess.Popen(
        [MESH_AUTH, *arguments],
        env={**os.environ, "COLUMNS": "200", "PYTHONUNBUFFERED": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    RUNNING.append(process)
    return process


def ended(process, timeout=30):
    out, _ = process.communicate(timeout=timeout)
    return process.returncode, out


def address(process, pattern):
    """Return the address that `mesh-auth` shows, and all that it said until then."""
    said = ""
    deadline = time.monotonic() + 20
    while not (found := re.search(pattern, said)):
        assert time.monotonic() < deadline, said
        line = process.stdout.readline()
        assert line or process.poll() is None, said
        said += line
    return found[0], said


def by_device(server, name="ann@example.org", action="allow"):
    process = mesh_auth("--headless")
    url, _ = address(process, r"http://\S+/device\?user_code=\S+")
    Browser(server).confirm_device(url, name, action)
    return ended(process)


def test_a_device_login_is_all_that_a_program_needs(server, laptop):
    status, said = by_device(server)
    assert status == 0, said
    with mesh.MeshClient() as client:
        assert client.store_key("mine", "value")["success"]
        assert client.get_key("mine") == "value"
        answer = client.chat("Hello?", provider="openai", model="gpt-4o")
        assert answer["code"] == "provider_key_missing"  # past login and registration
    status, said = ended(mesh_auth("status", "--json"))
    assert (status, json.loads(said)["name"]) == (0, "ann@example.org")


def test_two_people_do_not_see_each_others_keys(server, laptop, monkeypatch, tmp_path):
    assert by_device(server, "ann")[0] == 0
    with mesh.MeshClient() as client:
        assert client.store_key("mine", "of ann")["success"]
    monkeypatch.setenv("MESH_CONFIG_DIR", str(tmp_path / "another laptop"))
    assert by_device(server, "bob")[0] == 0
    with mesh.MeshClient() as client:
        assert client.get_key("mine") is None
        assert client.list_keys() == []


def test_a_denied_login_is_told_and_leaves_nothing(server, laptop):
    status, said = by_device(server, action="deny")
    assert (status, "Traceback" in said) == (3, False), said
    with mesh.MeshClient() as client:
        assert client.store_key("a", "b")["code"] == "not_logged_in"


def test_a_browser_login_comes_back_to_the_program(machine, request):
    machine.environment["MESH_DEV_ISSUER_FLOWS"] = "browser"
    server = request.getfixturevalue("server")
    request.getfixturevalue("laptop")
    process = mesh_auth("--port", "45699")
    url, _ = address(process, r"http://\S+/authorize\?\S+")
    person = Browser(server)
    _, _, page = person.open(url)
    status, back, _ = person.sign_in(url, page, "carol@example.org")
    assert status in {302, 303}
    assert back.startswith("http://localhost:45699/callback?")
    status, _, page = Browser(server).open(back)
    assert (status, "close" in page) == (200, True)
    status, said = ended(process)
    assert status == 0, said
    with mesh.MeshClient() as client:
        assert client.list_keys() == []


def test_a_logout_ends_it_here_and_at_the_issuer(server, laptop):
    assert by_device(server)[0] == 0
    assert ended(mesh_auth("logout"))[0] == 0
    with mesh.MeshClient() as client:
        assert client.store_key("a", "b")["code"] == "not_logged_in"
    assert ended(mesh_auth("status"))[0] == 3


def test_a_short_login_is_renewed_by_itself(machine, tmp_path, monkeypatch, request):
    machine.environment["MESH_DEV_ISSUER_TOKEN_LIFE"] = "3"
    machine.environment["MESH_OIDC_LEEWAY"] = "0"
    server = request.getfixturevalue("server")
    request.getfixturevalue("laptop")
    assert by_device(server)[0] == 0
    with mesh.MeshClient() as client:
        for _ in range(5):
            assert client.list_keys() == []
            time.sleep(1.5)


def test_no_token_and_no_code_is_in_any_log(server, laptop):
    process = mesh_auth("--headless", DEBUG="true")
    url, said = address(process, r"http://\S+/device\?user_code=\S+")
    Browser(server).confirm_device(url)
    status, more = ended(process)
    assert status == 0
    status, token = ended(mesh_auth("token"))
    assert (status, token.count(".")) == (0, 2)
    for text in (said + more, server.log.read_text()):
        assert token.strip() not in text
        assert token.strip().split(".")[2] not in text
    for file in (*laptop.rglob("*"), *server.data_dir.rglob("*")):
        if file.is_file():
            assert token.strip().encode() not in file.read_bytes(), file
