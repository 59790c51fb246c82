"""Encodings that can't be mistaken for one another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_protocol.transcript import le, lp


def test_they_are_as_described():
    assert le(1, 8) == b"\x01\0\0\0\0\0\0\0"
    assert lp(b"abc") == b"\x03\0\0\0abc"
    assert lp(b"") == b"\0\0\0\0"


@given(st.lists(st.binary(max_size=20)), st.lists(st.binary(max_size=20)))
def test_two_lists_never_have_the_same_encoding(one, other):
    assert (b"".join(map(lp, one)) == b"".join(map(lp, other))) == (one == other)


@pytest.mark.parametrize(("number", "width"), [(-1, 4), (256, 1), (2**64, 8)])
def test_what_does_not_fit_is_refused(number, width):
    with pytest.raises(OverflowError):
        le(number, width)
