"""Hashing to the group and to scalars: RFC 9380's vectors, every intermediate value."""

import pytest

from mesh_protocol import group
from mesh_protocol.hash_to_curve import expand_message_xmd, hash_to_field, hash_to_group, map_to_curve

from . import published
from .published import h, number


@pytest.mark.parametrize("file", ["expand_message_xmd_SHA256_38", "expand_message_xmd_SHA256_256"])
def test_expansion_is_that_of_rfc_9380(file):
    vectors = published.load(f"rfc9380/{file}.json")
    for one in vectors["tests"]:
        found = expand_message_xmd(one["msg"].encode(), vectors["DST"].encode(), number(one["len_in_bytes"]))
        assert found == h(one["uniform_bytes"])


def test_the_map_is_that_of_rfc_9380():
    vectors = published.load("rfc9380/P256_XMD_SHA-256_SSWU_RO_.json")
    assert len(vectors["vectors"]) == 5
    for one in vectors["vectors"]:
        message, dst = one["msg"].encode(), vectors["dst"].encode()
        u = hash_to_field(message, dst)
        assert [int(part) for part in u] == [number(part) for part in one["u"]]
        for part, expected in zip(u, (one["Q0"], one["Q1"]), strict=True):
            assert map_to_curve(part).xy == (number(expected["x"]), number(expected["y"]))
        assert hash_to_group(message, dst).xy == (number(one["P"]["x"]), number(one["P"]["y"]))


def test_the_exceptional_inputs_of_the_map_have_points_too():
    """u = 0 and Z · u² = -1 make tv1 zero: without their own case there would be no point."""
    for u in (0, pow(pow(10, -1, group.PRIME), (group.PRIME + 1) // 4, group.PRIME)):
        point = map_to_curve(group.Integer(u))
        assert not point.is_point_at_infinity()
        assert group.decode_element(group.encode_element(point)) == point


@pytest.mark.parametrize("length", [0, 255 * 32 + 1])
def test_more_than_there_is_is_refused(length):
    with pytest.raises(ValueError, match="8,160"):
        expand_message_xmd(b"", b"dst", length)
