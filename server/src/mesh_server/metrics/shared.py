"""Memory that the parent of several workers makes before it forks: each worker leaves there what it has counted.

It has no name and no file, and ends with the processes. A worker writes its own place alone, once a second and at each
scrape; whichever worker is asked reads the places of all. A worker that is started in the place of a dead one begins
with what that one left, so that no counter goes backwards (docs/adr/0120).
"""

import mmap
import struct
from zlib import crc32

#: Largest content of a place in bytes: several times what the most labels that are counted come to.
MOST_BYTES = 1024 * 1024
#: Each of the two copies of a place: number of the writing, length, checksum; then the content.
_HEAD = struct.Struct("<QII")
_COPY_BYTES = _HEAD.size + MOST_BYTES
#: Times that a place is read again because it was just being written.
_TRIES = 3


class Shared:
    """The places of all workers.

    Args:
        number: of workers.
    """

    def __init__(self, number: int) -> None:
        self._memory = mmap.mmap(-1, number * 2 * _COPY_BYTES)
        self._places = [Place(self._memory, index * 2 * _COPY_BYTES) for index in range(number)]

    def place(self, index: int) -> "Place":
        """Return a worker's own place."""
        return self._places[index]

    def read(self) -> list[bytes]:
        """Return what every worker left, in the order of their places; empty where one has not yet left anything."""
        return [place.read() for place in self._places]


class Place:
    """Where one worker writes: two copies in turn, so that one is whole whenever its writer dies."""

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._memory = memory
        self._offset = offset

    def write(self, content: bytes) -> None:
        """Replace what is there.

        Raises:
            ValueError: if it is larger than a place.
        """
        if len(content) > MOST_BYTES:
            raise ValueError(f"{len(content)} bytes are more than a worker's place has")
        numbers = [self._copy(copy)[0] for copy in (0, 1)]
        at = self._offset + (0 if numbers[0] <= numbers[1] else 1) * _COPY_BYTES
        number = max(numbers) + 1
        self._memory[at + _HEAD.size : at + _HEAD.size + len(content)] = content
        self._memory[at : at + _HEAD.size] = _HEAD.pack(number, len(content), _checksum(number, content))

    def read(self) -> bytes:
        """Return what was written last; empty where nothing was."""
        for _ in range(_TRIES):
            number, content = max(self._copy(copy) for copy in (0, 1))
            if number:
                return content
        return b""

    def _copy(self, copy: int) -> tuple[int, bytes]:
        """Return one copy and its number; zero where it is not whole."""
        at = self._offset + copy * _COPY_BYTES
        number, length, checksum = _HEAD.unpack(self._memory[at : at + _HEAD.size])
        content = self._memory[at + _HEAD.size : at + _HEAD.size + min(length, MOST_BYTES)]
        return (number, content) if number and _checksum(number, content) == checksum else (0, b"")


def _checksum(number: int, content: bytes) -> int:
    return crc32(content, number & 0xFFFFFFFF)
