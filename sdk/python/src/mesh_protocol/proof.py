"""The Sigma proof: knowledge of x with X = x · G, made non-interactive.

draft-irtf-cfrg-sigma-protocols-03 with draft-irtf-cfrg-fiat-shamir-03, flavour DSFS: the proof is the commitment R
and the response s. The tag says what the proof is for; verifying under another one fails.
"""

import hmac

from mesh_protocol import group
from mesh_protocol.group import ELEMENT_BYTES, SCALAR_BYTES
from mesh_protocol.transcript import le, session_of, squeeze

PROOF_BYTES = ELEMENT_BYTES + SCALAR_BYTES
#: Random bytes that a proof takes.
NONCE_ENTROPY_BYTES = 32

_CHALLENGE_BYTES = 48
_ONE = (1).to_bytes(SCALAR_BYTES)
#: One equation; one image term, element 1 times 1; one term, scalar 0 times element 0 (the generator) times 1.
_RELATION = le(1, 4) + le(1, 4) + le(1, 4) + _ONE + le(1, 4) + le(0, 4) + le(0, 4) + _ONE


def instance_of(public_key: bytes) -> bytes:
    """Return the encoding of "X = x · G" for an X of 33 bytes."""
    return _RELATION + public_key


def nonce_of(private_key: bytes, entropy: bytes, session: bytes, instance: bytes) -> bytes:
    """Return the prover's secret nonce k, bound to the key, the session and fresh random bytes.

    Hedged: should the random bytes repeat, another session still has another k; and k can't be told without x.
    """
    message = b"MESH-ZKP-V01/nonce" + entropy + session + instance
    nonce = group.reduce(hmac.digest(private_key, message, "sha512"))
    if group.is_zero(nonce):
        raise ValueError("no nonce comes of these bytes")  # with a probability of 2^-256
    return nonce


def prove(private_key: bytes, public_key: bytes, tag: bytes, entropy: bytes) -> bytes:
    """Return a proof of 65 bytes.

    Args:
        private_key: x, a scalar that is not zero.
        public_key: X, 33 bytes.
        tag: what the proof is for.
        entropy: 32 random bytes.
    """
    session, instance = session_of(tag), instance_of(public_key)
    return prove_with(private_key, session, instance, nonce_of(private_key, entropy, session, instance))


def prove_with(private_key: bytes, session: bytes, instance: bytes, nonce: bytes) -> bytes:
    """Return the proof of a given nonce, which must never be used for another session: two proofs would tell x."""
    commitment = group.multiply_base(nonce)
    challenge = challenge_of(session, instance, commitment)
    return commitment + group.multiply_add(challenge, private_key, nonce)


def verify(public_key: bytes, tag: bytes, proof: bytes) -> bool:
    """Return whether a proof is one for this key and this tag. Whatever is wrong with it gives False.

    Args:
        public_key: X, 33 bytes; checked even though it comes out of one's own database.
        tag: made by the verifier alone, of what it knows.
        proof: as it came.
    """
    if len(proof) != PROOF_BYTES:
        return False
    encoded = proof[:ELEMENT_BYTES]
    try:
        key, commitment = group.decode_element(public_key), group.decode_element(encoded)
        response = group.decode_scalar(proof[ELEMENT_BYTES:])
    except group.DecodingError:
        return False
    challenge = challenge_of(session_of(tag), instance_of(public_key), encoded)
    # Everything here is public: nothing is gained from constant time.
    right = commitment + group.multiply_public(key, challenge)
    return group.multiply_public(group.GENERATOR, response) == right


def equal(one: bytes, other: bytes) -> bool:
    """Compare in time that does not tell where two values differ."""
    return hmac.compare_digest(one, other)


def challenge_of(session: bytes, instance: bytes, commitment: bytes) -> bytes:
    """Return the verifier's challenge: read little-endian, unlike every other scalar."""
    return group.reduce(squeeze(session, instance + commitment, _CHALLENGE_BYTES)[::-1])
