"""Hashing to the group: RFC 9380, suite P256_XMD:SHA-256_SSWU_RO_, and to scalars as RFC 9497 does.

Nothing here branches on what is hashed: values are selected by arithmetic. SPEC.md, "Secrets and time", says what
that is worth.
"""

import hashlib

from Crypto.Math.Numbers import Integer

from mesh_protocol.group import PRIME, Element, reduce

#: Bytes for each field element: ceil((256 + 128) / 8) (RFC 9380, section 8.2).
_WIDE = 48

_P = Integer(PRIME, public=True)
_A = Integer(PRIME - 3, public=True)
_B = Integer(0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B, public=True)
_Z = Integer(PRIME - 10, public=True)
_MINUS_B_OVER_A = Integer(-int(_B) * pow(int(_A), -1, PRIME) % PRIME, public=True)
_B_OVER_ZA = Integer(int(_B) * pow(int(_Z) * int(_A), -1, PRIME) % PRIME, public=True)
_SQRT = Integer((PRIME + 1) // 4, public=True)  # p = 3 mod 4
_INVERSE = Integer(PRIME - 2, public=True)  # inv0: the inverse of zero is zero


def expand_message_xmd(message: bytes, dst: bytes, length: int) -> bytes:
    """Return `length` uniform bytes (RFC 9380, section 5.3.1, with SHA-256).

    Args:
        message: any length.
        dst: the domain separation tag; one over 255 bytes is hashed first (section 5.3.3).
        length: up to 255 · 32.

    Raises:
        ValueError: if more is asked for.
    """
    blocks = -(-length // 32)
    if not 0 < blocks <= 255:
        raise ValueError("expand_message_xmd gives 1 to 8,160 bytes")
    if len(dst) > 255:
        dst = hashlib.sha256(b"H2C-OVERSIZE-DST-" + dst).digest()
    dst_prime = dst + bytes((len(dst),))
    first = hashlib.sha256(bytes(64) + message + length.to_bytes(2) + b"\0" + dst_prime).digest()
    block = hashlib.sha256(first + b"\1" + dst_prime).digest()
    uniform = block
    for index in range(2, blocks + 1):
        mixed = (int.from_bytes(first) ^ int.from_bytes(block)).to_bytes(32)
        block = hashlib.sha256(mixed + bytes((index,)) + dst_prime).digest()
        uniform += block
    return uniform[:length]


def hash_to_field(message: bytes, dst: bytes) -> tuple[Integer, Integer]:
    """Return two field elements (RFC 9380, section 5.2)."""
    uniform = expand_message_xmd(message, dst, 2 * _WIDE)
    return Integer.from_bytes(uniform[:_WIDE]) % _P, Integer.from_bytes(uniform[_WIDE:]) % _P


def map_to_curve(u: Integer) -> Element:
    """Return the point of a field element: the simplified SWU map (RFC 9380, section 6.6.2, steps 1 to 12)."""
    zu2 = _Z * u * u % _P
    tv1 = pow(zu2 * zu2 + zu2, _INVERSE, _P)
    x1 = _select(_MINUS_B_OVER_A * (tv1 + 1) % _P, _B_OVER_ZA, tv1 == 0)
    gx1 = _curve(x1)
    x2 = zu2 * x1 % _P
    root1 = pow(gx1, _SQRT, _P)
    root2 = pow(_curve(x2), _SQRT, _P)
    is_square = root1 * root1 % _P == gx1
    x, y = _select(x2, x1, is_square), _select(root2, root1, is_square)
    same_sign = _sign(u) == _sign(y)
    return Element(x, _select((_P - y) % _P, y, same_sign), "p256")


def hash_to_group(message: bytes, dst: bytes) -> Element:
    """Return the element of a message, as a random oracle would (RFC 9380, section 3: hash_to_curve)."""
    u0, u1 = hash_to_field(message, dst)
    return map_to_curve(u0) + map_to_curve(u1)


def hash_to_scalar(message: bytes, dst: bytes) -> bytes:
    """Return the scalar of a message (RFC 9497, section 4.3: HashToScalar)."""
    return reduce(expand_message_xmd(message, dst, _WIDE))


def _curve(x: Integer) -> Integer:
    return (x * x * x + _A * x + _B) % _P


def _select(otherwise: Integer, chosen: Integer, condition: bool) -> Integer:  # noqa: FBT001 - the C of CMOV
    """Return `chosen` where the condition holds, by the same steps either way (CMOV)."""
    bit = int(condition)
    return otherwise * (1 - bit) + chosen * bit


def _sign(number: Integer) -> int:
    return number.to_bytes(32)[-1] & 1
