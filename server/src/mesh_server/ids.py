"""Identifiers that sort by the time they were made, and the moments that tables keep."""

import itertools
import os
import time
from base64 import b32encode
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache


def uuid7() -> str:
    """Return a new UUIDv7 in its canonical text form (RFC 9562, section 5.7).

    The 12 bits after the milliseconds are a fraction of them (section 6.2, method 3), so that what one process makes
    sorts by the moment it was made.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    number = int.from_bytes(milliseconds.to_bytes(6, "big") + _random(), "big")
    fraction = (rest << 12) // 1_000_000
    number = number & ~(0xFFFF << 64) | (0x7000 | fraction) << 64  # version 7
    number = number & ~(0x3 << 62) | (0x2 << 62)  # variant 10
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def beginning_of(microseconds: int) -> str:
    """Return the beginning of the UUIDv7 of a moment: it sorts before all that are made from then on, and after others.

    Args:
        microseconds: since 1970; one before is taken for 1970.
    """
    text = f"{max(microseconds, 0) // 1000:012x}"
    return f"{text[:8]}-{text[8:]}"


class _Randomness:
    """Ten bytes of the system's randomness at a time, asked for in larger pieces: a call of the system costs more."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what is left, which another process has, too."""
        self._left: Iterator[bytes] = iter(())

    def __call__(self) -> bytes:
        found = next(self._left, None)  # one step, so that no two threads get the same
        if found is None:
            block = os.urandom(10 * 256)
            self._left = iter([block[start : start + 10] for start in range(10, len(block), 10)])
            return block[:10]
        return found


_random = _Randomness()


def now_us() -> int:
    """Return the time in microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def today() -> date:
    """Return the day in UTC."""
    return _day(int(time.time()) // 86_400)


@lru_cache(2)
def _day(number: int) -> date:
    return date(1970, 1, 1) + timedelta(days=number)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment(microseconds: int) -> datetime:
    """Return a moment given in microseconds since 1970, exactly."""
    return _EPOCH + microseconds * _MICROSECOND


def microseconds(moment_: datetime) -> int:
    """Return a moment with a time zone in microseconds since 1970, exactly."""
    return (moment_ - _EPOCH) // _MICROSECOND


class _RequestIds:
    """Random per process, then counted: asking the system for randomness each time would cost more than the rest."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Choose this process's part."""
        self._prefix = "req_" + b32encode(os.urandom(10)).decode().lower()
        self._count = itertools.count(1)

    def __call__(self) -> str:
        return f"{self._prefix}{next(self._count):06x}"


#: Return a new request id: `req_`, 16 characters of this process's randomness, and a count.
request_id = _RequestIds()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=request_id.begin)
    os.register_at_fork(after_in_child=_random.begin)
