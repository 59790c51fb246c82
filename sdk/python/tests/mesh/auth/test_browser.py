"""The browser flow: what comes back, from whom, and what is ignored."""

import http.client
import socket
import threading
from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

import mesh
from mesh._plan import drive
from mesh._transport import HTTPTransport
from mesh.auth import flows
from mesh.auth.callback import Listener
from mesh.auth.ports import callback_ports
from mesh.auth.screen import Screen

from .issuer import jwt


class Person(Screen):
    """Does with the address what a test says, in place of a person and a browser."""

    def __init__(self, visit, server):
        super().__init__(server)
        self.visit, self.said, self.lines = visit, [], []
        self.results, self.thread = [], None

    def say(self, text=""):
        self.said.append(text)

    def open(self, url):
        self.thread = threading.Thread(target=lambda: self.results.append(self.visit(url)))
        self.thread.start()
        return True

    def pasted(self):
        return self.lines.pop(0) if self.lines else None


def fetch(url, family=None, path=None, method="GET", host=None):
    """Get an address as a browser does; returns status, headers and text."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("localhost", parts.port, timeout=10)
    if family is not None:
        address = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        connection.sock = socket.create_connection((address, parts.port), 10)
    try:
        headers = {"Host": host} if host else {}
        connection.request(method, path or f"{parts.path}?{parts.query}", headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def redirected(url):
    """Log in at the issuer, and return the address that the browser is sent to."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        answer.read()
        return answer.getheader("location")
    finally:
        connection.close()


def back(url, **changed):
    """Return the address that the browser would be sent to, with other members."""
    parts = urlsplit(redirected(url))
    members = {name: values[0] for name, values in parse_qs(parts.query).items()} | changed
    query = urlencode({name: value for name, value in members.items() if value is not None})
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{query}"


@pytest.fixture
def log_in(issuer, settings, transport):
    """Return a function that logs in with a browser that does what it is told."""

    def run(visit, **changed):
        person = Person(visit, issuer.url)
        try:
            login = drive(flows.in_browser(replace(settings, **changed), person, callback_ports({})), transport)
        finally:
            if person.thread:
                person.thread.join(10)
        return login, person

    return run


def failed(log_in, visit, **changed):
    with pytest.raises(mesh.MeshError) as caught:
        log_in(visit, **changed)
    return caught.value.code


def test_it_works(issuer, log_in):
    login, person = log_in(lambda url: fetch(redirected(url)))
    assert login.name == "ada@example.com"
    status, headers, text = person.results[0]
    assert status == 200
    assert "You can close this page" in text
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "http" not in text.replace(issuer.url, "")  # nothing from elsewhere
    asked = issuer.requests("/authorize")[0].query
    assert asked["code_challenge_method"] == "S256"
    assert asked["prompt"] == "consent"
    assert asked["redirect_uri"] == "http://localhost:45678/callback"
    for secret in (*issuer.access, asked["state"], asked["nonce"]):
        assert secret not in text


def test_auth0_is_asked_for_no_consent(issuer, log_in):
    log_in(lambda url: fetch(redirected(url)), is_auth0=True)
    assert "prompt" not in issuer.requests("/authorize")[0].query


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_browser_may_come_over_either_family(log_in, family):
    if family == socket.AF_INET6 and not ipv6():
        pytest.skip("this machine has no IPv6")
    login, _ = log_in(lambda url: fetch(redirected(url), family))
    assert login.refresh_token is not None


def test_stray_requests_are_ignored(log_in):
    def visit(url):
        target = redirected(url)
        strays = [
            fetch(target, path="/"),
            fetch(target, path="/favicon.ico"),
            fetch(target, path="/callback/"),
            fetch(target, path="/callback"),
            fetch(target, path="/callback?code=x"),
            fetch(target, path="/callback?error=access_denied"),
            fetch(target, path="/callback?state=a&state=b&code=x"),
            fetch(target, host="evil.example.com"),
            fetch(target, method="POST"),
        ]
        return [status for status, _, _ in strays], fetch(target)[0]

    _, person = log_in(visit)
    assert person.results == [([404, 404, 404, 400, 400, 400, 400, 404, 501], 200)]


def test_a_wrong_state_is_ignored_and_a_right_one_still_works(log_in):
    def visit(url):
        first = fetch(back(url, state="wrong"))
        return first[0], "another login" in first[2], fetch(back(url))[0]

    _, person = log_in(visit)
    assert person.results == [(400, True, 200)]


def test_a_connection_that_says_nothing_keeps_nobody_waiting(log_in):
    def visit(url):
        target = redirected(url)
        with socket.create_connection(("127.0.0.1", urlsplit(target).port)):
            return fetch(target)[0]

    _, person = log_in(visit)
    assert person.results == [200]


def test_a_person_who_declines_is_believed(log_in):
    pages = []

    def visit(url):
        pages.append(fetch(back(url, code=None, error="access_denied")))

    assert failed(log_in, visit) == "login_denied"
    assert "did not work" in pages[0][2]


def test_a_refusal_is_told_with_the_issuers_words_and_no_markup(issuer, log_in):
    pages = []

    def visit(url):
        pages.append(fetch(back(url, code=None, error="server_error", error_description="<b>Service not found</b>")))

    assert failed(log_in, visit) == "issuer_refused"
    assert "&lt;b&gt;Service not found" in pages[0][2]


def test_an_answer_from_another_issuer_is_not_genuine(issuer, log_in):
    assert failed(log_in, lambda url: fetch(back(url, iss="https://evil.example.com/"))) == "login_not_genuine"
    assert not issuer.requests("/oauth/token")  # the code went nowhere


def test_an_issuer_that_names_itself_always_must(issuer, log_in):
    assert failed(log_in, lambda url: fetch(back(url, iss=None)), names_itself=True) == "login_not_genuine"
    login, _ = log_in(lambda url: fetch(back(url, iss=issuer.issuer)), names_itself=True)
    assert login.subject == "user|1"


@pytest.mark.parametrize("nonce", ["wrong", None])
def test_an_id_token_with_another_nonce_is_not_genuine(issuer, log_in, nonce):
    claims = {"iss": issuer.issuer, "aud": "client-1", "sub": "x"} | ({"nonce": nonce} if nonce else {})
    told = issuer.grant("client-1") | {"id_token": jwt(**claims)}
    issuer.fault("/oauth/token", (200, told))
    assert failed(log_in, lambda url: fetch(redirected(url))) == "login_not_genuine"


def test_a_login_that_the_server_does_not_accept_shows_in_the_browser_too(issuer, log_in):
    pages = []
    body = {"success": False, "error": {"code": "token_invalid", "message": "The audience is wrong."}}
    issuer.fault("/api/v1/auth/profile", (401, body))
    assert failed(log_in, lambda url: pages.append(fetch(redirected(url)))) == "issuer_refused"
    assert "The audience is wrong." in pages[0][2]


def test_a_code_that_is_refused_shows_in_the_browser_too(issuer, log_in):
    pages = []
    issuer.fault("/oauth/token", (403, {"error": "invalid_grant"}))
    assert failed(log_in, lambda url: pages.append(fetch(redirected(url)))) == "issuer_refused"
    assert pages[0][0] == 400
    assert "did not work" in pages[0][2]


def test_ctrl_c_during_the_exchange_tells_the_browser(issuer, settings, transport):
    class Interrupted:
        def send(self, request):
            if request.url.endswith("/oauth/token"):
                raise KeyboardInterrupt
            return transport.send(request)

    person = Person(lambda url: fetch(redirected(url)), issuer.url)
    with pytest.raises(KeyboardInterrupt):
        drive(flows.in_browser(settings, person, callback_ports({})), Interrupted())
    person.thread.join(10)
    assert person.results[0][0] == 410
    assert "given up" in person.results[0][2]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_issuer_that_can_not_exchange_now_is_unavailable(issuer, log_in, status):
    issuer.fault("/oauth/token", (status, {}))
    assert failed(log_in, lambda url: fetch(redirected(url))) == "login_unavailable"


def test_an_address_that_was_pasted_is_as_good_as_a_browser(issuer, settings, transport):
    person = Person(lambda url: None, issuer.url)

    def paste(url):
        target = redirected(url)
        person.lines += ["hello", "https://evil.example.com/callback?code=1", back(url, state="x"), f"  '{target}' "]

    person.visit = paste
    login = drive(flows.in_browser(settings, person, callback_ports({})), transport)
    person.thread.join(10)
    assert login.refresh_token is not None
    assert len([line for line in person.said if "That is not it" in line]) == 2
    assert len([line for line in person.said if "another login" in line]) == 1


def test_the_port_is_given_back_whatever_happens(log_in):
    assert failed(log_in, lambda url: fetch(back(url, code=None, error="access_denied"))) == "login_denied"
    listener = Listener([45678])
    listener.close()


def test_nobody_waits_for_a_browser_for_ever(log_in, monkeypatch):
    monkeypatch.setattr(flows, "_BROWSER_S", 0.3)
    assert failed(log_in, lambda url: None) == "login_timed_out"


# --- ports ---


def taken(family, address):
    found = socket.socket(family)
    found.bind((address, 0))
    found.listen()
    return found


def ipv6():
    try:
        taken(socket.AF_INET6, "::1").close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_that_is_taken_on_either_family_is_passed_over(family, address):
    if family == socket.AF_INET6 and not ipv6():
        pytest.skip("this machine has no IPv6")
    with taken(family, address) as other:
        port = other.getsockname()[1]
        with pytest.raises(mesh.LoginFailed, match=f"port {port} is in use") as caught:
            Listener([port])
        assert caught.value.code == "login_port_taken"
        assert "--headless" in " ".join(caught.value.troubleshooting)
        listener = Listener([port, 0])
        assert listener.port != port
        listener.close()


def test_the_ports_are_those_that_the_issuer_knows():
    assert list(callback_ports({})) == list(range(45678, 45688))
    assert list(callback_ports({"AUTH0_CALLBACK_PORT": "8000"})) == list(range(8000, 8010))
    assert list(callback_ports({"AUTH0_CALLBACK_PORT": "8000"}, 9000)) == [9000]


@pytest.mark.parametrize("value", ["x", "0", "65536", "-1", "٣"])
def test_a_port_that_is_none_is_a_wrong_setting(value):
    with pytest.raises(ValueError, match="AUTH0_CALLBACK_PORT"):
        callback_ports({"AUTH0_CALLBACK_PORT": value})


# --- one flow after the other ---


@pytest.mark.parametrize("how", ["refused", "no endpoint", "not offered", "refused late"])
def test_a_browser_is_used_where_the_device_flow_is_not_to_be_had(issuer, settings, how):
    if how == "refused":
        issuer.fault("/oauth/device/code", (403, {"error": "unauthorized_client"}))
    elif how == "refused late":
        issuer.fault("/oauth/token", (403, {"error": "unauthorized_client"}))
    else:
        change = {"device_endpoint": None} if how == "no endpoint" else {"flows": ("browser",)}
        settings = replace(settings, **change)
    person = Person(lambda url: fetch(redirected(url)), issuer.url)
    transport = HTTPTransport()
    login = drive(flows.log_in(settings, person, callback_ports({})), transport)
    transport.close()
    person.thread.join(10)
    assert login.refresh_token is not None


@pytest.mark.parametrize("decision", ["deny", "expired"])
def test_no_browser_is_opened_after_a_no(issuer, settings, transport, decision):
    issuer.decision = decision
    person = Person(lambda url: pytest.fail("a browser was opened"), issuer.url)
    with pytest.raises(mesh.LoginFailed):
        drive(flows.log_in(settings, person, callback_ports({})), transport)
    assert person.thread is None


def test_headless_means_no_browser(issuer, settings, transport):
    issuer.fault("/oauth/device/code", (403, {"error": "unauthorized_client", "error_description": "Grant missing."}))
    person = Person(lambda url: pytest.fail("a browser was opened"), issuer.url)
    with pytest.raises(mesh.LoginFailed, match=r"Grant missing\."):
        drive(flows.log_in(settings, person, callback_ports({}), headless=True), transport)
