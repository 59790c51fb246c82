"""Elements and scalars: one encoding each, and nothing else is read."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mesh_protocol import group

from . import published
from .published import h

SCALARS = st.integers(1, group.ORDER - 1).map(lambda n: n.to_bytes(32))
ONE = (1).to_bytes(32)
G = group.encode_element(group.GENERATOR)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(33),
        bytes(32),
        b"\0",
        G[:-1],
        G + b"\0",
        b"\4" + G[1:],
        b"\6" + G[1:],
        b"\7" + G[1:],
        b"\0" + G[1:],
        b"\2" + (1).to_bytes(32),  # x = 1 has no y
        b"\2" + (group.PRIME + 5).to_bytes(32),  # x = 5 has one, but this is not its encoding
        b"\2" + group.PRIME.to_bytes(32),
        b"\2" + b"\xff" * 32,
    ],
    ids=lambda data: data.hex()[:10] or "nothing",
)
def test_what_is_no_canonical_element_is_refused(data):
    with pytest.raises(group.DecodingError) as caught:
        group.decode_element(data)
    assert not data or data.hex() not in str(caught.value)


def test_x_5_is_a_point_when_it_is_written_as_5():
    written = b"\2" + (5).to_bytes(32)
    assert group.encode_element(group.decode_element(written)) == written


def test_the_identity_is_never_written():
    with pytest.raises(group.DecodingError):
        group.encode_element(group.GENERATOR.point_at_infinity())


@pytest.mark.parametrize(
    "data", [b"", bytes(31), bytes(33), group.ORDER.to_bytes(32), (group.ORDER + 1).to_bytes(32), b"\xff" * 32]
)
def test_what_is_no_canonical_scalar_is_refused(data):
    with pytest.raises(group.DecodingError):
        group.decode_scalar(data)


@given(SCALARS, SCALARS)
def test_multiplications_agree(one, other):
    element = group.decode_element(group.multiply_base(one))
    assert group.multiply(group.GENERATOR, one) == element == group.multiply_public(group.GENERATOR, one)
    product = group.multiply_add(one, other, bytes(32))
    assert group.multiply(element, other) == group.multiply_public(group.GENERATOR, product)
    assert group.multiply_add(one, group.invert(one), bytes(32)) == ONE
    assert group.decode_element(group.encode_element(element)) == element


@given(st.binary(max_size=80))
def test_reduction_is_that_of_integers(data):
    assert int.from_bytes(group.reduce(data)) == int.from_bytes(data) % group.ORDER


def test_the_points_of_wycheproof_are_read_and_multiplied_as_they_must_be():
    """Public keys from hostile hands: decoding refuses what is none; the rest multiply to the published result."""
    read = refused = 0
    for one in (
        t for g in published.load("wycheproof/ecdh_secp256r1_ecpoint_test.json")["testGroups"] for t in g["tests"]
    ):
        data, private = h(one["public"]), int(one["private"], 16)
        compressed = _compressed(data)
        if compressed is None:
            refused += 1
            assert one["result"] != "valid", one["tcId"]
            continue
        read += 1
        element = group.decode_element(compressed)
        if one["result"] == "valid":
            assert group.multiply(element, private.to_bytes(32)).x == int(one["shared"], 16), one["tcId"]
    assert read > 200
    assert refused > 10


def _compressed(data: bytes) -> bytes | None:
    """Return a published point in the one form that we read; None where it is no point at all."""
    if data[:1] in (b"\2", b"\3"):
        try:
            group.decode_element(data)
        except group.DecodingError:
            return None
        return data
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
    except ValueError:
        return None
    return key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def test_any_33_bytes_are_an_element_or_refused():
    for _ in range(500):
        data = bytes((2 + os.urandom(1)[0] % 2,)) + os.urandom(32)
        try:
            assert group.encode_element(group.decode_element(data)) == data
        except group.DecodingError:
            continue
