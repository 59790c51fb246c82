"""What a docstring says of a function and of its arguments: in Google's, Sphinx's or NumPy's style."""

import inspect
import re
from collections.abc import Callable
from typing import Any

_SECTION = re.compile(
    r"(Args|Arguments|Parameters|Params|Returns?|Yields?|Raises|Examples?|Notes?|Attributes|Warns|See Also)\s*:?\s*"
)
_ARGUMENTS = frozenset({"Args", "Arguments", "Parameters", "Params"})
_GOOGLE = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY = re.compile(r"\*{0,2}(\w+)\s*(?::.*)?")
_SPHINX = re.compile(r":(?:param|parameter|arg|argument)\s+(?:[^:\s]+\s+)*?(\w+)\s*:\s*(.*)")
_SPHINX_OTHER = re.compile(r":\w+[^:]*:")


def read(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return the description of a function, and those of its arguments by name."""
    lines = (inspect.getdoc(function) or "").splitlines()
    head: list[str] = []
    arguments: dict[str, list[str]] = {}
    section, at, name = "", 0, ""
    for number, line in enumerate(lines):
        text, indent = line.strip(), len(line) - len(line.lstrip())
        following = lines[number + 1].strip() if number + 1 < len(lines) else ""
        begun = _SECTION.fullmatch(text)
        if begun is not None and indent == 0 and (text.endswith(":") or set(following) == {"-"}):
            section, at, name = begun[1], -1, ""
            continue
        if set(text) == {"-"} and section:
            continue
        if _SPHINX_OTHER.match(text) and indent == 0:
            matched = _SPHINX.fullmatch(text)
            section, at, name = "sphinx", 0, matched[1] if matched else ""
            if matched:
                arguments[name] = [matched[2]]
        elif not section:
            head.append(text)
        elif section in _ARGUMENTS and text and (at < 0 or indent <= at):
            at = indent  # NumPy's arguments stand at the margin, Google's are indented
            matched = (_GOOGLE if indent else _NUMPY).fullmatch(text)
            name = matched[1] if matched else ""
            if matched:
                arguments[name] = [matched[2] if indent else ""]
        elif name and text:
            arguments[name].append(text)
    described = {name: " ".join(part for part in parts if part) for name, parts in arguments.items()}
    return " ".join(part for part in head if part), {name: text for name, text in described.items() if text}
