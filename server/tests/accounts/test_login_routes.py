"""The endpoints of a login, as a client and the published clients use them, against issuers on real sockets."""

import asyncio
import base64
import hashlib
import json
from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from mesh_server.accounts.oidc.issuers import Issuers
from mesh_server.app import Services
from mesh_server.dev_issuer.serve import configuration, serving

from ..conftest import caller, settings_in
from ..dev_issuer.browser import Person
from .issuer import AUDIENCE, CLIENT

REDIRECT = "http://localhost:8000/callback"
PREFIXES = ["/api/v1/auth", "/auth", "/v1/mesh/auth", "//api/v1/auth"]


@pytest.fixture
async def opened(tmp_path, monkeypatch):
    """Return a function that opens an application with these issuers."""
    monkeypatch.chdir(tmp_path)
    services: list[Services] = []

    async def open_with(*issuers):
        made = await Services.open(replace(settings_in(tmp_path), issuers=issuers))
        services.append(made)
        return caller(made.application(), None)

    yield open_with
    for made in services:
        await made.close()


@pytest.fixture
async def call(opened, issuer):
    return await opened(issuer.configured(client_secret="the-secret"))


async def url_for(call, **changes):
    body = {"redirect_uri": REDIRECT, "state": "s", "scope": "openid profile email offline_access"} | changes
    body = {name: value for name, value in body.items() if value is not None}
    return await call("POST", "/api/v1/auth/get-auth-url", body)


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_the_config_says_where_to_log_in(call, issuer, prefix):
    answer = await call("GET", f"{prefix}/config?flow=device")
    assert answer.status == 200
    assert answer.json == {
        "success": True,
        "issuer": issuer.url,
        "domain": issuer.url,
        "client_id": CLIENT,
        "audience": AUDIENCE,
        "flows": ["device", "browser"],
        "scope": "openid profile email offline_access",
    }
    for _ in range(20):
        await call("GET", f"{prefix}/config")
    assert issuer.fetches() == 1  # it is public: nobody makes this server knock at the issuer's door by it


@pytest.mark.parametrize(("configured", "stated"), [("", "/"), ("/", "")])
async def test_the_config_names_the_issuer_exactly_as_its_tokens_do(opened, issuer, configured, stated):
    issuer.document = {"issuer": issuer.url + stated}
    call = await opened(issuer.configured(url=issuer.url + configured))
    assert (await call("GET", "/api/v1/auth/config")).json["issuer"] == issuer.url + stated
    assert (await call("GET", "/auth/validate", token=issuer.token(iss=issuer.url + stated))).status == 200
    assert (await call("GET", "/auth/validate", token=issuer.token(iss=issuer.url + configured))).status == 401


async def test_the_config_is_there_while_the_issuer_is_not(opened, issuer):
    issuer.status = 500
    call = await opened(issuer.configuration)
    assert (await call("GET", "/api/v1/auth/config")).json["issuer"] == issuer.url


async def test_the_domain_of_an_https_issuer_is_bare(opened, issuer):
    call = await opened(issuer.configured(url="https://localhost:9/x.eu.auth0.com/"))
    body = (await call("GET", "/api/v1/auth/config")).json
    assert (body["issuer"], body["domain"]) == ("https://localhost:9/x.eu.auth0.com/", "localhost:9/x.eu.auth0.com")


@pytest.mark.parametrize(
    ("method", "name", "body"),
    [
        ("GET", "config", None),
        ("POST", "get-auth-url", {"redirect_uri": REDIRECT, "state": "s"}),
        ("POST", "exchange-token", {"code": "c", "redirect_uri": REDIRECT}),
        ("POST", "refresh-token", {"refresh_token": "r"}),
    ],
)
async def test_a_server_without_an_issuer_says_so(opened, method, name, body):
    answer = await (await opened())(method, f"/auth/{name}", body)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (404, "login_not_configured")


# --- where to send the browser ---


async def test_the_url_has_what_the_issuer_needs(call, issuer):
    answer = await url_for(call)
    assert answer.status == 200
    url = urlsplit(answer.json["auth_url"])
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{issuer.url}/authorize"
    assert (query["client_id"], query["audience"], query["state"]) == (CLIENT, AUDIENCE, "s")
    assert (query["redirect_uri"], query["code_challenge_method"]) == (REDIRECT, "S256")
    assert query["prompt"] == "consent"
    assert "secret" not in answer.json["auth_url"]


async def test_auth0_is_not_made_to_ask_for_consent_each_time(opened, issuer):
    answer = await url_for(await opened(issuer.configured(is_auth0=True)))
    assert "prompt" not in answer.json["auth_url"]


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "https://evil.example/callback"},
        {"redirect_uri": "http://evil.example:80/callback"},
        {"redirect_uri": "http://localhost@evil.example:80/callback"},
        {"redirect_uri": "http://localhost:80.evil.example/callback"},
        {"redirect_uri": "http://localhost:8000/callback?x=http://evil.example"},
        {"redirect_uri": "http://localhost:8000/other"},
        {"redirect_uri": "http://localhost:70000/callback"},
        {"redirect_uri": "http://localhost:8000/callback\n"},
        {"redirect_uri": ""},
        {"redirect_uri": 5},
        {"redirect_uri": None},
        {"state": None},
        {"state": ""},
        {"state": "x" * 513},
        {"state": "a b"},
        {"state": "a\r\nb"},
        {"scope": 'open"id'},
        {"scope": "x" * 513},
        {"code_challenge": "short"},
    ],
)
async def test_a_way_back_or_a_state_that_is_not_right_is_refused(call, issuer, changes):
    answer = await url_for(call, **changes)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert not issuer.asked


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b'"x"'])
async def test_a_body_that_is_no_object_is_refused(call, body):
    for name in ("get-auth-url", "exchange-token", "refresh-token"):
        assert (await call("POST", f"/auth/{name}", body)).status == 400


async def test_a_large_body_is_refused(call, issuer):
    answer = await call("POST", "/auth/refresh-token", {"refresh_token": "x" * 40_000})
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert not issuer.asked


# --- tokens through the server ---


async def test_a_code_is_brought_to_the_issuer_with_the_servers_secret(call, issuer):
    challenge = parse_qs(urlsplit((await url_for(call)).json["auth_url"]).query)["code_challenge"][0]
    token = issuer.token()
    issuer.token_answer = 200, {"access_token": token, "refresh_token": "r-1", "expires_in": 3600, "odd": 1}
    answer = await call(
        "POST", "/auth/exchange-token", {"code": "c-1", "redirect_uri": REDIRECT, "extended_lifetime": True}
    )
    assert answer.status == 200
    assert answer.json == {
        "success": True,
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": 3600,
        "refresh_token": "r-1",
    }
    assert answer.headers["cache-control"] == "no-store"
    at = issuer.asked.index("/token")
    form = {name: values[0] for name, values in parse_qs(issuer.forms[at]).items()}
    assert (form["code"], form["client_id"], form["redirect_uri"]) == ("c-1", CLIENT, REDIRECT)
    assert base64.b64decode(issuer.authorizations[at].removeprefix("Basic ")) == f"{CLIENT}:the-secret".encode()
    made = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
    assert made == challenge


async def test_an_issuer_that_wants_it_gets_the_secret_in_the_form(call, issuer):
    issuer.document = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    issuer.token_answer = 200, {"access_token": issuer.token()}
    await call("POST", "/auth/refresh-token", {"refresh_token": "r"})
    assert "client_secret=the-secret" in issuer.forms[issuer.asked.index("/token")]


async def test_a_client_registered_for_the_other_way_is_tried_again_once(call, issuer):
    issuer.token_answer = 401, {"error": "invalid_client"}
    answer = await call("POST", "/auth/refresh-token", {"refresh_token": "r"})
    assert (answer.code, answer.json["error"]["details"]["error"]) == ("login_refused", "invalid_client")
    first, second = (at for at, path in enumerate(issuer.asked) if path == "/token")
    assert "the-secret" not in issuer.forms[first]
    assert "client_secret=the-secret" in issuer.forms[second]


async def test_a_client_may_bring_a_verifier_of_its_own(call, issuer):
    issuer.token_answer = 200, {"access_token": issuer.token()}
    body = {"code": "c", "redirect_uri": REDIRECT, "code_verifier": "v" * 43}
    assert (await call("POST", "/auth/exchange-token", body)).status == 200
    assert f"code_verifier={'v' * 43}" in issuer.forms[issuer.asked.index("/token")]


@pytest.mark.parametrize("client_type", [{}, {"client_type": "web"}, {"client_type": "device"}])
async def test_a_refresh_token_is_always_echoed(call, issuer, client_type):
    issuer.token_answer = 200, {"access_token": issuer.token()}
    answer = await call("POST", "/auth/refresh-token", {"refresh_token": "r-1", **client_type})
    assert (answer.status, answer.json["refresh_token"]) == (200, "r-1")
    assert 3590 <= answer.json["expires_in"] <= 3660  # from the token, where the issuer does not say
    issuer.token_answer = 200, {"access_token": issuer.token(), "refresh_token": "r-2"}
    assert (await call("POST", "/auth/refresh-token", {"refresh_token": "r-1"})).json["refresh_token"] == "r-2"


@pytest.mark.parametrize("error", ["invalid_grant", 5, "Bearer eyJhbGciOi", None])
async def test_a_refusal_of_the_issuer_is_told_without_its_text(call, issuer, error):
    issuer.token_answer = 403, {"error": error, "error_description": "token r-1 of ann is bad"}
    answer = await call("POST", "/auth/refresh-token", {"refresh_token": "r-1"})
    assert (answer.status, answer.code) == (400, "login_refused")
    assert "r-1" not in answer.body.decode()
    assert answer.json["error"]["details"]["error"] == ("invalid_grant" if error == "invalid_grant" else "status 403")


@pytest.mark.parametrize(
    ("status", "body"), [(500, {}), (429, {}), (200, {}), (200, b"no json"), (200, {"access_token": 5})]
)
async def test_an_issuer_that_fails_is_503(call, issuer, status, body):
    issuer.token_answer = status, body
    answer = await call("POST", "/auth/refresh-token", {"refresh_token": "r"})
    assert (answer.status, answer.code) == (503, "issuer_unavailable")


async def test_an_opaque_token_is_not_handed_out_but_explained(call, issuer):
    issuer.token_answer = 200, {"access_token": "opaque", "expires_in": 3600}
    answer = await call("POST", "/auth/refresh-token", {"refresh_token": "r"})
    assert (answer.status, answer.code) == (400, "login_refused")
    assert "AUTH0_AUDIENCE" in answer.body.decode()


@pytest.mark.parametrize("value", ["", "x" * 9000, "a\nb", "é"])
async def test_a_code_or_token_that_can_not_be_one_is_not_sent_on(call, issuer, value):
    assert (await call("POST", "/auth/refresh-token", {"refresh_token": value})).status == 400
    body = {"code": value, "redirect_uri": REDIRECT}
    assert (await call("POST", "/auth/exchange-token", body)).status == 400
    assert "/token" not in issuer.asked


async def test_an_address_may_not_ask_for_ever(call):
    answers = [await url_for(call, state=None) for _ in range(31)]
    assert {answer.status for answer in answers[:30]} == {400}
    assert (answers[30].status, answers[30].code) == (429, "rate_limited")
    assert 1 <= int(answers[30].headers["retry-after"]) <= 2


# --- with a login ---


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_login_registers_and_is_valid(call, issuer, prefix):
    token = issuer.token(email="ann@example.org")
    assert (await call("GET", f"{prefix}/validate", token=token)).json == {"success": True, "valid": True}
    profile = (await call("GET", f"{prefix}/profile", token=token)).json
    assert profile["email"] == profile["profile"]["email"] == "ann@example.org"
    assert profile["id"] == profile["profile"]["id"]
    assert profile["tenant"] == "default"


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_forged_login_is_401_with_its_reason(call, issuer, prefix):
    for name in ("validate", "profile"):
        answer = await call("GET", f"{prefix}/{name}", token=issuer.token(aud="x"))
        assert (answer.status, answer.code) == (401, "token_wrong_audience")
        assert "mesh-auth" in json.dumps(answer.json["error"]["troubleshooting"])
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_an_issuer_that_is_down_is_503_and_not_401(call, issuer):
    issuer.status = 500
    answer = await call("GET", "/auth/validate", token=issuer.token())
    assert (answer.status, answer.code) == (503, "issuer_unavailable")
    assert int(answer.headers["retry-after"]) >= 1


async def test_the_published_clients_whole_login_at_the_dev_issuer(opened, tmp_path):
    codes: list[str] = []
    async with serving(tmp_path / "issuer", codes.append) as dev:
        call = await opened(configuration(dev.settings))
        person = Person(dev.settings.url, codes)
        page = await person.go((await url_for(call)).json["auth_url"])
        back = await person.sign_in(page, "ann@example.org")
        body = {"code": back.answer["code"], "redirect_uri": REDIRECT}
        tokens = (await call("POST", "/api/v1/auth/exchange-token", body)).json
        profile = (await call("GET", "/api/v1/auth/profile", token=tokens["access_token"])).json
        assert profile["email"] == "ann@example.org"
        again = (await call("POST", "/auth/refresh-token", {"refresh_token": tokens["refresh_token"]})).json
        assert again["refresh_token"] != tokens["refresh_token"]
        after = (await call("GET", "/auth/profile", token=again["access_token"])).json
        assert after["id"] == profile["id"]


async def test_no_token_is_in_the_log(call, issuer, capfd, caplog):
    import structlog

    structlog.reset_defaults()
    caplog.set_level("DEBUG")
    issuer.token_answer = 200, {"access_token": issuer.token(), "refresh_token": "refresh-me-not"}
    await call("POST", "/auth/refresh-token", {"refresh_token": "refresh-me"})
    await call("GET", "/auth/profile", token=issuer.token())
    await call("GET", "/auth/profile", token=issuer.token(aud="x"))
    logged = unquote(caplog.text + "".join(capfd.readouterr()))
    assert "/auth/profile" in logged
    for secret in ("refresh-me", "the-secret", "eyJ"):
        assert secret not in logged


async def test_issuers_without_any_are_closed_like_others():
    issuers = Issuers()
    assert issuers.first is None
    await asyncio.gather(issuers.close())
