r"""A small, strict reader and writer of `.env` files.

Programs disagree on what such files mean; where they do, this one refuses the line instead of guessing, because a value
that is read differently here than by the program that uses it would be compared in vain. What it reads:

    file     = UTF-8, with or without a byte order mark; lines end with LF or CRLF
    line     = blank | comment | [ "export" space ] name [space] "=" [space] value [space] [ comment ]
    comment  = "#" to the end of the line; behind an unquoted value with a space before it
    name     = a letter or "_", then letters, digits and "_"                            (ASCII); each name once
    value    = unquoted | 'single' | "double"
    unquoted = to the end of the line, spaces at its end taken away; no quotes, no backslash, no "${"
    'single' = everything up to the next ', on one line, literally
    "double" = over any number of lines; \n \r \t \\ \" \$ are escapes, every other backslash is refused, and "${" too

A "$" that begins no "${" is itself. No error shows a value.
"""

import re
from collections.abc import Mapping

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?=\n|\Z)")
_UNQUOTED = re.compile(r"[^\n]*?(?=[ \t]+#|[ \t]*(?:\n|\Z))")
_SINGLE = re.compile(r"'([^'\n]*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$"}


class DotenvError(ValueError):
    """A file that is not in this form.

    Attributes:
        line: of the file, from 1.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line


def parse(text: str) -> dict[str, str]:
    """Return names and values of a file's text, in its order.

    Raises:
        DotenvError: if a line is not in the form, with its number and never with its value.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        blank = _BLANK.match(text, at)
        if blank is None:
            name, value, at = _entry(text, at, line)
            if name in found:
                raise DotenvError(line, f"{name} is there twice, and programs disagree on which one counts")
            found[name] = value
            blank = _BLANK.match(text, at)
            if blank is None:
                raise DotenvError(line, f"something follows the value of {name}; a comment begins with #")
        at = blank.end() + 1  # past the line feed
    return found


def _entry(text: str, at: int, line: int) -> tuple[str, str, int]:
    start = at + len(text[at:]) - len(text[at:].lstrip(" \t"))
    named = _NAME.match(text, start)
    if named is None:
        raise DotenvError(line, "this is neither NAME=value nor a comment")
    name, at = named[1], named.end()
    kind = text[at : at + 1]
    if kind == "'":
        return name, *_quoted(_SINGLE, text, at, line, name)
    if kind == '"':
        content, end = _quoted(_DOUBLE, text, at, line, name)
        return name, _unescaped(content, line, name), end
    plain = _UNQUOTED.match(text, at)
    value = plain[0] if plain else ""
    if value.startswith("#"):
        value = ""
    _check(value, line, name)
    for forbidden in ("'", '"', "\\", "`"):
        if forbidden in value:
            raise DotenvError(line, f"the value of {name} has a quote or a backslash: put it into single quotes")
    if "${" in value:
        raise DotenvError(line, f"the value of {name} refers to another one: put it into single quotes if it does not")
    return name, value, at + len(value)


def _quoted(form: "re.Pattern[str]", text: str, at: int, line: int, name: str) -> tuple[str, int]:
    found = form.match(text, at)
    if found is None:
        raise DotenvError(line, f"the quotes of {name} are not closed")
    _check(found[1], line, name)
    return found[1], found.end()


def _check(value: str, line: int, name: str) -> None:
    if "\0" in value or "\r" in value:
        raise DotenvError(line, f"the value of {name} has a zero byte or a lone carriage return")


def _unescaped(content: str, line: int, name: str) -> str:
    if "${" in content.replace("\\\\", "").replace("\\$", ""):
        raise DotenvError(line, f"the value of {name} refers to another one: write \\$ if it does not")

    def one(found: "re.Match[str]") -> str:
        meant = _ESCAPES.get(found[1])
        if meant is None:
            raise DotenvError(line, f"the value of {name} has a backslash that means nothing: write \\\\ for itself")
        return meant

    return _ESCAPE.sub(one, content)


_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=~-]+")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]")
_WRITTEN = {"\\": "\\\\", '"': '\\"', "$": "\\$", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def render(entries: Mapping[str, str]) -> str:
    """Return the text of a file with these entries; `parse` reads the same from it.

    Raises:
        ValueError: if a name or a value can't be in such a file; never with the value.
    """
    lines = []
    for name, value in entries.items():
        if _VARIABLE.fullmatch(name) is None:
            raise ValueError(f"{name!r} can't be the name of a variable")
        if "\0" in value:
            raise ValueError(f"the value of {name} has a zero byte")
        lines.append(f"{name}={_written(value)}\n")
    return "".join(lines)


def variable_name(key_name: str) -> str:
    """Return the variable that a key goes to: what follows the last `/`, with `_` for what no variable has.

    Raises:
        ValueError: if nothing is left.
    """
    name = _NOT_IN_NAMES.sub("_", key_name.rpartition("/")[2])
    if not name.strip("_"):
        raise ValueError(f"{key_name!r} makes no name of a variable: name one, VARIABLE={key_name}")
    return f"_{name}" if name[0].isdigit() else name


def _written(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if not any(letter in value for letter in "'\n\r"):
        return f"'{value}'"
    return '"' + "".join(_WRITTEN.get(letter, letter) for letter in value) + '"'
