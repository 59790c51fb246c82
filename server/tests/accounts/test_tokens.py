"""The form of API tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_server.accounts import tokens


def test_a_token_is_well_formed_and_unlike_any_other():
    made = {tokens.make() for _ in range(500)}
    assert len(made) == 500
    assert all(tokens.is_well_formed(token) for token in made)


def test_the_checksum_is_frozen():
    """Tokens that people hold must stay good: this one was made when the form was decided."""
    assert tokens.is_well_formed("mesh_00000000000000000000000000000000" + tokens._checksum("mesh_" + "0" * 32))
    assert tokens._checksum("mesh_" + "0" * 32) == "3dA3yN"


@given(st.integers(0, 42), st.sampled_from("0Az"))
def test_one_wrong_character_is_noticed(position, character):
    token = tokens.make()
    changed = token[:position] + character + token[position + 1 :]
    assert changed == token or not tokens.is_well_formed(changed)


@pytest.mark.parametrize("text", ["", "mesh_", "mesh_" + "a" * 38, "MESH_" + "a" * 38, "mesh_" + "é" * 38])
def test_what_is_no_token_is_not_well_formed(text):
    assert not tokens.is_well_formed(text)


@given(st.text())
def test_any_text_is_judged_without_failing(text):
    tokens.is_well_formed(text)


def test_the_hint_tells_next_to_nothing():
    token = tokens.make()
    assert tokens.hint(token) == token[:8] + "…"
