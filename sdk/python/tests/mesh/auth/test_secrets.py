"""No token where it does not belong: logs at DEBUG, reprs, exceptions, addresses, arguments of processes."""

import gc
import logging
import subprocess
import sys
import traceback

import pytest

import mesh
from mesh._plan import Attempt, Do, Finish, Wait
from mesh.auth import browser, flows
from mesh.auth.screen import Screen

HEAVY = ("keyring", "cryptography", "click", "rich", "segno", "tomlkit", "http.server", "webbrowser", "asyncio")


@pytest.fixture
def secrets(issuer):
    """Return every secret that the issuer has given out."""

    def found():
        tokens = [token for family in issuer.families.values() for token in family["tokens"]]
        return [*issuer.access, *tokens, *issuer.codes, "s3cret-of-the-client"]

    return found


def test_nothing_is_logged_at_debug(logger, make, issuer, logged_in, caplog, capsys, secrets):
    caplog.set_level(logging.DEBUG)
    logged_in(expires_in=0.5)
    issuer.fault("/oauth/token", (503, {}), lambda ask: ask.hang_up())
    client = make(debug=True, client_secret="s3cret-of-the-client")
    client.list_keys()
    assert client.chat("hi").success
    issuer.access.clear()
    client.list_keys()
    for family in issuer.families.values():
        family["ended"] = True
    given = secrets()
    issuer.access.clear()
    answer = client.chat("hi")
    assert answer["code"] == "session_ended"
    text = caplog.text + "".join(capsys.readouterr()) + repr(answer) + str(answer)
    assert "GET /api/v1/keys" in text
    assert len(given) >= 5
    for secret in given:
        assert secret not in text


def test_first_use_shows_and_logs_no_secret(logger, make, issuer, at_terminal, caplog, capsys, secrets):
    caplog.set_level(logging.DEBUG)
    issuer.decision = "approve"
    codes = []
    real = issuer.device
    issuer.fault("/oauth/device/code", lambda ask: (real(ask), codes.extend(issuer.codes)))
    assert make(debug=True).chat("hi").success
    text = caplog.text + "".join(capsys.readouterr())
    assert codes
    for secret in [*secrets(), *codes]:
        assert secret not in text


def test_no_token_is_in_an_address(make, issuer, logged_in, secrets):
    logged_in(expires_in=0.5)
    client = make()
    client.list_keys()
    client.chat("hi")
    for ask in issuer.asked:
        for secret in secrets():
            assert secret not in ask.handler.path


def test_no_exception_holds_a_token(make, issuer, logged_in, secrets):
    logged_in(expires_in=0)
    issuer.fault("/oauth/token", (400, {"error": "invalid_request", "error_description": "no"}))
    client = make()
    try:
        client.list_keys()
    except mesh.MeshError as problem:
        text = "".join(traceback.format_exception(problem)) + repr(problem.__reduce__()) + repr(vars(problem))
    for secret in secrets():
        assert secret not in text


def test_no_object_shows_a_token(make, issuer, logged_in, settings, secrets):
    login = logged_in()
    client = make(client_secret="s3cret-of-the-client")
    client.list_keys()
    begun = browser.begin(settings, "http://localhost:1/callback")
    shown = repr([login, begun, client.client, vars(client.client), vars(client.client._found.credentials), settings])
    for secret in [*secrets(), begun.state, begun.nonce, begun.verifier.reveal()]:
        assert secret not in shown.replace(begun.url, "")
    assert begun.verifier.reveal() not in begun.url


def test_steps_show_nothing(settings):
    plan = flows.log_in(settings, Screen("https://mesh.example.com"), [1])
    step = next(plan)
    assert isinstance(step, Attempt | Wait | Do | Finish)
    assert "client-1" not in repr(step)
    plan.close()
    gc.collect()


def test_a_client_loads_nothing_that_it_does_not_need(issuer):
    """A token that was given needs neither keyring nor cipher; and nobody needs the commands."""
    program = f"""
import sys, mesh
with mesh.MeshClient(sys.argv[1], "mesh_given") as client:
    assert client.chat("hi").success
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program, issuer.url], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
