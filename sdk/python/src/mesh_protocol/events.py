"""Server-sent events, taken apart and put together (WHATWG HTML, section 9.2)."""

#: Largest event in bytes that a reader takes.
MAX_EVENT_BYTES = 8 * 1024 * 1024

DONE = b"[DONE]"


class EventTooLarge(ValueError):
    """An event that never ends, or is larger than any answer."""


class EventReader:
    """Takes a stream apart into the data of its events, wherever its chunks are cut."""

    def __init__(self) -> None:
        self._line_so_far: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0  # of the event so far
        self._after_return = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of every event that this chunk completes.

        Raises:
            EventTooLarge: if one passes MAX_EVENT_BYTES.
        """
        if not chunk:
            return []
        if self._after_return:  # a line feed here belongs to the return that ended the last chunk
            chunk = chunk.removeprefix(b"\n")
        self._after_return = chunk.endswith(b"\r")
        first, *others = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        events: list[bytes] = []
        self._collect(first)
        for other in others:
            self._line(b"".join(self._line_so_far), events)
            self._line_so_far.clear()
            self._collect(other)
        return events

    def _collect(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLarge("an event is larger than any answer")
        if part:
            self._line_so_far.append(part)

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
            self._data, self._size = [], 0
        elif line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))


def event(data: bytes) -> bytes:
    """Return one event; the data is JSON, which has no line breaks of its own."""
    return b"data: " + data + b"\n\n"
