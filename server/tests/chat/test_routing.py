"""Which provider answers: every way to name a model, and every way to name none."""

import pytest

from mesh_server.chat.models import Provider
from mesh_server.chat.routing import Known, route
from mesh_server.errors import InvalidRequest, ModelNotFound, ProviderNotFound


def provider(name, *models):
    return Provider(
        name=name, kind="openai", base_url="http://x", api_key="sk-hidden", models=models, key_names=(f"{name}_key",)
    )


KNOWN = Known(
    (provider("openai"), provider("groq", "llama-3", "gpt-oss-20b"), provider("ollama")),
    ["qwen", "smol"],
    ["qwen", "smol", "not-fetched"],
    {"ollama": ["phi", "org/model"]},
)


@pytest.mark.parametrize(
    ("model", "provider", "expected"),
    [
        ("qwen", None, ("local", "qwen")),
        ("not-fetched", None, ("local", "not-fetched")),
        ("llama-3", None, ("groq", "llama-3")),
        ("gpt-oss-20b", None, ("groq", "gpt-oss-20b")),
        ("phi", None, ("ollama", "phi")),
        ("org/model", None, ("ollama", "org/model")),
        ("gpt-4o", None, ("openai", "gpt-4o")),
        ("o1", None, ("openai", "o1")),
        ("o3-mini", None, ("openai", "o3-mini")),
        ("groq/llama-3", None, ("groq", "llama-3")),
        ("groq/anything", None, ("groq", "anything")),
        ("openai/gpt-4o", None, ("openai", "gpt-4o")),
        ("local/smol", None, ("local", "smol")),
        ("anything", "groq", ("groq", "anything")),
        ("gpt-4o", "groq", ("groq", "gpt-4o")),
        (None, None, ("local", "qwen")),
        (None, "local", ("local", "qwen")),
        (None, "groq", ("groq", "llama-3")),
        (None, "ollama", ("ollama", "phi")),
    ],
)
def test_a_request_finds_its_provider(model, provider, expected):
    found = route(KNOWN, model, provider)
    assert ((found.provider, found.model), found.warnings) == (expected, ())


@pytest.mark.parametrize(("model", "asked", "owner"), [("llama-3", "openai", "groq"), ("qwen", "groq", "local")])
def test_a_model_of_another_provider_wins_with_a_warning(model, asked, owner):
    found = route(KNOWN, model, asked)
    assert found.provider == owner
    assert asked in found.warnings[0]
    assert owner in found.warnings[0]


@pytest.mark.parametrize(
    ("model", "provider", "error", "word"),
    [
        ("llama-4", None, ModelNotFound, "llama-3"),
        ("unheard-of", None, ModelNotFound, "There are"),
        ("nobody/x", None, ModelNotFound, "nobody/x"),
        ("groq/", None, ModelNotFound, "groq/"),
        ("unheard-of", "local", ModelNotFound, "unheard-of"),
        ("oh1", None, ModelNotFound, "oh1"),
        ("qwen", "nobody", ProviderNotFound, "groq"),
        (None, "openai", InvalidRequest, "openai"),
    ],
)
def test_what_finds_no_provider_is_told_with_what_there_is(model, provider, error, word):
    with pytest.raises(error, match=word):
        route(KNOWN, model, provider)


def test_without_any_model_one_must_be_named():
    with pytest.raises(InvalidRequest, match="model"):
        route(Known((provider("openai"),), [], [], {}), None, None)


def test_a_provider_shows_no_key():
    assert "sk-hidden" not in repr(provider("a"))
