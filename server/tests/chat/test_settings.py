"""Providers, routes and rules of chat in the configuration."""

import pytest

from mesh_server.errors import StartupError
from mesh_server.settings import load


def chat(tmp_path, text="", **environment):
    file = tmp_path / "c.toml"
    file.write_text(text)
    return load({}, {"MESH_DATA_DIR": str(tmp_path), "MESH_CONFIG": str(file), **environment}).chat


def test_openai_and_anthropic_are_always_there(tmp_path):
    openai, anthropic = chat(tmp_path).providers
    assert (openai.name, openai.kind, openai.base_url) == ("openai", "openai", "https://api.openai.com/v1")
    assert (openai.official, openai.responses, openai.key_names) == (True, True, ("openai_key", "OPENAI_API_KEY"))
    assert (anthropic.name, anthropic.kind, anthropic.base_url) == (
        "anthropic",
        "anthropic",
        "https://api.anthropic.com",
    )
    assert (anthropic.official, anthropic.responses) == (True, False)
    assert anthropic.key_names == ("anthropic_key", "ANTHROPIC_API_KEY")
    assert openai.api_key is anthropic.api_key is None


def test_the_usual_variables_are_read(tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-from-a-file\n")
    openai, anthropic = chat(
        tmp_path,
        OPENAI_API_KEY="sk-openai",
        OPENAI_BASE_URL="http://127.0.0.1:1/v1/",
        ANTHROPIC_API_KEY_FILE=str(key),
        ANTHROPIC_BASE_URL="https://claude.example.com",
    ).providers
    assert (openai.api_key, openai.base_url, openai.official, openai.responses) == (
        "sk-openai",
        "http://127.0.0.1:1/v1",
        False,
        False,
    )
    assert (anthropic.api_key, anthropic.base_url, anthropic.official) == (
        "sk-from-a-file",
        "https://claude.example.com",
        False,
    )
    assert "sk-" not in repr((openai, anthropic))


def test_a_table_says_otherwise(tmp_path):
    text = """
strict_models = true
prices_file = "prices.toml"
[[providers]]
name = "openai"
base_url = "https://proxy.example.com/v1"
official = true
[[providers]]
name = "claude-eu"
kind = "anthropic"
base_url = "https://eu.example.com/v1"
models = ["m"]
[[routes]]
model = "best"
targets = ["claude-eu/m", "openai/org/with/slashes", "local/x"]
"""
    found = chat(tmp_path, text)
    openai, eu, _ = found.providers
    assert (openai.official, openai.responses) == (True, True)
    assert (eu.kind, eu.key_names, eu.responses) == ("anthropic", ("claude-eu_key",), False)
    assert found.fallbacks[0].targets == ("claude-eu/m", "openai/org/with/slashes", "local/x")
    assert (found.strict_models, found.prices_file.name) == (True, "prices.toml")
    assert chat(tmp_path, text, MESH_STRICT_MODELS="no").strict_models is False


ONE = '[[providers]]\nname = "a"\nbase_url = "http://x"\n'


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[[providers]]\nname = "a"\nkind = "gemini"\nbase_url = "http://x"', "gemini"),
        ('[[providers]]\nname = "a"', "base_url"),
        ('[[providers]]\nname = "A B"\nbase_url = "http://x"', "A B"),
        ('[[providers]]\nname = "local"\nbase_url = "http://x"', "local"),
        (ONE + ONE, "same name"),
        ('[[providers]]\nname = "a"\nbase_url = "ftp://x"', "base_url"),
        ('[[providers]]\nname = "a"\nbase_url = "http://user:secret@x"', "base_url"),
        ('[[routes]]\nmodel = "r"\ntargets = []', "no targets"),
        ('[[routes]]\nmodel = "r"\ntargets = ["nobody/x"]', "nobody/x"),
        ('[[routes]]\nmodel = "r"\ntargets = ["openai"]', "openai"),
        ('[[routes]]\nmodel = "r"\ntargets = ["openai/x"]\n' * 2, "Two"),
        ('strict_models = "maybe"', "strict_models"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(tmp_path, text, word):
    with pytest.raises(StartupError, match=word) as caught:
        chat(tmp_path, text)
    assert "secret" not in caught.value.message


def test_a_switch_that_is_none_is_refused(tmp_path):
    with pytest.raises(StartupError, match="MESH_STRICT_MODELS"):
        chat(tmp_path, MESH_STRICT_MODELS="perhaps")
