"""Aliases, helpers, thinking, and the best, fastest and cheapest model."""

from datetime import date

import pytest

import mesh
from mesh.models import aliases, catalog, choose
from mesh.models.catalog import Model

#: As the product's own table has it.
TABLE = {
    "claude": "claude-3-5-sonnet-20241022",
    "claude-37": "claude-3-7-sonnet-20250219",
    "claude-35": "claude-3-5-sonnet-20241022",
    "claude-35-haiku": "claude-3-5-haiku-20241022",
    "claude-3": "claude-3-opus-20240229",
    "claude-opus": "claude-3-opus-20240229",
    "claude-sonnet": "claude-3-sonnet-20240229",
    "claude-haiku": "claude-3-haiku-20240307",
}


def sent(fake):
    return fake.calls[-1].json.get("model"), fake.calls[-1].json.get("provider")


def test_the_table_of_aliases_is_exactly_that():
    assert aliases.ALIASES == TABLE


@pytest.mark.parametrize("alias", TABLE)
def test_an_alias_is_resolved_whatever_its_case_and_spaces(client, fake, alias):
    for spelled in (alias, alias.upper(), f" {alias} ", alias.replace("-", " ").title(), alias.replace("-", " - ")):
        client.chat("hi", model=spelled)
        assert sent(fake)[0] == TABLE[alias]


def test_an_alias_can_be_a_default(client, fake, monkeypatch):
    client.set_default_model("anthropic", "Claude 37")
    client.chat("hi", provider="anthropic")
    assert sent(fake) == ("claude-3-7-sonnet-20250219", "anthropic")


def test_an_alias_contradicts_another_provider(client, fake):
    with pytest.raises(ValueError, match="anthropic"):
        client.chat("hi", model="claude", provider="openai")


@pytest.mark.parametrize(
    ("helper", "arguments", "model"),
    [
        ("chat_with_gpt4o", {}, ("gpt-4o", "openai")),
        ("chat_with_gpt4", {}, ("gpt-4", "openai")),
        ("chat_with_claude", {}, ("claude-3-5-sonnet-20241022", "anthropic")),
        ("chat_with_claude", {"version": "3"}, ("claude-3-opus-20240229", "anthropic")),
        ("chat_with_claude", {"version": "3.7"}, ("claude-3-7-sonnet-20250219", "anthropic")),
        ("chat_with_claude", {"version": "Claude 3.7"}, ("claude-3-7-sonnet-20250219", "anthropic")),
    ],
)
def test_helpers_name_their_model(client, fake, helper, arguments, model):
    answer = getattr(client, helper)("hi", temperature=0, **arguments)
    assert answer.success
    assert sent(fake) == model
    assert fake.calls[-1].json["temperature"] == 0


def test_every_current_claude_has_a_version():
    versions = choose.claude_versions()
    for model in catalog.bundled():
        if model.provider == "anthropic" and model.in_service(catalog.today()):
            assert model.id in versions.values()
    assert choose.claude("opus") == versions["opus"]
    assert choose.claude("Opus 4.6") == "claude-opus-4-6"


@pytest.mark.parametrize(("version", "error"), [("99", ValueError), ("", ValueError), (3.7, TypeError)])
def test_an_unknown_claude_is_refused_with_the_known_ones(client, fake, version, error):
    with pytest.raises(error, match=r"3\.7"):
        client.chat_with_claude("hi", version=version)
    assert not fake.calls


MODELS = (
    Model(id="able", provider="a", quality=90, speed="slow", input_usd=9, output_usd=9, thinks=True),
    Model(id="quick", provider="a", quality=50, speed="fastest", input_usd=2, output_usd=2),
    Model(id="quicker", provider="b", quality=60, speed="fastest", input_usd=3, output_usd=3),
    Model(id="cheap", provider="b", quality=10, speed="fast", input_usd=0.1, output_usd=0.1),
    Model(id="gone", provider="b", quality=99, speed="fastest", input_usd=0, output_usd=0, retired=date(2020, 1, 1)),
    Model(id="soon", provider="b", quality=80, speed="slow", retired=date(2999, 1, 1)),
    Model(id="unknown", provider="c"),
    Model(id="vectors", provider="c", quality=100, chats=False),
)


@pytest.mark.parametrize(
    ("aim", "provider", "name"),
    [
        ("best", None, "able"),
        ("best", "b", "soon"),
        ("fastest", None, "quicker"),
        ("fastest", "a", "quick"),
        ("cheapest", None, "cheap"),
        ("cheapest", "a", "quick"),
        ("best", "c", "unknown"),
        ("cheapest", "c", "unknown"),
    ],
)
def test_choices_come_from_data(aim, provider, name):
    assert choose.choose(aim, MODELS, provider).id == name


def test_nothing_fits_is_none():
    assert choose.choose("best", MODELS, "d") is None
    assert choose.choose("best", MODELS, "b", thinks=True) is None


@pytest.mark.parametrize("aim", ["best", "fastest", "cheapest"])
def test_a_choice_is_made_of_what_the_account_can_use(client, fake, aim):
    fake.models(openai=["gpt-4o", "gpt-6-luna"], local=["tiny"])
    answer = getattr(client, f"chat_with_{aim}_model")("hi")
    assert answer.success
    expected = choose.choose(aim, [catalog.find("gpt-4o"), catalog.find("gpt-6-luna")])
    assert sent(fake) == (expected.id, "openai")
    getattr(client, f"chat_with_{aim}_model")("hi", provider="local")
    assert sent(fake) == ("tiny", "local")
    assert [call.path for call in fake.calls].count("/api/v1/models") == 1, "what the server said is kept a while"


def test_an_old_server_leaves_the_choice_to_the_bundled_catalog(client, fake):
    fake.reply(404, b"<html>")
    fake.reply(404, b"<html>")
    client.chat_with_best_model("hi", provider="anthropic")
    assert sent(fake)[0] == choose.choose("best", catalog.bundled(), "anthropic").id


def test_a_choice_that_can_not_be_made_is_a_failure(client, fake):
    answer = client.chat_with_best_model("hi", provider="nobody")
    assert (answer.success, answer.code) == (False, "model_not_found")
    fake.fail("token_expired")
    assert fake.client().chat_with_cheapest_model("hi").code == "token_expired"


@pytest.mark.parametrize(
    "arguments",
    [
        {"message": 5},
        {"message": "a", "provider": 5},
        {"message": "a", "provider": ""},
        {"message": "a", "model": "gpt-4o"},
    ],
)
def test_a_wrong_helper_call_is_refused_before_anything_is_sent(client, fake, arguments):
    with pytest.raises((TypeError, ValueError)):
        client.chat_with_best_model(**arguments)
    assert not fake.calls


def test_helpers_stream(client, fake):
    fake.stream("a", "b")
    assert [piece.text for piece in client.items(client.chat_with_gpt4o("hi", stream=True))] == ["a", "b"]
    fake.fail("token_expired")
    stream = client.chat_with_best_model("hi", stream=True)
    with pytest.raises(mesh.AuthenticationError):
        client.items(stream)


# --- thinking ---


def test_thinking_has_a_budget_and_leaves_room_for_the_answer(client, fake):
    client.chat("hi", model="claude-37", thinking=True)
    body = fake.calls[-1].json
    assert (body["thinking"], body["thinking_budget"], body.get("max_tokens")) == (True, 4000, None)
    client.chat("hi", model="claude-37", thinking=True, max_tokens=100)
    assert fake.calls[-1].json["max_tokens"] == 4100
    client.chat("hi", model="claude-37", thinking_budget=1000, max_tokens=2000)
    body = fake.calls[-1].json
    assert (body["thinking"], body["thinking_budget"], body["max_tokens"]) == (True, 1000, 2000)


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": "gpt-4o", "thinking": True},
        {"thinking": True},
        {"model": "claude", "thinking_budget": 5},
        {"model": "claude-37", "thinking": False, "thinking_budget": 5},
        {"model": "claude-37", "thinking": True, "thinking_budget": 0},
    ],
)
def test_thinking_that_can_not_be_is_refused(client, fake, arguments):
    with pytest.raises(ValueError, match="think"):
        client.chat("hi", **arguments)
    assert not fake.calls


def test_the_refusal_names_models_that_can_think(client):
    with pytest.raises(ValueError, match=choose.thinking_models("openai")[0]):
        client.chat("hi", model="gpt-4o", thinking=True)


def test_a_model_that_is_not_in_the_catalog_may_think(client, fake):
    client.chat("hi", model="gpt-99", thinking=True)
    client.chat("hi", model="gpt-4o", provider="acme", thinking=True)
    assert len(fake.calls) == 2


def test_chat_with_thinking_takes_the_best_that_can(client, fake):
    fake.models(openai=["gpt-4o", "gpt-5.2"], anthropic=["claude-opus-4-5"])
    client.chat_with_thinking("hi")
    assert sent(fake) == ("claude-opus-4-5", "anthropic")
    assert fake.calls[-1].json["thinking"] is True
    client.chat_with_thinking("hi", model="claude-37")
    assert sent(fake)[0] == "claude-3-7-sonnet-20250219"


# --- strictness, and what the server knows ---


def test_strict_models_is_asked_for_by_call_or_client(make, fake):
    make().chat("hi")
    assert "strict_models" not in fake.calls[-1].json
    make().chat("hi", strict_models=True)
    assert fake.calls[-1].json["strict_models"] is True
    strict = make(strict_models=True)
    strict.chat("hi")
    assert fake.calls[-1].json["strict_models"] is True
    strict.chat("hi", strict_models=False)
    assert fake.calls[-1].json["strict_models"] is False


def test_the_account_can_be_asked_about(client, fake):
    fake.models(local=["tiny"])
    assert client.get_models()["models"] == {"local": ["tiny"]}
    assert client.get_usage().success
    assert client.get_budget().success
    fake.fail("token_expired")
    assert client.get_usage().code == "token_expired"
    assert [call.path for call in fake.calls] == ["/api/v1/models", "/api/v1/usage", "/api/v1/budget", "/api/v1/usage"]


def test_what_a_newer_server_says_of_models_is_taken_or_left():
    answer = {
        "models": {"openai": ["gpt-4o"], "x": 5},
        "data": [
            {"id": "new", "provider": "acme", "prices": {"input": 1, "output": 2}, "abilities": ["chat", "thinking"]},
            {"id": "gpt-4o", "provider": "openai", "quality": "very"},
            {"id": "vec", "owned_by": "acme", "abilities": ["embeddings"]},
            "nonsense",
        ],
    }
    new, vec, old = (
        next(model for model in catalog.usable(answer) if model.id == name) for name in ("new", "vec", "gpt-4o")
    )
    assert (new.input_usd, new.output_usd, new.thinks) == (1, 2, True)
    assert (vec.provider, vec.chats) == ("acme", False)
    assert old == catalog.find("gpt-4o")
