"""Identifiers that sort by the time they were made."""

import os
import time
from base64 import b32encode


def uuid7() -> str:
    """Return a new UUIDv7 in its canonical text form (RFC 9562, section 5.7)."""
    milliseconds = time.time_ns() // 1_000_000
    number = int.from_bytes(milliseconds.to_bytes(6, "big") + os.urandom(10), "big")
    number = number & ~(0xF << 76) | (0x7 << 76)  # version 7
    number = number & ~(0x3 << 62) | (0x2 << 62)  # variant 10
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def now_us() -> int:
    """Return the time in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def request_id() -> str:
    """Return a new request id: `req_` and 16 characters of randomness."""
    return "req_" + b32encode(os.urandom(10)).decode().lower()
