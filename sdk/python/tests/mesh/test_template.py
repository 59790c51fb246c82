"""Templates of environments, and `.env` files that are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.keys import dotenv, template

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.dictionaries(NAMES, VALUES))
def test_what_is_written_is_read_again(entries):
    assert dotenv.parse(dotenv.render(entries)) == entries


@pytest.mark.parametrize("entries", [{"a b": "1"}, {"1A": "1"}, {"": "1"}, {"A\nB": "1"}, {"A": "secret\0"}])
def test_what_no_file_can_hold_is_refused_without_its_value(entries):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is looked at
        dotenv.render(entries)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "variable"),
    [("A", "A"), ("team/openai_key", "openai_key"), ("a/b-c.d", "b_c_d"), ("1a", "_1a"), ("ü-1", "__1")],
)
def test_the_variable_of_a_key(key, variable):
    assert dotenv.variable_name(key) == variable


@given(st.text(min_size=1, max_size=20))
def test_a_variable_is_one_or_there_is_none(key):
    try:
        name = dotenv.variable_name(key)
    except ValueError:
        return
    assert dotenv.parse(dotenv.render({name: "1"})) == {name: "1"}


def test_a_template_is_filled():
    entries = {"A": "mesh://team/a", "B": "x {{ b }}/{{team/a}} y", "C": "plain {b}"}
    assert template.references(entries) == ["team/a", "b"]
    assert template.fill(entries, {"team/a": "1", "b": "2"}) == {"A": "1", "B": "x 2/1 y", "C": "plain {b}"}


def test_a_value_is_never_read_as_a_template():
    assert template.fill({"A": "{{ a }}{{ b }}"}, {"a": "{{ b }}", "b": r"\1"}) == {"A": r"{{ b }}\1"}
