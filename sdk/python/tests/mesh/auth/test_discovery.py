"""Where to log in: what the server says, what overrides it, and what is not believed."""

import pytest

import mesh
from mesh._plan import drive
from mesh.auth import discovery
from mesh.auth.overrides import Overrides, issuer_of, overrides

CONFIG, METADATA = "/api/v1/auth/config", "/.well-known/openid-configuration"


@pytest.fixture
def discover(issuer, transport):
    return lambda **given: drive(discovery.discover(issuer.url, Overrides(**given)), transport)


def refused(discover, **given):
    with pytest.raises(mesh.MeshError) as caught:
        discover(**given)
    assert caught.value.troubleshooting
    return caught.value


def test_the_server_says_where_and_the_issuer_how(issuer, discover):
    found = discover()
    assert (found.issuer, found.client_id, found.audience) == (issuer.issuer, "client-1", "https://api")
    assert found.token_endpoint == issuer.issuer + "oauth/token"
    assert not found.is_auth0
    assert all("authorization" not in ask.headers for ask in issuer.asked)


def test_a_server_without_a_login_says_so_and_is_asked_once(issuer, discover):
    body = {"success": False, "error": {"code": "login_not_configured", "message": "No."}}
    issuer.fault(CONFIG, (404, body))
    problem = refused(discover)
    assert problem.code == "login_not_configured"
    assert "MESH_AUTH_TOKEN" in problem.troubleshooting[0]
    assert [ask.path for ask in issuer.asked] == [CONFIG]


@pytest.mark.parametrize("status", [404, 405])
def test_old_servers_are_asked_at_their_own_paths(issuer, discover, status):
    issuer.fault(CONFIG, (status, {}))
    issuer.fault("/v1/mesh/auth/config", (404, b"<html>"))
    issuer.fault("/auth/config", (200, {"domain": issuer.url, "client_id": "old"}))
    assert discover().client_id == "old"
    assert [ask.path for ask in issuer.asked][:3] == [CONFIG, "/v1/mesh/auth/config", "/auth/config"]


@pytest.mark.parametrize("status", [400, 401, 500, 503])
def test_other_paths_are_for_404_and_405_only(issuer, discover, status):
    issuer.fault(CONFIG, (status, {}))
    refused(discover)
    assert [ask.path for ask in issuer.asked] == [CONFIG]


def test_overrides_win_and_a_complete_set_needs_no_server(issuer, discover):
    found = discover(domain=issuer.url, client_id="mine", audience="api")
    assert (found.client_id, found.audience) == ("mine", "api")
    assert not issuer.requests(CONFIG)
    found = discover(client_id="mine")
    assert (found.client_id, found.audience) == ("mine", "https://api")


def test_an_issuer_that_names_another_is_not_believed(issuer, discover):
    issuer.metadata_extra = {"issuer": "https://evil.example.com/"}
    assert refused(discover).code == "login_not_genuine"


def test_the_issuer_must_match_exactly_what_was_announced(issuer, discover):
    issuer.announced = {"issuer": issuer.url}  # without the slash that the issuer has
    assert refused(discover).code == "login_not_genuine"
    assert discover(domain=issuer.url).issuer == issuer.issuer  # a domain is no exact name


@pytest.mark.parametrize("bad", ["http://issuer.example.com/", "ftp://x/", "file:///etc"])
def test_an_issuer_in_clear_text_is_refused(issuer, discover, bad):
    issuer.announced = {"issuer": bad}
    assert refused(discover).code == "issuer_refused"


@pytest.mark.parametrize("name", ["token_endpoint", "device_authorization_endpoint", "authorization_endpoint"])
def test_an_endpoint_in_clear_text_is_refused(issuer, discover, name):
    issuer.metadata_extra = {name: "http://issuer.example.com/x"}
    assert refused(discover).code == "issuer_refused"


@pytest.mark.parametrize("told", [(404, {}), (200, b"<html>"), (200, []), (302, b"")])
def test_something_that_is_no_issuer_is_told(issuer, discover, told):
    issuer.fault(METADATA, told)
    assert refused(discover).code == "issuer_refused"


def test_an_issuer_that_is_down_is_unavailable(issuer, discover):
    issuer.fault(METADATA, (503, {}))
    assert refused(discover).code == "login_unavailable"
    issuer.fault(METADATA, lambda ask: ask.hang_up())
    assert refused(discover).code == "login_unavailable"
    assert refused(discover, domain="http://127.0.0.1:9").code == "login_unavailable"


def test_a_server_that_names_nothing_is_of_no_use(issuer, discover):
    issuer.announced = {"issuer": None, "domain": None}
    assert refused(discover).code == "issuer_refused"
    issuer.announced = {"client_id": None}
    assert refused(discover).code == "issuer_refused"


@pytest.mark.parametrize(
    ("domain", "issuer_"),
    [("t.eu.auth0.com", "https://t.eu.auth0.com/"), ("http://127.0.0.1:1/dev", "http://127.0.0.1:1/dev")],
)
def test_a_domain_becomes_an_issuer(domain, issuer_):
    assert issuer_of(domain) == issuer_


def test_settings_come_from_arguments_over_the_environment():
    env = {"AUTH0_DOMAIN": "d", "AUTH0_CLIENT_ID": "c", "AUTH0_CLIENT_SECRET": "s3cret", "AUTH0_AUDIENCE": "a"}
    found = overrides(env, client_id="mine")
    assert (found.domain, found.client_id, found.audience) == ("d", "mine", "a")
    assert found.client_secret.reveal() == "s3cret"
    assert "s3cret" not in repr(found)
