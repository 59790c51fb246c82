"""Server-sent events, taken apart and put together (WHATWG HTML, section 9.2)."""

#: Largest event in bytes that a reader takes.
MAX_EVENT_BYTES = 8 * 1024 * 1024

DONE = b"[DONE]"


class EventTooLarge(ValueError):
    """An event that never ends, or is larger than any answer."""


class EventReader:
    """Takes a stream apart into the data of its events, wherever its chunks are cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the data of every event that this chunk completes.

        Raises:
            EventTooLarge: if one passes MAX_EVENT_BYTES.
        """
        # A carriage return at the end may be half of a line's end: it waits for what follows.
        text = self._rest + chunk
        held = text.endswith(b"\r")
        lines = (text[:-1] if held else text).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + (b"\r" if held else b"")
        if len(self._rest) + self._size > MAX_EVENT_BYTES:
            raise EventTooLarge("an event is larger than any answer")
        events: list[bytes] = []
        for line in lines:
            self._line(line, events)
        return events

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data, self._size = [], 0
        elif line.startswith(b"data:"):
            data = line[5:].removeprefix(b" ")
            self._data.append(data)
            self._size += len(data)


def event(data: bytes) -> bytes:
    """Return one event; the data is JSON, which has no line breaks of its own."""
    return b"data: " + data + b"\n\n"
