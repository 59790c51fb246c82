"""`mesh config` and `mesh doctor`: sources are told, tokens are not, and nothing goes to a server it is not for."""

import json
import tomllib

import pytest

from mesh.cli._run import run
from mesh.cli.mesh import mesh as command

TOKEN = "mesh_profile_token"
FILE = """\
# mine
default = "work"

[profiles.work]
server_url = "https://work.example.com"
server_id = "mesh:work.example.com"
default_model = "gpt-4o"
token_file = "work.token"

[profiles.home]
server_url = "http://127.0.0.1:9"
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "config"
    made.mkdir(mode=0o700)
    (made / "config.toml").write_text(FILE)
    (made / "work.token").write_text(TOKEN)
    (made / "work.token").chmod(0o600)
    return made


@pytest.fixture
def call(capsys):
    def do(*arguments):
        status = run(command, arguments, "mesh")
        out = capsys.readouterr()
        assert TOKEN not in out.out + out.err
        assert "Traceback" not in out.err
        return status, out.out, out.err

    return do


def settings(call):
    return {row["name"]: (row["value"], row["source"]) for row in json.loads(call("config", "--json")[1])}


def profile(folder, name="work"):
    return tomllib.loads((folder / "config.toml").read_text())["profiles"][name]


def test_each_setting_tells_where_it_comes_from(call, folder, monkeypatch):
    found = settings(call)
    assert found["profile"] == ("work", "the file")
    assert found["server_url"] == ("https://work.example.com", "profile")
    assert found["default_model"] == ("gpt-4o", "profile")
    assert found["default_provider"] == (None, "default")
    assert found["login"] == (None, str(folder / "work.token"))
    monkeypatch.setenv("MESH_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("DEFAULT_MODEL", "gpt-4")
    monkeypatch.setenv("MESH_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("MESH_TIMEOUT", "7")
    found = settings(call)
    assert found["server_url"] == ("http://127.0.0.1:1", "MESH_API_URL")
    assert found["default_model"] == ("gpt-4", "DEFAULT_MODEL")
    assert found["login"] == (None, "MESH_AUTH_TOKEN")
    assert found["timeout"] == ("7", "MESH_TIMEOUT")


def test_without_a_file_defaults_are_told(call):
    found = settings(call)
    assert found["server_url"][1] == "default"
    assert "asks" in found["server_url"][0]
    assert found["login"] == (None, "none: run mesh-auth")


def test_entries_are_set_and_taken_out_and_the_rest_stays(call, folder):
    assert call("config", "set", "default_provider", "openai")[0] == 0
    assert call("config", "unset", "default_model")[0] == 0
    assert profile(folder)["default_provider"] == "openai"
    assert "default_model" not in profile(folder)
    assert (folder / "config.toml").read_text().startswith("# mine\n")
    assert call("config", "set", "default_model", "tiny", "--profile", "home")[0] == 0
    assert profile(folder, "home")["default_model"] == "tiny"


def test_a_profile_that_goes_to_another_server_takes_no_token_along(call, folder):
    _, _, err = call("config", "set", "server_url", "https://other.example.com")
    assert "token_file" in err
    assert profile(folder) == {"server_url": "https://other.example.com", "default_model": "gpt-4o"}


def test_the_same_server_keeps_its_token(call, folder):
    call("config", "set", "server_url", "https://work.example.com/")
    assert profile(folder)["token_file"] == "work.token"


def test_a_token_does_not_come_along_by_taking_the_address_out_first(call, folder):
    call("config", "unset", "server_url")
    call("config", "set", "server_url", "https://evil.example.com")
    assert "token_file" not in profile(folder)


def test_another_profile_is_used(call, folder, monkeypatch):
    assert call("config", "use", "home")[0] == 0
    assert settings(call)["server_url"][0] == "http://127.0.0.1:9"
    monkeypatch.setenv("MESH_PROFILE", "work")
    assert "MESH_PROFILE" in call("config", "use", "home")[2]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("set", "token_file", "x"), 2),
        (("set", "server_url", "http://example.com"), 1),
        (("set", "server_url", "nonsense"), 1),
        (("set", "default_model", "x", "--profile", "nobody"), 1),
        (("use", "nobody"), 1),
    ],
)
def test_what_is_refused_changes_nothing(call, folder, arguments, status):
    assert call("config", *arguments)[0] == status
    assert (folder / "config.toml").read_text() == FILE


def test_a_damaged_file_is_told(call, folder):
    (folder / "config.toml").write_text("default = ")
    for arguments in (("config",), ("config", "use", "home"), ("doctor",)):
        status, out, err = call(*arguments)
        assert (status, out) == (1, "")
        assert "TOML" in err


# --- doctor ---


@pytest.fixture
def served(server, monkeypatch):
    monkeypatch.setenv("MESH_API_URL", server.url)
    monkeypatch.setenv("MESH_AUTH_TOKEN", "mesh_test_token")
    answers = {
        "/readyz": (200, {}),
        "/api/v1/auth/profile": (200, {"success": True, "id": "01a2", "tenant": "default", "email": None}),
        "/api/v1/models": (200, {"success": True, "models": {"local": ["tiny"]}}),
        "/api/v1/keys": (200, {"success": True, "keys": [{"name": "a"}], "next_cursor": None}),
        "/api/v1/budget": (200, {"success": True, "left_usd": None, "budgets": []}),
    }

    def script(exchange):
        status, body = answers[exchange.path]
        exchange.refuse(body, status) if isinstance(body, str) else exchange.answer(status, body)

    server.script(script)
    return answers


def verdicts(call):
    status, out, _ = call("doctor", "--json")
    return status, {row["name"]: row for row in json.loads(out)}


def test_all_is_well_and_the_account_is_told(call, served):
    status, found = verdicts(call)
    assert status == 0
    assert {found[name]["verdict"] for name in ("Server", "Login", "Models", "Vault", "Budget")} == {"good"}
    assert "01a2" in found["Login"]["text"]
    assert call("doctor")[0] == 0


@pytest.mark.parametrize(
    ("path", "answer", "name"),
    [
        ("/readyz", (503, {}), "Server"),
        ("/api/v1/auth/profile", (401, "token_invalid"), "Login"),
        ("/api/v1/auth/profile", (200, []), "Login"),
    ],
)
def test_what_stops_everything_is_bad_and_nothing_more_is_asked(call, served, path, answer, name):
    served[path] = answer
    status, found = verdicts(call)
    assert (status, found[name]["verdict"]) == (1, "bad")
    assert "Models" not in found


@pytest.mark.parametrize(
    ("path", "answer", "name"),
    [
        ("/readyz", (404, {}), "Server"),
        ("/api/v1/models", (403, "scope_missing"), "Models"),
        ("/api/v1/models", (200, {"models": {}}), "Models"),
        ("/api/v1/keys", (403, "scope_missing"), "Vault"),
        ("/api/v1/budget", (403, "scope_missing"), "Budget"),
        ("/api/v1/budget", (404, {}), "Budget"),
        ("/api/v1/budget", (200, {"budgets": None}), "Budget"),
    ],
)
def test_what_a_token_may_not_is_a_note(call, served, path, answer, name):
    served[path] = answer
    status, found = verdicts(call)
    assert (status, found[name]["verdict"]) == (0, "note")


LIMIT = {"scope": "key", "subject": "openai_key", "unit": "usd", "hard": True, "left": 0.0}


@pytest.mark.parametrize(
    ("left_usd", "limits", "status", "word"),
    [
        (4.2, [LIMIT | {"left": 4.2}], 0, "$4.20 left"),
        (None, [LIMIT | {"hard": False}], 0, "No limit is used up"),
        (0, [LIMIT], 1, "key openai_key, usd"),
        (4.2, [LIMIT | {"left": 4.2}, LIMIT | {"unit": "requests", "left": 0}], 1, "requests"),
        (None, [{}], 0, "No limit"),
        (None, [], 0, "Nothing limits"),
    ],
)
def test_a_hard_limit_that_is_used_up_is_bad(call, served, left_usd, limits, status, word):
    served["/api/v1/budget"] = (200, {"success": True, "left_usd": left_usd, "budgets": limits})
    found = verdicts(call)
    assert found[0] == status
    assert word in found[1]["Budget"]["text"]
    assert not status or "mesh budget" in found[1]["Budget"]["step"]


def test_without_a_login_none_is_begun(call, served, server, monkeypatch):
    monkeypatch.delenv("MESH_AUTH_TOKEN")
    status, found = verdicts(call)
    assert (status, found["Login"]["verdict"]) == (1, "bad")
    assert [asked.path for asked in server.asked] == ["/readyz"]


def test_a_server_that_is_not_there(call, monkeypatch):
    monkeypatch.setenv("MESH_API_URL", "http://127.0.0.1:1")
    status, found = verdicts(call)
    assert (status, found["Server"]["verdict"]) == (1, "bad")
    assert found["Server"]["step"]
