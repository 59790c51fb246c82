"""Unambiguous encodings for everything that is hashed, authenticated or bound, and the sponge of the proofs."""

import hashlib


def le(number: int, width: int) -> bytes:
    """Return `number` as `width` little-endian bytes: LE(n, w).

    Raises:
        OverflowError: if the number is negative or does not fit.
    """
    return number.to_bytes(width, "little")


def lp(data: bytes) -> bytes:
    """Return `data` behind its length as four little-endian bytes: LP(b) = LE(len(b), 4) || b."""
    return len(data).to_bytes(4, "little") + data


#: The rate of SHAKE128 in bytes; the session fills the first block.
_RATE = 168
_SESSION_LABEL = b"irtf-cfrg-fiat-shamir/session-id"


def squeeze(session: bytes, absorbed: bytes, length: int) -> bytes:
    """Return bytes of the duplex sponge over SHAKE128 (draft-irtf-cfrg-fiat-shamir-03).

    Args:
        session: 32 bytes.
        absorbed: everything that both sides said before.
        length: how many bytes.
    """
    return hashlib.shake_128(session + bytes(_RATE - len(session)) + absorbed).digest(length)


def session_of(tag: bytes) -> bytes:
    """Return the 32 bytes that name the session of a tag (the same draft)."""
    return squeeze(_SESSION_LABEL, tag, 32)
