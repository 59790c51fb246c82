"""Records that hold what nobody may read in a log, a traceback or a test's output."""

from typing import Any


class Quiet:
    """Mixed into a record, its `repr` shows its kind and nothing in it: it holds a secret, or what somebody said."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the kind alone."""
        return f"<{type(self).__name__}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Tell the library `rich` nothing: it asks msgspec's structures for this first, and they would tell it all."""
        return []
