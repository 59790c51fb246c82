"""Templates of environments: entries of a `.env` file that name keys instead of holding them.

    NAME=mesh://stripe/live          the whole value is the key's
    DATABASE_URL=postgres://app:{{ db/password }}@db/app

Such a file may be committed. What a key's value holds is never read as a template again.
"""

import re
from collections.abc import Mapping

_WHOLE = "mesh://"
_PART = re.compile(r"\{\{[ \t]*(.+?)[ \t]*\}\}")


def references(entries: Mapping[str, str]) -> list[str]:
    """Return the names of the keys that a template needs, each once, in their order."""
    found: dict[str, None] = {}
    for value in entries.values():
        if value.startswith(_WHOLE):
            found[value.removeprefix(_WHOLE)] = None
        else:
            found.update(dict.fromkeys(_PART.findall(value)))
    return list(found)


def fill(entries: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Return the entries with the keys' values in the place of their names.

    Raises:
        KeyError: if a value is missing: `values` has all of `references`.
    """
    return {
        name: values[value.removeprefix(_WHOLE)]
        if value.startswith(_WHOLE)
        else _PART.sub(lambda found: values[found[1]], value)
        for name, value in entries.items()
    }
