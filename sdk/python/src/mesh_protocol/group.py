"""The group of the proofs: NIST P-256, its elements as 33 bytes of compressed SEC1, its scalars as 32 big-endian bytes.

Secret scalars stay bytes, and become integers only inside a library: pycryptodome's `Integer` and `EccPoint` treat
every operand as secret unless it was made public, and blind each multiplication; OpenSSL's base-point multiplication
is constant-time. Where that ends is written in SPEC.md, "Secrets and time".
"""

from typing import TypeAlias

from Crypto.Math.Numbers import Integer
from Crypto.PublicKey.ECC import EccPoint  # type: ignore[attr-defined]  # its documented place
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, derive_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

#: Bytes of an element and of a scalar.
ELEMENT_BYTES, SCALAR_BYTES = 33, 32

#: The field's prime and the group's order (SP 800-186, section 3.2.1.3); the cofactor is 1.
PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Element: TypeAlias = EccPoint

_CURVE = SECP256R1()
_ORDER = Integer(ORDER, public=True)
GENERATOR: Element = EccPoint(
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    "p256",
)


class DecodingError(ValueError):
    """Bytes that are no canonical element or scalar. The message never holds them."""


def decode_element(data: bytes) -> Element:
    """Return the element of 33 bytes; never the identity, which has no encoding of that length.

    Raises:
        DecodingError: if the length, the prefix or the coordinate is not canonical, or the point not on the curve.
    """
    # OpenSSL refuses each of these, too; what counts as canonical is not left to a library's next version.
    if len(data) != ELEMENT_BYTES or data[0] not in (2, 3) or int.from_bytes(data[1:]) >= PRIME:
        raise DecodingError("this is no canonical encoding of a group element")
    try:
        numbers = EllipticCurvePublicKey.from_encoded_point(_CURVE, data).public_numbers()
    except ValueError:
        raise DecodingError("no point of the curve has this coordinate") from None
    return EccPoint(numbers.x, numbers.y, "p256")


def encode_element(element: Element) -> bytes:
    """Return the 33 bytes of an element.

    Raises:
        DecodingError: for the identity, which has none.
    """
    if element.is_point_at_infinity():
        raise DecodingError("the identity has no encoding")
    x, y = element.xy
    return bytes((2 | (y & 1),)) + x.to_bytes(32)


def decode_scalar(data: bytes) -> bytes:
    """Return 32 bytes that are a scalar below the order, zero included.

    Raises:
        DecodingError: if they are not.
    """
    if len(data) != SCALAR_BYTES or int.from_bytes(data) >= ORDER:
        raise DecodingError("this is no canonical encoding of a scalar")
    return data


def reduce(data: bytes) -> bytes:
    """Return big-endian bytes modulo the order, as a scalar; 16 bytes more than a scalar's leave no bias to notice."""
    return _bytes(Integer.from_bytes(data) % _ORDER)


def is_zero(scalar: bytes) -> bool:
    """Return whether a scalar is zero."""
    return not any(scalar)


def multiply_add(factor: bytes, other: bytes, addend: bytes) -> bytes:
    """Return factor · other + addend, as a scalar."""
    return _bytes((Integer.from_bytes(factor) * Integer.from_bytes(other) + Integer.from_bytes(addend)) % _ORDER)


def invert(scalar: bytes) -> bytes:
    """Return the inverse of a scalar that is not zero."""
    return _bytes(Integer.from_bytes(scalar).inverse(_ORDER))


def multiply(element: Element, scalar: bytes) -> Element:
    """Return scalar · element, for a scalar that is secret."""
    return element * Integer.from_bytes(scalar)  # type: ignore[operator]  # typed for int, made for Integer


def multiply_public(element: Element, scalar: bytes) -> Element:
    """Return scalar · element in less time, for a scalar that everybody may know."""
    return element * Integer.from_bytes(scalar, public=True)  # type: ignore[operator]  # as above


def multiply_base(scalar: bytes) -> bytes:
    """Return the 33 bytes of scalar · G, for a secret scalar that is not zero: OpenSSL is several times faster here."""
    key = derive_private_key(int.from_bytes(scalar), _CURVE)
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def _bytes(number: Integer) -> bytes:
    return number.to_bytes(SCALAR_BYTES)
