"""Logins of the published clients: their browser, their refresh tokens, their device codes, at our dev issuer."""

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from ..conftest import new_machine
from ..gateway import free_port
from ..test_login import sign_in
from .published import AUTO, CLIENT, MODULE, Published, values

#: A browser that writes down where it was sent; the test goes there in its place.
BROWSER = """#!/bin/sh
printf %s "$1" > "{file}.partial" && mv "{file}.partial" "{file}"
"""


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    """A server with its dev issuer."""
    machine = new_machine(tmp_path_factory.mktemp("logins"))
    machine.start("--no-model", "--dev-issuer")
    yield machine
    assert machine.stop() == 0, machine.log.read_text()


@pytest.fixture
def person(issuer, tmp_path):
    """Return a function that makes a person with a client, a browser and no login."""

    def with_client(python):
        made = Published(python, tmp_path, issuer.url)
        browser = tmp_path / "browser"
        browser.write_text(BROWSER.format(file=tmp_path / "sent-to"))
        browser.chmod(0o755)
        made.environment = {
            "BROWSER": f"{browser} %s",
            "DISPLAY": ":0",
            "MESH_HEADLESS": "",
            "AUTH0_CALLBACK_PORT": str(free_port()),
        }
        return made

    return with_client


def log_in(issuer, made, *steps):
    """Do the steps, of which the first sends a browser to the issuer."""
    sent_to = made.folder / "sent-to"
    with ThreadPoolExecutor(1) as beside:
        work = beside.submit(made.run, *steps)
        deadline = time.monotonic() + 60
        while not sent_to.is_file():
            assert not work.done(), "the client sent no browser anywhere"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        sign_in(issuer, sent_to.read_text())
        return values(work.result())


def test_beta_logs_in_by_its_browser(issuer, person, beta_python):
    made = person(beta_python)
    stored, value = log_in(issuer, made, CLIENT.store_key("k", "v"), CLIENT.get_key("k"))
    assert (stored["success"], value) == (True, "v")
    assert made.stored()["expires_at"] > time.time() + 3000
    assert "refresh_token" not in made.stored()  # it came, and the client dropped it


def test_sdk_logs_in_by_its_browser_and_renews_its_login(issuer, person, sdk_python):
    made = person(sdk_python)
    token, stored = log_in(issuer, made, MODULE.authenticate(), MODULE.store_key("k", "v"))
    assert stored["success"] is True
    made.log_in(**token | {"expires_at": 1})
    value, done = values(made.run(MODULE.get_key("k"), MODULE.is_authenticated()))
    assert (value, done) == ("v", True)
    after = made.stored()
    assert after["access_token"] != token["access_token"]
    assert after["expires_at"] > time.time() + 3000


class Callback(BaseHTTPRequestHandler):
    """Where the browser ends: keeps the code."""

    def do_GET(self):
        self.server.code = parse_qs(urlsplit(self.path).query)["code"][0]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def ask(issuer, path, body):
    request = urllib.request.Request(issuer.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture
def login(issuer):
    """A login by the endpoints that both clients leave the issuer's to."""
    with HTTPServer(("127.0.0.1", 0), Callback) as server:
        back = f"http://localhost:{server.server_port}/callback"
        with ThreadPoolExecutor(1) as beside:
            beside.submit(server.handle_request)
            wanted = {"redirect_uri": back, "scope": "openid profile email offline_access", "state": "s"}
            sign_in(issuer, ask(issuer, "/auth/get-auth-url", wanted)["auth_url"])
        body = {"code": server.code, "redirect_uri": back, "extended_lifetime": True}
        token = ask(issuer, "/auth/exchange-token", body)
    return token | {"expires_at": time.time() + token["expires_in"]}


@pytest.mark.parametrize("client", ["beta_python", "sdk_python"])
def test_a_refresh_token_comes_with_every_answer(request, person, login, client):
    made = person(request.getfixturevalue(client))
    assert login["expires_in"] >= 3600
    made.log_in(**login)
    # The second takes the token that came with the first one's answer: nothing else is left of it.
    first, second, names = values(made.run(AUTO.refresh_token(), AUTO.refresh_token(), AUTO.list_keys()))
    assert (first, second) == (True, True)
    assert isinstance(names, list)
