"""Registration: once before the first chat, and told as documented when it fails."""

import pytest

import mesh

from ..server import completion


def test_the_profile_is_asked_for_once_before_the_first_chat(make, issuer, logged_in):
    logged_in()
    client = make()
    client.list_keys()
    assert issuer.profiles == 0
    for _ in range(3):
        assert client.chat("hi").success
    assert issuer.profiles == 1


def test_an_old_server_is_asked_at_its_own_path(make, issuer, logged_in):
    logged_in()
    issuer.fault("/api/v1/auth/profile", (404, {}))
    assert make().chat("hi").success
    assert len(issuer.requests("/v1/mesh/auth/profile")) == 1


@pytest.mark.parametrize("status", [400, 402, 403, 404, 500])
def test_a_registration_that_fails_is_told_as_documented(make, issuer, logged_in, status):
    logged_in()
    body = {"success": False, "error": {"code": "internal_error", "message": "No."}}
    for path in ("/api/v1/auth/profile", "/v1/mesh/auth/profile"):
        issuer.fault(path, *[(status, body)] * 4)
    answer = make().chat("hi")
    assert answer["success"] is False
    assert answer["error"] == "Failed to register user. Chat requires user registration."
    assert answer["troubleshooting"] == [
        "Try calling the auth profile endpoint directly first",
        "Verify your authentication token is valid",
        "Check that the server URL is correct",
    ]
    assert not issuer.requests("/api/v1/chat/completions")


def test_a_failed_registration_is_tried_again_by_the_next_chat(make, issuer, logged_in):
    logged_in()
    issuer.fault("/api/v1/auth/profile", (400, {}))
    client = make()
    assert client.chat("hi")["code"] == "registration_failed"
    assert client.chat("hi").content == completion()["choices"][0]["message"]["content"]


def test_an_api_token_needs_none(make, issuer):
    assert make(auth_token="mesh_of_an_account").chat("hi").success
    assert issuer.profiles == 0


def test_a_stream_is_preceded_by_it_too(make, issuer, logged_in):
    logged_in()
    client = make()
    issuer.fault("/api/v1/chat/completions", (400, {"error": {"code": "invalid_request", "message": "No."}}))
    with pytest.raises(mesh.InvalidRequest):
        client.pieces(client.chat("hi", stream=True))
    assert [ask.path for ask in issuer.asked][-2:] == ["/api/v1/auth/profile", "/api/v1/chat/completions"]
