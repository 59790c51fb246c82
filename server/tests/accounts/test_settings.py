"""Issuers in environment and file: what is accepted, and a sentence for everything else."""

import pytest

from mesh_server.dev_issuer.settings import load as load_dev_issuer
from mesh_server.errors import StartupError
from mesh_server.settings import load

AUTH0 = {"AUTH0_DOMAIN": "x.eu.auth0.com", "AUTH0_CLIENT_ID": "c", "AUTH0_AUDIENCE": "a"}
OIDC = {"MESH_OIDC_ISSUER": "https://id.example/realms/r", "MESH_OIDC_CLIENT_ID": "c", "MESH_OIDC_AUDIENCE": "a"}


def issuers(environment: dict | None = None, *, folder=None, file: str = ""):
    flags = {}
    if file:
        (folder / "mesh-server.toml").write_text(file)
        flags["config"] = str(folder / "mesh-server.toml")
    return load(flags, {"MESH_DATA_DIR": "/nowhere", **(environment or {})}).issuers


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_there_is_none_by_default():
    assert issuers() == ()


def test_a_bare_domain_is_auth0s_url():
    (found,) = issuers(AUTH0)
    assert (found.url, found.domain, found.is_auth0) == ("https://x.eu.auth0.com/", "x.eu.auth0.com", True)
    assert found.client_secret is None


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1234/dev-issuer", "http://localhost:1/", "http://[::1]:5", "https://login.example/x/"]
)
def test_a_url_is_used_as_it_is(url):
    assert issuers(AUTH0 | {"AUTH0_DOMAIN": url})[0].url == url


def test_any_issuer_can_be_named_and_comes_after_auth0():
    assert [issuer.url for issuer in issuers(OIDC | AUTH0)] == ["https://x.eu.auth0.com/", OIDC["MESH_OIDC_ISSUER"]]


def test_a_secret_may_come_from_a_file_and_is_never_shown(tmp_path):
    (tmp_path / "secret").write_text("s3cret\n")
    (found,) = issuers(AUTH0 | {"AUTH0_CLIENT_SECRET_FILE": str(tmp_path / "secret")})
    assert found.client_secret == "s3cret"
    assert "s3cret" not in repr(found)
    assert "s3cret" not in repr(load({}, {**AUTH0, "AUTH0_CLIENT_SECRET": "s3cret"}))


def test_the_file_names_any_number_with_tenant_flows_and_admins(tmp_path):
    (tmp_path / "s").write_text("from-file\n")
    found = issuers(
        AUTH0,
        folder=tmp_path,
        file=f"""
[[issuers]]
issuer = "https://id.example"
client_id = "c"
audience = "a"
tenant = "acme"
flows = ["browser"]
admins = ["u-1"]
client_secret_file = "{(tmp_path / "s").as_posix()}"

[[issuers]]
domain = "y.auth0.com"
client_id = "c"
audience = "a"
""",
    )
    assert [issuer.tenant for issuer in found] == ["default", "acme", "default"]
    assert (found[1].flows, found[1].admins, found[1].client_secret) == (("browser",), {"u-1"}, "from-file")
    assert (found[2].url, found[2].is_auth0) == ("https://y.auth0.com/", True)


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"AUTH0_DOMAIN": "x.auth0.com"}, "AUTH0_CLIENT_ID and AUTH0_AUDIENCE"),
        (AUTH0 | {"AUTH0_AUDIENCE": ""}, "AUTH0_AUDIENCE"),
        ({"AUTH0_AUDIENCE": "a"}, "AUTH0_DOMAIN"),
        ({"MESH_OIDC_ISSUER": "https://id.example"}, "MESH_OIDC_CLIENT_ID"),
        (AUTH0 | {"AUTH0_DOMAIN": "http://id.example"}, "https"),
        (AUTH0 | {"AUTH0_DOMAIN": "http://127.0.0.1.evil.example"}, "https"),
        (AUTH0 | {"AUTH0_DOMAIN": "ftp://id.example"}, "http"),
        (AUTH0 | {"AUTH0_DOMAIN": "https://u:p@id.example"}, "password"),
        (AUTH0 | {"AUTH0_DOMAIN": "https://id.example/?x=1"}, "AUTH0_DOMAIN"),
        (AUTH0 | {"AUTH0_DOMAIN": f"https://id.example/{'x' * 500}"}, "AUTH0_DOMAIN"),
        (AUTH0 | {"AUTH0_CLIENT_SECRET": "x", "AUTH0_CLIENT_SECRET_FILE": "/y"}, "both"),
        (AUTH0 | {"AUTH0_CLIENT_SECRET_FILE": "/not/there"}, "AUTH0_CLIENT_SECRET"),
        (AUTH0 | {"MESH_OIDC_LEEWAY": "-1"}, "MESH_OIDC_LEEWAY"),
        (AUTH0 | {"MESH_OIDC_LEEWAY": "3600"}, "MESH_OIDC_LEEWAY"),
        (AUTH0 | OIDC | {"MESH_OIDC_ISSUER": "https://x.eu.auth0.com"}, "twice"),
    ],
)
def test_what_is_incomplete_or_unsafe_is_refused_by_name(environment, named):
    with pytest.raises(StartupError, match=named):
        issuers(environment)


@pytest.mark.parametrize(
    "line",
    [
        'tenant = "-"',
        'tenant = "123"',
        'tenant = "a/b"',
        "flows = []",
        'flows = ["password"]',
        'flows = ["device", "device"]',
        'domain = "also.example"',
        'surprise = "x"',
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path, line):
    table = f'[[issuers]]\nissuer = "https://id.example"\nclient_id = "c"\naudience = "a"\n{line}\n'
    with pytest.raises(StartupError):
        issuers(folder=tmp_path, file=table)


def test_the_leeway_can_be_nothing():
    assert load({}, AUTH0 | {"MESH_OIDC_LEEWAY": "0"}).oidc_leeway_s == 0
    assert load({}, AUTH0).oidc_leeway_s == 60


def test_the_dev_issuers_knobs_are_seconds():
    found = load_dev_issuer("http://x", {"MESH_DEV_ISSUER_TOKEN_LIFE": "3", "MESH_DEV_ISSUER_REFRESH_OVERLAP": "0"})
    assert (found.token_life_s, found.refresh_overlap_s, found.interval_s) == (3, 0, 5)
    for value in ("0", "-1", "x", "1e3"):
        with pytest.raises(StartupError, match="MESH_DEV_ISSUER_INTERVAL"):
            load_dev_issuer("http://x", {"MESH_DEV_ISSUER_INTERVAL": value})
