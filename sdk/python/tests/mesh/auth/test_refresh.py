"""One refresh: rotation, lost replies, reuse, and what the issuer's no means."""

import pytest

import mesh
from mesh._plan import drive
from mesh._secret import Secret
from mesh.auth import refresh
from mesh.auth.logins import lifetime

TOKEN = "/oauth/token"


@pytest.fixture
def renew(transport):
    return lambda login, secret=None: drive(refresh.renew(login, secret), transport)


def test_it_rotates(issuer, logged_in, renew):
    login = logged_in()
    fresh = renew(login)
    assert fresh.refresh_token != login.refresh_token
    assert fresh.access_token != login.access_token
    assert renew(fresh).refresh_token != fresh.refresh_token
    assert issuer.reuses == 0


def test_an_issuer_that_does_not_rotate_leaves_the_old_one(issuer, logged_in, renew):
    login = logged_in()
    issuer.omit_refresh = True
    fresh = renew(login)
    assert fresh.refresh_token == login.refresh_token
    assert fresh.access_token != login.access_token


def test_a_lost_reply_is_asked_for_again_with_the_same_token(issuer, logged_in, renew):
    issuer.overlap = 30
    login = logged_in()

    def lose(ask):
        real, ask.answer = ask.answer, lambda *_, **__: None
        issuer.token(ask)  # it was done, and the client will not know
        ask.answer = real
        ask.hang_up()

    issuer.fault(TOKEN, lose, lose)
    fresh = renew(login)
    assert len({ask.form["refresh_token"] for ask in issuer.requests(TOKEN)}) == 1
    assert len(issuer.requests(TOKEN)) == 3
    assert renew(fresh)
    assert issuer.reuses == 0


@pytest.mark.parametrize("fault", [lambda ask: ask.hang_up(), (500, {}), (503, b"<html>"), (429, {})])
def test_three_times_and_no_more(issuer, logged_in, renew, fault):
    login = logged_in()
    issuer.fault(TOKEN, *[fault] * 9)
    with pytest.raises(mesh.ConnectionFailed) as caught:
        renew(login)
    assert caught.value.code == "login_unavailable"
    assert len(issuer.requests(TOKEN)) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 500])
def test_invalid_grant_is_final_whatever_the_status(issuer, logged_in, renew, status):
    login = logged_in()
    issuer.fault(TOKEN, (status, {"error": "invalid_grant"}))
    with pytest.raises(mesh.SessionEnded):
        renew(login)
    assert len(issuer.requests(TOKEN)) == 1


def test_reuse_ends_the_session(issuer, logged_in, renew):
    login = logged_in()
    renew(login)
    with pytest.raises(mesh.SessionEnded):
        renew(login)
    assert issuer.reuses == 1


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "invalid_request"])
def test_a_refused_client_is_told_and_the_login_kept(make, issuer, logged_in, store, error):
    logged_in(expires_in=0)
    issuer.fault(TOKEN, (401, {"error": error}))
    client = make()
    with pytest.raises(mesh.LoginFailed) as caught:
        client.list_keys()
    assert caught.value.code == "issuer_refused"
    assert store.exists()
    assert client.list_keys() == []


@pytest.mark.parametrize("told", [{}, {"access_token": 5}, b"<html>"])
def test_an_answer_without_a_token_is_refused(issuer, logged_in, renew, told):
    login = logged_in()
    issuer.fault(TOKEN, (200, told))
    with pytest.raises(mesh.LoginFailed):
        renew(login)


def test_a_login_without_a_refresh_token_ends_with_its_token(make, issuer, logged_in, store):
    issuer.give_refresh = False
    logged_in(expires_in=0)
    with pytest.raises(mesh.SessionEnded, match="can't be renewed"):
        make().list_keys()
    assert not issuer.requests(TOKEN)
    assert store.exists()


def test_a_client_secret_is_sent_where_there_is_one(issuer, logged_in, renew):
    renew(logged_in(), Secret("s3cret"))
    assert issuer.requests(TOKEN)[0].form["client_secret"] == "s3cret"


def test_a_logout_revokes_the_refresh_token(issuer, logged_in, transport):
    login = logged_in()
    assert drive(refresh.revoke(login, None), transport)
    assert issuer.revoked == [login.refresh_token.reveal()]
    issuer.fault("/oauth/revoke", (503, {}))
    assert not drive(refresh.revoke(login, None), transport)


@pytest.mark.parametrize(
    ("told", "claims", "life"),
    [
        ({"expires_in": 60}, {"exp": 200, "iat": 100}, 60),
        ({"expires_in": "60"}, None, 60),
        ({"expires_in": "soon"}, {"exp": 200, "iat": 100}, 100),
        ({}, {"exp": 200, "iat": 100}, 100),
        ({}, {"exp": 200}, 3600),
        ({}, None, 3600),
        ({"expires_in": -5}, None, 0),
        ({"expires_in": True}, None, 3600),
    ],
)
def test_the_life_of_a_token_needs_no_clock_that_agrees(told, claims, life):
    assert lifetime(told, claims) == life
