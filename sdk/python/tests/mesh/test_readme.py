"""Everything that the product's description shows of chat, keys, configuration and failures, run as it is shown.

docs/reference/readme-conformance.md says which test stands for what; the last tests here hold that page true.
"""

import ast
import json
import logging
import re
from pathlib import Path

import pytest

import mesh
from mesh import MeshClient
from mesh._fake_server import chat_answer
from mesh._send import config_of

ROOT = Path(__file__).resolve().parents[4]
PAGE = ROOT / "docs/reference/readme-conformance.md"


@pytest.fixture
def client(fake_mesh):
    return MeshClient()


@pytest.fixture
def logger():
    """The logger `mesh` as nobody has touched it, and so again afterwards."""
    found = logging.getLogger("mesh")
    before = found.level, found.handlers[:]
    found.handlers.clear()
    found.setLevel(logging.WARNING)
    yield found
    found.setLevel(before[0])
    found.handlers[:] = before[1]


def asked(fake):
    body = fake.calls[-1].json
    return body.get("provider"), body.get("model")


# --- quick start ---


def test_quick_start_function(fake_mesh):
    fake_mesh.answer("Hello!")
    response = mesh.chat("Hello, world!")
    assert str(response) == response["content"] == "Hello!"


def test_quick_start_client(client, fake_mesh):
    response = client.chat("Hello, world!")
    assert response["content"] == "You said: Hello, world!"
    assert client.store_key(key_name="api_key", key_value="secret_value")["success"]
    assert client.get_key(key_name="api_key") == "secret_value"


def test_direct_token(fake_mesh):
    client = MeshClient(auth_token="your_token")
    assert client.chat("Hi").success
    assert config_of(client._found).token.reveal() == "your_token"


# --- keys ---


def test_key_management(client):
    client.store_key(key_name="openai_key", key_value="sk-abcdef123456")
    assert client.get_key(key_name="openai_key") == "sk-abcdef123456"
    assert client.list_keys() == ["openai_key"]
    client.store_key(user_id="custom-user-id", key_name="api_key", key_value="secret_value")
    assert client.list_keys(user_id="custom-user-id") == ["api_key"]
    assert client.list_keys() == ["openai_key"]


# --- configuration ---


def test_variable_mesh_api_url(fake_mesh, monkeypatch):
    monkeypatch.setenv("MESH_API_URL", "https://mesh.example.com/")
    assert repr(MeshClient()) == "<MeshClient https://mesh.example.com>"


@pytest.mark.parametrize("value", ["true", "1", "TRUE"])
def test_variable_debug(fake_mesh, monkeypatch, logger, value):
    monkeypatch.setenv("DEBUG", value)
    MeshClient()
    assert logger.level == logging.DEBUG


@pytest.mark.parametrize(
    ("variables", "arguments", "expected"),
    [
        ({}, {}, ("openai", "gpt-4")),
        ({}, {"provider": "anthropic"}, ("anthropic", "claude-3-opus-20240229")),
        ({"DEFAULT_OPENAI_MODEL": "gpt-4o"}, {}, ("openai", "gpt-4o")),
        (
            {"DEFAULT_ANTHROPIC_MODEL": "claude-37"},
            {"provider": "anthropic"},
            ("anthropic", "claude-3-7-sonnet-20250219"),
        ),
        ({"DEFAULT_PROVIDER": "anthropic"}, {}, ("anthropic", "claude-3-opus-20240229")),
        ({"DEFAULT_MODEL": "gpt-4o-mini"}, {}, ("openai", "gpt-4o-mini")),
    ],
)
def test_variables_of_default_models(fake_mesh, monkeypatch, variables, arguments, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    MeshClient().chat("Hi", **arguments)
    assert asked(fake_mesh) == expected


def test_provider_keys_of_the_environment_are_never_sent(fake_mesh, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-of-the-environment")
    MeshClient().chat("Hi")
    call = fake_mesh.calls[-1]
    assert "of-the-environment" not in json.dumps([call.headers, call.json])


def test_configuration_in_code(fake_mesh):
    client = MeshClient(server_url="https://custom-server.example.com", original_response=True)
    body = client.chat("Hi")
    assert body["choices"][0]["message"]["content"] == "You said: Hi"
    assert "success" not in body


def test_default_models_are_set_and_reset(client, fake_mesh):
    client.set_default_model("openai", "gpt-4")
    client.set_default_model("anthropic", "claude-3-7-sonnet-20250219")
    client.chat("Hi", provider="anthropic")
    assert asked(fake_mesh) == ("anthropic", "claude-3-7-sonnet-20250219")
    client.reset_default_models()
    client.chat("Hi", provider="anthropic")
    assert asked(fake_mesh) == ("anthropic", "claude-3-opus-20240229")


# --- chat ---


def test_different_models(client, fake_mesh):
    client.chat("Tell me about quantum computing", model="gpt-4")
    assert fake_mesh.calls[-1].json["model"] == "gpt-4"
    client.chat("Tell me about biology", model="claude-3-opus-20240229", provider="anthropic")
    assert asked(fake_mesh) == ("anthropic", "claude-3-opus-20240229")
    client.chat("Hello, world!", model="gpt-4o", provider="openai")
    assert asked(fake_mesh) == ("openai", "gpt-4o")


def test_a_retired_model_is_answered_for_and_named(client, fake_mesh):
    """As the server does it: its successor answers, and the warnings name both."""
    fake_mesh.answer(
        "Hi", model="claude-opus-5-5", warnings=["claude-3-opus-20240229 is retired; claude-opus-5-5 answered"]
    )
    response = client.chat("Hi", model="claude-3-opus-20240229")
    assert response.model == "claude-opus-5-5"
    assert "claude-3-opus-20240229" in response.warnings[0]


def test_thinking(client, fake_mesh):
    fake_mesh.answer("42", thinking="Let me see.")
    response = client.chat("Solve this complex problem...", model="claude-3-7-sonnet-20250219", thinking=True)
    assert (response.thinking, response.content) == ("Let me see.", "42")
    assert fake_mesh.calls[-1].json["thinking"] is True


def test_original_response(client, fake_mesh):
    said = {"content": "Hi", "tool_calls": [], "thinking": None, "finish_reason": "stop"}
    told = {"provider": "openai", "model": "gpt-4", "usage": {}, "cost_usd": 1, "warnings": []}
    fake_mesh.reply(200, chat_answer(said, told))
    response = client.chat("Hello, world!", original_response=True)
    assert response.keys() == {"id", "object", "created", "choices", "model", "usage"}


def test_message_and_prompt(client, fake_mesh):
    client.chat(message="Write a haiku")
    first = fake_mesh.calls[-1].json["messages"]
    client.chat(prompt="Write a haiku")
    assert fake_mesh.calls[-1].json["messages"] == first


@pytest.mark.parametrize(
    ("helper", "arguments", "expected"),
    [
        ("chat_with_gpt4o", {}, ("openai", "gpt-4o")),
        ("chat_with_claude", {}, ("anthropic", "claude-3-5-sonnet-20241022")),
        ("chat_with_claude", {"version": "3.7"}, ("anthropic", "claude-3-7-sonnet-20250219")),
        ("chat_with_claude", {"version": "3"}, ("anthropic", "claude-3-opus-20240229")),
    ],
)
def test_helpers_of_one_model(client, fake_mesh, helper, arguments, expected):
    assert getattr(client, helper)("Write a haiku about programming", **arguments).success
    assert asked(fake_mesh) == expected


@pytest.mark.parametrize(
    ("helper", "arguments", "provider"),
    [
        ("chat_with_best_model", {"provider": "openai"}, "openai"),
        ("chat_with_fastest_model", {"provider": "anthropic"}, "anthropic"),
        ("chat_with_cheapest_model", {}, "anthropic"),
    ],
)
def test_helpers_that_choose(client, fake_mesh, helper, arguments, provider):
    fake_mesh.models(openai=["gpt-4o", "gpt-6-astra"], anthropic=["claude-haiku-5-5", "claude-opus-5-5"])
    assert getattr(client, helper)("Hello, world!", **arguments).success
    assert asked(fake_mesh)[0] == provider


@pytest.mark.parametrize(
    ("alias", "model"),
    [
        ("claude", "claude-3-5-sonnet-20241022"),
        ("claude-37", "claude-3-7-sonnet-20250219"),
        ("claude-35", "claude-3-5-sonnet-20241022"),
        ("claude-35-haiku", "claude-3-5-haiku-20241022"),
        ("claude-3", "claude-3-opus-20240229"),
        ("claude-opus", "claude-3-opus-20240229"),
        ("claude-sonnet", "claude-3-sonnet-20240229"),
        ("claude-haiku", "claude-3-haiku-20240307"),
    ],
)
def test_aliases(client, fake_mesh, alias, model):
    client.chat(message="Write a haiku about programming", model=alias)
    assert fake_mesh.calls[-1].json["model"] == model


# --- failures ---


def test_error_handling(client, fake_mesh):
    fake_mesh.fail("provider_key_missing", "No key for openai.")
    response = client.chat("Hello")
    assert not response.get("success", True)
    lines = [f"Error: {response.get('error')}", f"Details: {response.get('details')}"]
    assert "troubleshooting" in response
    lines += [f"- {step}" for step in response["troubleshooting"]]
    assert lines[0] == "Error: No key for openai."
    assert lines[2].startswith("- Store a key")


def test_a_success_has_no_failure(client):
    assert client.chat("Hello").get("success", True)


def test_all_endpoints_failed(client, fake_mesh):
    fake_mesh.reply(404, b"Not Found")
    fake_mesh.reply(404, b"Not Found")
    response = client.chat("Hello")
    assert response["error"] == "Request failed: All endpoints failed"
    assert response["details"]["tried"] == ["POST /api/v1/chat/completions: 404", "POST /v1/mesh/chat: 404"]


def test_new_and_older_endpoints(client, fake_mesh):
    fake_mesh.reply(404, b"Not Found")
    fake_mesh.answer("from the older one")
    assert str(client.chat("Hello")) == "from the older one"
    assert [call.path for call in fake_mesh.calls] == ["/api/v1/chat/completions", "/v1/mesh/chat"]


def test_debug_shows_calls_and_nothing_that_was_said(fake_mesh, caplog, logger):
    client = MeshClient(debug=True)
    fake_mesh.answer("the secret answer")
    with caplog.at_level(logging.DEBUG, logger="mesh"):
        client.chat("the secret question")
        client.store_key("the_secret_name", "sk-secret")
    lines = [record.getMessage() for record in caplog.records]
    assert any("POST /api/v1/chat/completions -> 200" in line for line in lines)
    assert "secret" not in "".join(lines)


# --- the functions ---


def test_simplified_api(fake_mesh):
    assert mesh.chat("Hello, world!").success
    mesh.store_key(key_name="api_key", key_value="secret_value")
    assert mesh.get_key(key_name="api_key") == "secret_value"
    assert mesh.list_keys() == ["api_key"]
    assert mesh.list_keys(user_id="custom-user-id") == []


# --- the page ---


def _tests_of(file):
    tree = ast.parse(file.read_text("utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


def test_the_page_names_every_test_here_and_no_other():
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text("utf-8")))
    own = {name for name in _tests_of(Path(__file__)) if not name.startswith("test_the_page_")}
    assert named == own


def test_the_page_names_tests_elsewhere_that_are_there():
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", PAGE.read_text("utf-8"))
    assert len(named) > 40
    there = {file: _tests_of(Path(__file__).parent / file) for file, _ in named}
    assert not [f"{file}::{name}" for file, name in named if name not in there[file]]


def test_the_page_says_of_each_line_who_holds_it():
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 60
    for row in rows:
        what = row.rsplit("|", 2)[1]
        assert what == " held by " or re.search(r"`([\w/]+\.py::)?test_\w+`", what), row
