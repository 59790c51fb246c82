"""Identifiers that sort by the time they were made, and the moments that tables keep."""

import os
import time
from base64 import b32encode
from datetime import UTC, datetime, timedelta


def uuid7() -> str:
    """Return a new UUIDv7 in its canonical text form (RFC 9562, section 5.7).

    The 12 bits after the milliseconds are a fraction of them (section 6.2, method 3), so that what one process makes
    sorts by the moment it was made.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    number = int.from_bytes(milliseconds.to_bytes(6, "big") + os.urandom(10), "big")
    fraction = (rest << 12) // 1_000_000
    number = number & ~(0xFFFF << 64) | (0x7000 | fraction) << 64  # version 7
    number = number & ~(0x3 << 62) | (0x2 << 62)  # variant 10
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def now_us() -> int:
    """Return the time in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment(microseconds: int) -> datetime:
    """Return a moment given in microseconds since 1970, exactly."""
    return _EPOCH + microseconds * _MICROSECOND


def microseconds(moment_: datetime) -> int:
    """Return a moment with a time zone in microseconds since 1970, exactly."""
    return (moment_ - _EPOCH) // _MICROSECOND


def request_id() -> str:
    """Return a new request id: `req_` and 16 characters of randomness."""
    return "req_" + b32encode(os.urandom(10)).decode().lower()
