"""Which model and provider a call without them goes to: the order that the documentation promises."""

import pytest

from mesh._config import Profile
from mesh._defaults import Defaults, provider_of

DEV = Profile(default_provider="local", default_model="small")


def choose(model=None, provider=None, env=None, profile=None, chosen=()):
    defaults = Defaults()
    for pair in chosen:
        defaults.set(*pair)
    return defaults.choose(model, provider, env or {}, profile or Profile())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, ("gpt-4", "openai")),
        ({"provider": "anthropic"}, ("claude-3-opus-20240229", "anthropic")),
        ({"provider": "groq"}, (None, "groq")),
        ({"model": "gpt-4o"}, ("gpt-4o", None)),
        ({"model": "anything", "provider": "groq"}, ("anything", "groq")),
        ({"profile": DEV}, ("small", "local")),
        ({"profile": DEV, "provider": "openai"}, ("gpt-4", "openai")),
        ({"profile": DEV, "model": "m"}, ("m", None)),
        ({"env": {"DEFAULT_PROVIDER": "anthropic"}}, ("claude-3-opus-20240229", "anthropic")),
        ({"env": {"DEFAULT_PROVIDER": "openai"}, "profile": DEV}, ("gpt-4", "openai")),
        ({"env": {"DEFAULT_OPENAI_MODEL": "gpt-4o"}}, ("gpt-4o", "openai")),
        ({"env": {"DEFAULT_ANTHROPIC_MODEL": "claude-x"}, "provider": "anthropic"}, ("claude-x", "anthropic")),
        ({"env": {"DEFAULT_MODEL": "gpt-4o"}}, ("gpt-4o", "openai")),
        ({"env": {"DEFAULT_MODEL": "claude-x"}}, ("claude-x", "anthropic")),
        ({"env": {"DEFAULT_MODEL": "claude-x"}, "provider": "openai"}, ("gpt-4", "openai")),
        ({"env": {"DEFAULT_MODEL": "gpt-4o"}, "profile": DEV}, ("gpt-4o", "openai")),
        ({"env": {"DEFAULT_MODEL": "phi"}, "profile": DEV}, ("phi", "local")),
        ({"env": {"DEFAULT_MODEL": "gpt-4o", "DEFAULT_OPENAI_MODEL": "o3"}}, ("o3", "openai")),
        ({"env": {"DEFAULT_MY_HOST_MODEL": "m"}, "provider": "my-host"}, ("m", "my-host")),
        ({"chosen": [("openai", "o3")], "env": {"DEFAULT_OPENAI_MODEL": "gpt-4o"}}, ("o3", "openai")),
        ({"chosen": [("local", "big")], "profile": DEV}, ("big", "local")),
        ({"chosen": [("openai", "o3")], "model": "gpt-4o"}, ("gpt-4o", None)),
    ],
)
def test_the_order_holds(arguments, expected):
    assert choose(**arguments) == expected


def test_resetting_goes_back():
    defaults = Defaults()
    defaults.set("openai", "o3")
    defaults.reset()
    assert defaults.choose(None, None, {}, Profile()) == ("gpt-4", "openai")


@pytest.mark.parametrize(
    ("provider", "model", "error"),
    [
        ("openai", "claude-3-opus-20240229", ValueError),
        ("anthropic", "gpt-4o", ValueError),
        ("", "m", ValueError),
        ("openai", "", ValueError),
        (None, "m", TypeError),
        ("openai", 5, TypeError),
    ],
)
def test_a_default_that_can_be_none_is_refused(provider, model, error):
    with pytest.raises(error):
        Defaults().set(provider, model)


def test_names_tell_their_provider_where_they_can():
    assert {provider_of(name) for name in ("gpt-4", "o1", "o3-mini", "chatgpt-4o-latest", "ft:gpt-4o:x")} == {"openai"}
    assert provider_of("claude-3-opus-20240229") == "anthropic"
    assert provider_of("qwen2.5") is provider_of("olive") is provider_of("o10x") is None
