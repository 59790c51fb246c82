"""The oblivious pseudorandom function of RFC 9497, suite P256-SHA256.

The client learns F(key, input), the server learns nothing of the input. Mesh uses mode 0; the mode is part of every
domain separation, which is why the functions take its context string.
"""

import hashlib
from dataclasses import dataclass, field

from mesh_protocol import group
from mesh_protocol.hash_to_curve import hash_to_group, hash_to_scalar

#: Bytes of an output (Nh), and of the entropy that a blind is made from.
OUTPUT_BYTES, BLIND_ENTROPY_BYTES = 32, 48


def context_string(mode: int) -> bytes:
    """Return what separates a mode's hashes from all others (RFC 9497, section 3.1)."""
    return b"OPRFV1-" + bytes((mode,)) + b"-P256-SHA256"


CONTEXT = context_string(0)


@dataclass(frozen=True, slots=True)
class Blinded:
    """An input under its blind. `repr` shows nothing.

    Attributes:
        scalar: the blind; secret.
        element: what the server gets, 33 bytes.
    """

    scalar: bytes = field(repr=False)
    element: bytes = field(repr=False)


def random_scalar(entropy: bytes) -> bytes:
    """Return a scalar from 48 random bytes, uniform but for 2^-128 (RFC 9497, section 4.7.2).

    Raises:
        ValueError: if they are fewer, or if they give zero, which random bytes do not.
    """
    if len(entropy) < BLIND_ENTROPY_BYTES:
        raise ValueError(f"a random scalar needs {BLIND_ENTROPY_BYTES} random bytes")
    scalar = group.reduce(entropy)
    if group.is_zero(scalar):
        raise ValueError("these bytes are not random")
    return scalar


def blind(oprf_input: bytes, scalar: bytes, context: bytes = CONTEXT) -> Blinded:
    """Return an input under a blind (RFC 9497, section 3.3.1: Blind)."""
    element = hash_to_group(oprf_input, b"HashToGroup-" + context)
    return Blinded(scalar, group.encode_element(group.multiply(element, scalar)))


def evaluate(key: bytes, blinded: bytes) -> bytes:
    """Return the 33 bytes of key · blinded (section 3.3.1: BlindEvaluate).

    Raises:
        DecodingError: if what came is no element.
    """
    return group.encode_element(group.multiply(group.decode_element(blinded), key))


def finalize(oprf_input: bytes, scalar: bytes, evaluated: bytes) -> bytes:
    """Return the function's 32 bytes (section 3.3.1: Finalize).

    Raises:
        DecodingError: if what came is no element.
    """
    element = group.multiply(group.decode_element(evaluated), group.invert(scalar))
    return output_of(oprf_input, element)


def output_of(oprf_input: bytes, element: group.Element) -> bytes:
    """Return the hash of an input and its evaluation without the blind."""
    unblinded = group.encode_element(element)
    return hashlib.sha256(
        len(oprf_input).to_bytes(2) + oprf_input + len(unblinded).to_bytes(2) + unblinded + b"Finalize"
    ).digest()


def derive_key(seed: bytes, info: bytes, context: bytes = CONTEXT) -> bytes:
    """Return the scalar of a seed (RFC 9497, section 3.2.1: DeriveKeyPair, without the public half)."""
    material = seed + len(info).to_bytes(2) + info
    for counter in range(256):
        scalar = hash_to_scalar(material + bytes((counter,)), b"DeriveKeyPair" + context)
        if not group.is_zero(scalar):
            return scalar
    raise ValueError("no key comes of this seed")  # with a probability of 2^-65536
