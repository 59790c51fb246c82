"""What an unfinished JSON text says so far."""

from typing import Any

import msgspec

_CLOSERS = {"{": "}", "[": "]"}


def parse(text: str) -> Any:
    """Return the value that a text which may go on means so far; None where that is nothing yet.

    A string that is not closed is there as far as it goes; a name, number or word that is not finished is not.
    """
    scan = _Scan()
    for at, letter in enumerate(text):
        if scan.inside:
            scan.in_string(at, letter)
        else:
            scan.between(at, letter)
    closed = scan.closed(text)
    if closed is None:
        return None
    try:
        return msgspec.json.decode(closed)
    except (msgspec.DecodeError, RecursionError):
        return None  # no JSON at all


class _Scan:
    """Goes through a text letter by letter, and knows what would close it."""

    def __init__(self) -> None:
        self.inside = False  # a string
        self._name = False  # and it is the name of a member
        self._escape_at = self._escape_left = 0  # where an escape began, and how many letters it still wants
        self._before = ""
        self._open: list[str] = []
        self._sure: tuple[int, str] | None = None  # how much of the text stands, and what closes it there

    def in_string(self, at: int, letter: str) -> None:
        if self._escape_left:
            self._escape_left = 4 if letter == "u" and self._escape_at == at - 1 else self._escape_left - 1
        elif letter == "\\":
            self._escape_at, self._escape_left = at, 1
        elif letter == '"':
            self.inside = False
            if not self._name:
                self._sure = at + 1, self._closing()

    def between(self, at: int, letter: str) -> None:
        if letter == '"':
            self.inside = True
            self._name = bool(self._open) and self._open[-1] == "{" and self._before in "{,"
        elif letter in _CLOSERS:
            self._open.append(letter)
            self._sure = at + 1, self._closing()
        elif letter in "]}" and self._open:
            self._open.pop()
            self._sure = at + 1, self._closing()
        elif letter == ",":
            self._sure = at, self._closing()
        if not letter.isspace():
            self._before = letter

    def closed(self, text: str) -> str | None:
        """Return the text made whole; None where nothing of it stands yet."""
        if self.inside and not self._name:
            return f'{text[: self._escape_at] if self._escape_left else text}"{self._closing()}'
        if not self._open:
            return text
        return None if self._sure is None else text[: self._sure[0]] + self._sure[1]

    def _closing(self) -> str:
        return "".join(_CLOSERS[opened] for opened in reversed(self._open))
