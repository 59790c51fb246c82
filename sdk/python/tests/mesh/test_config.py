"""Where a client goes and as whom, and where it must not go."""

import pytest

import mesh
from mesh import _config
from mesh._plan import drive
from mesh.auth.order import Credentials
from mesh.auth.overrides import Overrides

URL, TOKEN = "https://mesh.example.com", "mesh_token_of_a_test"


def load(environment=None, **arguments):
    return _config.load(environment=environment or {}, **arguments)


def token(environment=None, **arguments):
    """Return the token that a client of this configuration would send; the network must not be needed for it."""
    found = Credentials(load(environment, **arguments), Overrides(), ports=[])
    return drive(found.token(), None)


def refused(code, environment=None, **arguments):
    with pytest.raises(mesh.MeshError) as caught:
        token(environment, **arguments)
    assert caught.value.code == code
    assert caught.value.troubleshooting
    assert TOKEN not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def profile(tmp_path):
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "dev.token").write_text(f"{TOKEN}\n")

    def write(text):
        (folder / "config.toml").write_text(text)
        return {"MESH_CONFIG_DIR": str(folder)}

    return write


TWO = f"""
default = "dev"
[profiles.dev]
server_url = "http://127.0.0.1:8750"
default_provider = "local"
default_model = "small"
token_file = "dev.token"
[profiles.work]
server_url = "{URL}"
token_file = "missing.token"
"""


def test_an_argument_wins_over_the_environment_and_that_over_the_profile(profile):
    environment = profile(TWO)
    assert load(environment).server_url == "http://127.0.0.1:8750"
    environment |= {"MESH_API_URL": URL + "/", "MESH_AUTH_TOKEN": "from-environment"}
    found = load(environment)
    assert (found.server_url, found.token.reveal()) == (URL, "from-environment")
    found = load(environment, server_url="https://other.example.com", auth_token="given")
    assert (found.server_url, found.token.reveal()) == ("https://other.example.com", "given")


def test_the_default_profile_is_used_with_its_token(profile):
    found = load(profile(TWO))
    assert token(profile(TWO)).reveal() == TOKEN
    assert (found.profile.default_provider, found.profile.default_model) == ("local", "small")


@pytest.mark.parametrize("how", [{"profile": "work"}, {"environment": {"MESH_PROFILE": "work"}}])
def test_another_profile_can_be_named(profile, how):
    environment = profile(TWO) | how.get("environment", {})
    assert URL in refused("not_logged_in", environment, profile=how.get("profile"))


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1:8750", "http://127.0.0.1:8751", "http://localhost:8750", "https://mesh.example.com"],
)
def test_a_profiles_token_is_never_sent_to_another_origin(profile, url):
    refused("not_logged_in", profile(TWO), server_url=url)


def test_the_same_origin_may_be_written_otherwise(profile):
    assert token(profile(TWO), server_url="http://127.0.0.1:8750/").reveal() == TOKEN


@pytest.mark.parametrize(
    "text",
    [
        "not toml [",
        "default = 'x'",
        "default = 'x'\nprofiles = 5",
        "default = 'x'\n[profiles]\nx = 5",
        "default = 'x'\n[profiles.x]\nserver_url = 5",
        "default = 'x'\n[profiles.x]\nserver_url = 'http://localhost'\ntoken_file = '.'",
    ],
)
def test_a_profile_file_that_is_not_right_is_named_and_not_shown(profile, text):
    message = refused("profile_invalid", profile(text))
    assert "config" in message
    assert "not toml" not in message


def test_a_profile_that_is_not_there_is_told(profile, tmp_path):
    refused("profile_invalid", {"MESH_CONFIG_DIR": str(tmp_path / "none")}, profile="x")
    refused("profile_invalid", profile(TWO), profile="x")


def test_without_a_server_nobody_is_asked(tmp_path):
    refused("server_not_configured", {"MESH_CONFIG_DIR": str(tmp_path)})


@pytest.mark.parametrize(
    "url", ["mesh.example.com", "ftp://x", "https://", "https://user:pass@example.com", "http:///x"]
)
def test_an_address_that_is_none_is_refused(url):
    assert "pass@" not in refused("server_not_configured", server_url=url, auth_token=TOKEN)


@pytest.mark.parametrize("url", ["http://mesh.example.com", "http://10.0.0.1", "http://127.0.0.1.example.com"])
def test_plain_http_is_for_this_machine_only(url):
    refused("server_insecure", server_url=url, auth_token=TOKEN)
    assert load(server_url=url, auth_token=TOKEN, allow_insecure=True).server_url == url


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost", "http://[::1]:8750"])
def test_plain_http_to_this_machine_is_fine(url):
    assert load(server_url=url, auth_token=TOKEN).server_url == url


@pytest.mark.parametrize("name", ["MESH_TIMEOUT", "MESH_MAX_RETRIES"])
@pytest.mark.parametrize("value", ["x", "-1", "nan", "inf"])
def test_a_number_that_is_none_is_a_wrong_setting(name, value):
    with pytest.raises(ValueError, match=name):
        load({name: value}, server_url=URL, auth_token=TOKEN)


def test_numbers_come_from_the_environment():
    found = load({"MESH_TIMEOUT": "2.5", "MESH_MAX_RETRIES": "0"}, server_url=URL, auth_token=TOKEN)
    assert (found.timeout, found.max_retries) == (2.5, 0)


def test_no_secret_is_shown():
    found = load({"DEFAULT_MODEL": "m", "OPENAI_API_KEY": "sk-never"}, server_url=URL, auth_token=TOKEN)
    assert TOKEN not in repr(found)
    assert "sk-never" not in repr(found)
    assert TOKEN not in repr(mesh.MeshClient(URL, TOKEN))
    assert TOKEN not in f"{found.token} {found.token!r} {vars(mesh.MeshClient(URL, TOKEN))}"
    import pickle

    with pytest.raises(TypeError):
        pickle.dumps(found.token)


@pytest.mark.parametrize(
    "arguments",
    [{"timeout": 0}, {"timeout": -1}, {"max_retries": -1}, {"max_retries": 1.5}, {"timeout": float("nan")}],
)
@pytest.mark.parametrize("kind", [mesh.MeshClient, mesh.AsyncMeshClient])
def test_a_wrong_argument_of_a_client_raises(kind, arguments):
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        kind(URL, TOKEN, **arguments)
