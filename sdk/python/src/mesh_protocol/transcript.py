"""Unambiguous encodings for everything that is hashed, authenticated or bound."""


def le(number: int, width: int) -> bytes:
    """Return `number` as `width` little-endian bytes: LE(n, w).

    Raises:
        OverflowError: if the number is negative or does not fit.
    """
    return number.to_bytes(width, "little")


def lp(data: bytes) -> bytes:
    """Return `data` behind its length as four little-endian bytes: LP(b) = LE(len(b), 4) || b."""
    return len(data).to_bytes(4, "little") + data
