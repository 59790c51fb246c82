"""The grants of the dev issuer: codes are used once, refresh tokens in turn, and a reuse ends the login."""

import pytest

from mesh_server.dev_issuer.errors import OAuthProblem
from mesh_server.dev_issuer.grants import MOST_DEVICES, Grants, s256
from mesh_server.dev_issuer.settings import DevIssuerSettings
from mesh_server.dev_issuer.state import State

SCOPE = "openid profile email offline_access"
VERIFIER = "v" * 43
REDIRECT = "http://127.0.0.1:45678/callback"
SETTINGS = DevIssuerSettings(url="http://127.0.0.1:1/dev-issuer")


@pytest.fixture
def grants() -> Grants:
    return Grants(SETTINGS, State())


def refused(error: str):
    return pytest.raises(OAuthProblem, check=lambda problem: problem.error == error)


def code_of(grants: Grants, now: float = 0.0, **changes) -> str:
    asked = {"redirect_uri": REDIRECT, "challenge": s256(VERIFIER), "scope": SCOPE, "nonce": "n", "name": "ann"}
    return grants.issue_code(**(asked | changes), now=now)


def login(grants: Grants, now: float = 0.0, **changes):
    return grants.redeem_code(code_of(grants, now, **changes), REDIRECT, VERIFIER, now)


# --- devices ---


def test_a_device_gets_what_a_person_granted_once(grants):
    code, device = grants.begin_device(SCOPE, 0)
    grants.decide_device(grants.waiting_device(device.user_code, 1), "ann", 1)
    grant = grants.poll_device(code, 2)
    assert (grant.name, grant.scope, grant.auth_time) == ("ann", SCOPE, 1)
    assert grant.refresh_token
    with refused("invalid_grant"):
        grants.poll_device(code, 3)


def test_a_device_waits_and_is_slowed_down_by_5_s_when_it_polls_too_soon(grants):
    code, device = grants.begin_device(SCOPE, 0)
    with refused("authorization_pending"):
        grants.poll_device(code, 5)
    with refused("slow_down"):
        grants.poll_device(code, 6)
    assert device.interval_s == SETTINGS.interval_s + 5
    with refused("slow_down"):
        grants.poll_device(code, 12)
    with refused("authorization_pending"):
        grants.poll_device(code, 30)


def test_a_device_that_polls_in_time_is_not_slowed_down(grants):
    code, _ = grants.begin_device(SCOPE, 0)
    for serial in range(10):
        with refused("authorization_pending"):
            grants.poll_device(code, 5 + serial * 4.9)


def test_a_denied_device_is_told_so(grants):
    code, device = grants.begin_device(SCOPE, 0)
    grants.decide_device(device, None, 1)
    with refused("access_denied"):
        grants.poll_device(code, 2)


def test_an_expired_device_is_told_so_and_can_not_be_granted(grants):
    code, device = grants.begin_device(SCOPE, 0)
    later = SETTINGS.device_life_s
    assert grants.waiting_device(device.user_code, later) is None
    with refused("expired_token"):
        grants.poll_device(code, later)


@pytest.mark.parametrize("typed", ["{0}-{1}", " {0} {1} ", "{0}{1}"])
def test_a_user_code_is_found_however_it_is_typed(grants, typed):
    _, device = grants.begin_device(SCOPE, 0)
    text = typed.format(device.user_code[:4], device.user_code[4:]).lower()
    assert grants.waiting_device(text, 1) is device


@pytest.mark.parametrize("typed", ["", "AAAA-AAAA", "é", "--------"])
def test_another_user_code_is_nobodys(grants, typed):
    grants.begin_device(SCOPE, 0)
    assert grants.waiting_device(typed, 1) is None


def test_a_decided_device_can_not_be_decided_again(grants):
    _, device = grants.begin_device(SCOPE, 0)
    grants.decide_device(device, "ann", 1)
    assert grants.waiting_device(device.user_code, 2) is None


def test_devices_that_wait_are_bounded(grants):
    for _ in range(MOST_DEVICES):
        grants.begin_device(SCOPE, 0)
    with refused("slow_down"):
        grants.begin_device(SCOPE, 1)
    grants.begin_device(SCOPE, 3 * SETTINGS.device_life_s)


# --- authorization codes ---


def test_a_code_is_used_once_and_a_second_use_ends_the_login(grants):
    code = code_of(grants)
    grant = grants.redeem_code(code, REDIRECT, VERIFIER, 1)
    assert grant.nonce == "n"
    with refused("invalid_grant"):
        grants.redeem_code(code, REDIRECT, VERIFIER, 2)
    assert not grants.is_live(grant.family, 2)
    with refused("invalid_grant"):
        grants.refresh(grant.refresh_token, 3)


@pytest.mark.parametrize(
    ("redirect_uri", "verifier", "now"),
    [
        ("http://127.0.0.1:45679/callback", VERIFIER, 1),
        (REDIRECT + "/", VERIFIER, 1),
        (REDIRECT, "w" * 43, 1),
        (REDIRECT, "", 1),
        (REDIRECT, s256(VERIFIER), 1),
        (REDIRECT, "v" * 42, 1),
        (REDIRECT, "é" * 43, 1),
        (REDIRECT, VERIFIER, SETTINGS.code_life_s),
    ],
)
def test_a_code_needs_all_that_it_was_asked_for_with(grants, redirect_uri, verifier, now):
    code = code_of(grants)
    with refused("invalid_grant"):
        grants.redeem_code(code, redirect_uri, verifier, now)


def test_a_code_that_was_never_given_out_is_refused(grants):
    with refused("invalid_grant"):
        grants.redeem_code("nothing", REDIRECT, VERIFIER, 1)


def test_without_offline_access_there_is_no_refresh_token(grants):
    assert login(grants, scope="openid").refresh_token is None


# --- refresh tokens ---


def test_refresh_tokens_take_turns(grants):
    token = login(grants).refresh_token
    seen = {token}
    for now in range(1, 6):
        token = grants.refresh(token, now * 3600).refresh_token
        assert token not in seen
        seen.add(token)


def test_a_reused_refresh_token_ends_the_session(grants):
    first = login(grants).refresh_token
    second = grants.refresh(first, 100).refresh_token
    with refused("invalid_grant"):
        grants.refresh(first, 100 + SETTINGS.refresh_overlap_s + 1)
    with refused("invalid_grant"):
        grants.refresh(second, 140)


def test_within_the_overlap_a_lost_answer_can_be_asked_for_again(grants):
    first = login(grants).refresh_token
    lost = grants.refresh(first, 100).refresh_token
    again = grants.refresh(first, 100 + SETTINGS.refresh_overlap_s).refresh_token
    assert again != lost
    third = grants.refresh(again, 200).refresh_token
    assert grants.refresh(third, 300)


def test_the_token_before_the_last_is_a_reuse_also_within_the_overlap(grants):
    first = login(grants).refresh_token
    second = grants.refresh(first, 100).refresh_token
    third = grants.refresh(second, 101).refresh_token
    with refused("invalid_grant"):
        grants.refresh(first, 102)
    with refused("invalid_grant"):
        grants.refresh(third, 103)


def test_an_overlap_of_nothing_forgives_nothing():
    grants = Grants(DevIssuerSettings(url="x", refresh_overlap_s=0), State())
    first = login(grants).refresh_token
    grants.refresh(first, 100)
    with refused("invalid_grant"):
        grants.refresh(first, 100.1)


def test_a_login_ends_when_it_was_not_refreshed_for_long(grants):
    token = login(grants).refresh_token
    with refused("invalid_grant"):
        grants.refresh(token, SETTINGS.refresh_life_s)


def test_a_reuse_ends_that_login_and_no_other(grants):
    hers, his = login(grants).refresh_token, login(grants, name="bob").refresh_token
    grants.revoke(hers)
    with refused("invalid_grant"):
        grants.refresh(hers, 1)
    assert grants.refresh(his, 1).name == "bob"


def test_revoking_what_is_unknown_is_no_error(grants):
    grants.revoke("nothing")


def test_the_state_holds_no_token_and_no_code(grants):
    code, _ = grants.begin_device(SCOPE, 0)
    authorization = code_of(grants)
    grant = grants.redeem_code(authorization, REDIRECT, VERIFIER, 1)
    import msgspec

    kept = msgspec.json.encode(grants._state).decode()
    for secret in (code, authorization, grant.refresh_token, VERIFIER):
        assert secret not in kept
    assert grant.refresh_token not in repr(grant)
