"""The device flow: what is ridden out, what stops it, and what another flow may still do."""

import time

import pytest

import mesh
from mesh._plan import Attempt, Wait, drive
from mesh._transport import Reply, TransportFailure
from mesh.auth import device

from .issuer import jwt

TOKEN = "/oauth/token"


@pytest.fixture
def log_in(settings, transport):
    return lambda **changed: drive(device.log_in(replaced(settings, **changed), lambda _: None), transport)


def replaced(settings, **changed):
    from dataclasses import replace

    return replace(settings, **changed)


def says(error, status=400, **headers):
    return lambda ask: ask.answer(status, {"error": error}, **headers)


def test_it_works(issuer, log_in):
    issuer.fault(TOKEN, says("authorization_pending"))
    issuer.decision = "approve"
    login = log_in()
    assert (login.name, login.subject, login.issuer) == ("ada@example.com", "user|1", issuer.issuer)
    asked = issuer.requests("/oauth/device/code")[0]
    assert asked.form == {
        "client_id": "client-1",
        "scope": "openid profile email offline_access",
        "audience": "https://api",
    }
    assert "authorization" not in asked.headers


@pytest.mark.parametrize(
    "passing",
    [
        says("authorization_pending", 403),  # Auth0
        says("authorization_pending", 400),
        says("slow_down", 429),  # Auth0
        says("slow_down", 400),
        lambda ask: ask.answer(500, b"<html>"),
        lambda ask: ask.answer(502, b""),
        lambda ask: ask.answer(503, {"error": "temporarily_unavailable"}),
        lambda ask: ask.answer(429, b"Too many requests"),
        lambda ask: ask.hang_up(),
    ],
)
def test_what_may_pass_is_ridden_out(issuer, log_in, passing):
    issuer.decision = "approve"
    issuer.fault(TOKEN, passing, passing)
    assert log_in().refresh_token is not None
    assert len(issuer.requests(TOKEN)) == 3


@pytest.mark.parametrize("status", [400, 403, 429, 500])
@pytest.mark.parametrize(
    ("error", "code"),
    [("access_denied", "login_denied"), ("expired_token", "login_timed_out")],
)
def test_what_is_final_stops_at_once_whatever_the_status(issuer, log_in, error, code, status):
    issuer.fault(TOKEN, says(error, status))
    with pytest.raises(mesh.LoginFailed) as caught:
        log_in()
    assert caught.value.code == code
    assert len(issuer.requests(TOKEN)) == 1


def test_an_unknown_refusal_is_told_with_the_issuers_words(issuer, log_in):
    issuer.fault(TOKEN, (400, {"error": "consent_required", "error_description": "Ask \x1b[31mAda."}))
    with pytest.raises(mesh.LoginFailed, match="consent_required") as caught:
        log_in()
    assert caught.value.code == "issuer_refused"
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("error", ["unauthorized_client", "invalid_client", "invalid_request"])
def test_a_client_that_may_not_is_sent_another_way(issuer, log_in, error):
    issuer.fault("/oauth/device/code", (403, {"error": error}))
    with pytest.raises(device.NotThisWay):
        log_in()
    issuer.fault(TOKEN, (403, {"error": error}))
    with pytest.raises(device.NotThisWay):
        log_in()


def test_an_issuer_without_the_endpoint_is_asked_another_way(log_in):
    with pytest.raises(device.NotThisWay):
        log_in(device_endpoint=None)
    with pytest.raises(device.NotThisWay):
        log_in(flows=("browser",))


def test_an_issuer_that_fails_to_begin_with_is_unavailable(issuer, log_in):
    issuer.fault("/oauth/device/code", (503, {}))
    with pytest.raises(mesh.ConnectionFailed) as caught:
        log_in()
    assert caught.value.code == "login_unavailable"


def test_nobody_waits_for_ever(issuer, log_in):
    code = {
        "device_code": "d",
        "user_code": "U",
        "verification_uri": issuer.issuer,
        "expires_in": 0.2,
        "interval": 0.05,
    }
    issuer.codes["d"] = {}
    issuer.fault("/oauth/device/code", (200, code))
    started = time.monotonic()
    with pytest.raises(mesh.LoginFailed) as caught:
        log_in()
    assert caught.value.code == "login_timed_out"
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"device_code": "d"},
        {"device_code": "d", "user_code": "U", "verification_uri": "javascript:alert(1)"},
        {"device_code": "d", "user_code": "U", "verification_uri": "file:///etc/passwd"},
        {"device_code": "d", "user_code": "U", "verification_uri": "https://a/\x1b[2J"},
        {"device_code": "d", "user_code": 5, "verification_uri": "https://a/"},
        [],
    ],
)
def test_a_code_that_can_not_be_shown_is_refused(issuer, log_in, told):
    issuer.fault("/oauth/device/code", (200, told))
    with pytest.raises(mesh.LoginFailed) as caught:
        log_in()
    assert caught.value.code == "issuer_refused"


def test_an_opaque_token_says_that_the_audience_is_missing(issuer, log_in):
    issuer.fault(TOKEN, (200, {"access_token": "opaque", "token_type": "Bearer", "expires_in": 60}))
    with pytest.raises(mesh.LoginFailed) as caught:
        log_in()
    assert caught.value.code == "login_token_opaque"
    assert "AUTH0_AUDIENCE" in caught.value.troubleshooting[0]
    assert "opaque" not in str(caught.value.details)


@pytest.mark.parametrize("told", [{}, {"access_token": 5}, {"access_token": "a.b.c", "token_type": "DPoP"}, b"<html>"])
def test_an_answer_without_a_bearer_token_is_refused(issuer, log_in, told):
    issuer.fault(TOKEN, (200, told))
    with pytest.raises(mesh.LoginFailed):
        log_in()


def test_an_id_token_for_another_client_is_not_genuine(issuer, log_in):
    told = issuer.grant("client-1") | {"id_token": jwt(iss=issuer.issuer, aud="client-9", sub="x")}
    issuer.fault(TOKEN, (200, told))
    with pytest.raises(mesh.LoginFailed) as caught:
        log_in()
    assert caught.value.code == "login_not_genuine"


def waits(settings, *answers):
    """Return the seconds between the questions when they are answered so; then the person declines."""
    plan, found = device.log_in(settings, lambda _: None), []
    begun = b'{"device_code":"d","user_code":"U","verification_uri":"https://a/","interval":5,"expires_in":900}'
    rest = [Reply(200, {}, begun), *answers, Reply(400, {}, b'{"error":"access_denied"}')]
    step = next(plan)
    try:
        while True:
            if isinstance(step, Wait):
                found.append(step.seconds)
            step = plan.send(rest.pop(0) if isinstance(step, Attempt) else None)
    except mesh.MeshError:
        return found


SLOW, PENDING = Reply(429, {}, b'{"error":"slow_down"}'), Reply(403, {}, b'{"error":"authorization_pending"}')


def test_slow_down_adds_five_seconds_for_good(settings, monkeypatch):
    monkeypatch.setattr(device, "_SLOWER_S", 5.0)
    assert waits(settings, PENDING, SLOW, PENDING, SLOW) == [5, 5, 10, 10, 15]


def test_a_client_that_is_closed_meanwhile_stops(settings):
    assert waits(settings, TransportFailure("closed")) == [5]


def test_a_retry_after_is_kept_to(settings):
    assert waits(settings, Reply(429, {"retry-after": "20"}, b"")) == [5, 20]


def test_an_issuer_that_does_not_answer_is_asked_less_often(settings):
    assert waits(settings, TransportFailure("timeout"), TransportFailure("connect")) == [5, 10, 10]


def test_a_secret_is_in_no_repr(issuer, log_in):
    issuer.decision = "approve"
    login = log_in()
    text = (
        repr(login)
        + repr(vars(type(login)))
        + str(
            device.DeviceCode(
                device_code="dev-secret", user_code="U", url="u", complete_url=None, lives_s=1, interval_s=1
            )
        )
    )
    for secret in (login.access_token.reveal(), login.refresh_token.reveal(), "dev-secret"):
        assert secret not in text
