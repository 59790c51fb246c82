"""API tokens: `mesh_`, 32 random characters, 6 characters of checksum.

32 characters of base62 are 190 bits. The checksum is the CRC-32 of all that stands before it, in base62: by it a
scanner tells a leaked token from a look-alike, and the server a mistyped one, without a database. It protects nothing
else.
"""

import re
import secrets
import zlib

from mesh_protocol.wire import API_TOKEN_PREFIX

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_CHARS = 32
_CHECK_CHARS = 6  # 62**6 > 2**32
_SHAPE = re.compile(rf"{API_TOKEN_PREFIX}[0-9A-Za-z]{{{_RANDOM_CHARS + _CHECK_CHARS}}}")


def make() -> str:
    """Return a new token."""
    body = API_TOKEN_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARS))
    return body + _checksum(body)


def is_well_formed(text: str) -> bool:
    """Return whether the text could be a token: its shape and its checksum are right."""
    return _SHAPE.fullmatch(text) is not None and text[-_CHECK_CHARS:] == _checksum(text[:-_CHECK_CHARS])


def hint(token: str) -> str:
    """Return the beginning of a token, by which its owner recognises it in a list: 18 of its 190 bits."""
    return f"{token[: len(API_TOKEN_PREFIX) + 3]}…"


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode("ascii"))
    digits = []
    for _ in range(_CHECK_CHARS):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
