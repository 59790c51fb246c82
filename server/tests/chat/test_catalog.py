"""The catalog's data, and names that resolve for ever."""

from datetime import date

import pytest

from mesh_server.chat.catalog.models import catalog
from mesh_server.chat.models import Fallback, Provider
from mesh_server.chat.routing import Known, route, routes
from mesh_server.errors import ModelNotFound, ModelRetired

TODAY = date(2026, 11, 25)
EVER = date(2040, 1, 1)


def provider(name, *models, kind=None):
    return Provider(name=name, kind=kind or name, base_url="http://x", api_key=None, models=models, key_names=("k",))


KNOWN = Known(
    (provider("openai"), provider("anthropic"), provider("groq", "llama", kind="openai")), [], [], {}, today=TODAY
)


def test_the_data_is_whole():
    found = catalog()
    names = [name for model in found.models for name in (model.id, *model.also)]
    assert len(names) == len(set(names))
    for model in found.models:
        assert (model.retired is None) == (model.successor is None), model.id
        assert model.embeddings or (model.quality and model.speed in {"slow", "moderate", "fast", "fastest"}), model.id
        assert model.thinking in {"none", "budget", "adaptive", "effort"}
        assert found.in_service(model, EVER).retired is None, model.id
        assert found.in_service(model, EVER).provider == model.provider
    assert all(found.find(target) for target in found.aliases.values())


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
        ("Claude 37", "claude-3-7-sonnet-20250219"),
        (" CLAUDE-Opus ", "claude-3-opus-20240229"),
        ("claude - 3", "claude-3-opus-20240229"),
    ],
)
def test_aliases_mean_what_they_always_meant(alias, model):
    assert catalog().find(alias).id == model


@pytest.mark.parametrize(
    "name", ["gpt-4", "claude-3-opus-20240229", "gpt-4o", "claude-3-7-sonnet-20250219", *catalog().aliases]
)
def test_the_names_of_old_programs_are_answered_by_somebody_for_ever(name):
    for today in (TODAY, EVER):
        found = route(Known(KNOWN.providers, [], [], {}, today=today), name, None)
        assert catalog().find(found.model).retired is None or catalog().find(found.model).retired > today


def test_a_retired_model_is_answered_by_its_successor_with_a_warning():
    found = route(KNOWN, "gpt-4", None)
    assert (found.provider, found.model, found.substituted) == ("openai", "gpt-5.6-sol", True)
    assert "gpt-4 was retired" in found.warnings[0]
    assert "gpt-5.6-sol" in found.warnings[0]
    assert "claude-37 (claude-3-7-sonnet-20250219)" in route(KNOWN, "claude-37", None).warnings[0]


def test_a_retirement_that_lies_ahead_changes_nothing():
    assert route(KNOWN, "gpt-4o", None) == route(KNOWN, "gpt-4o", "openai")
    assert (route(KNOWN, "gpt-4o", None).model, route(KNOWN, "gpt-4o", None).warnings) == ("gpt-4o", ())


@pytest.mark.parametrize("name", ["gpt-4", "claude", "claude-3-opus-latest"])
def test_strict_refuses_and_names_the_successor(name):
    with pytest.raises(ModelRetired) as caught:
        route(KNOWN, name, None, strict=True)
    assert caught.value.details["successor"] in caught.value.message


def test_a_dated_name_goes_on_as_it_is_and_an_alias_does_not():
    assert route(KNOWN, "claude-haiku-4-5-20251001", None).model == "claude-haiku-4-5-20251001"
    known = Known(KNOWN.providers, [], [], {}, today=date(2024, 6, 1))
    assert route(known, "claude-haiku", None) == route(known, "claude-3-haiku-20240307", None)


def test_what_the_operator_configures_is_never_replaced():
    known = Known((provider("openai", "gpt-4"),), [], [], {}, today=TODAY)
    assert route(known, "gpt-4", None, strict=True).model == "gpt-4"
    assert route(KNOWN, "gpt-4", "groq").model == "gpt-4"


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        ("claude-opus-5-5", None, ("anthropic", "claude-opus-5-5")),
        ("claude-something-new", None, ("anthropic", "claude-something-new")),
        ("text-embedding-3-small", None, ("openai", "text-embedding-3-small")),
        ("anthropic/claude-opus-5-5", None, ("anthropic", "claude-opus-5-5")),
        ("claude-opus-5-5", "groq", ("groq", "claude-opus-5-5")),
        ("anthropic/claude-opus-5-5", "groq", ("groq", "anthropic/claude-opus-5-5")),
        ("gpt-4o", "anthropic", ("openai", "gpt-4o")),
        ("claude-opus-5-5", "openai", ("anthropic", "claude-opus-5-5")),
    ],
)
def test_a_name_finds_its_maker(model, asked, expected):
    found = route(KNOWN, model, asked)
    assert (found.provider, found.model) == expected
    assert bool(found.warnings) == (asked in {"openai", "anthropic"})


def test_a_name_that_is_nearly_an_alias_is_told():
    with pytest.raises(ModelNotFound, match="claude-opus"):
        route(KNOWN, "clode-opus", None)


def test_a_route_of_the_operator_has_its_targets_in_order():
    fallbacks = (Fallback(model="ours", targets=("groq/llama", "openai/gpt-4", "anthropic/claude-opus-5-5")),)
    known = Known(KNOWN.providers, [], [], {}, fallbacks, TODAY)
    found = routes(known, "ours", None)
    assert [(r.provider, r.model) for r in found] == [
        ("groq", "llama"),
        ("openai", "gpt-5.6-sol"),
        ("anthropic", "claude-opus-5-5"),
    ]
    assert found[1].warnings
