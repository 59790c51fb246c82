"""Secrets that do not show themselves."""


class Secret:
    """A text that no `repr`, f-string or traceback shows; `reveal` is the one way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same text, in a time that tells nothing of it."""
        from secrets import compare_digest  # noqa: PLC0415 - where two are compared, which is seldom

        return isinstance(other, Secret) and compare_digest(self._text.encode(), other._text.encode())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return nothing of it."""
        return "<secret>"

    __str__ = __repr__

    def __reduce__(self) -> str:
        """Refuse to be written to a pickle."""
        raise TypeError("a secret is not written anywhere")
