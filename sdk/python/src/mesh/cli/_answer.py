"""How an answer appears: Markdown, block by block, where somebody looks; in a pipe the text as it is."""

import sys
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from mesh._display import dollars
from mesh.results import ChatResult


class Plain:
    """Writes text as it comes."""

    def feed(self, text: str) -> None:
        """Write a piece."""
        click.echo(text, nl=False)

    def close(self, *, whole: bool) -> None:  # noqa: ARG002 - as `Rendered`
        """End the last line."""
        click.echo()


class Rendered:
    """Draws the block that is being written again and again, and every finished one once and for all."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._text = ""
        self._live: Live | None = None

    def feed(self, text: str) -> None:
        """Draw a piece."""
        self._text += visible(text)
        end = finished(self._text)
        if end:
            self._draw_for_good(self._text[:end])
            self._text = self._text[end:]
        if self._text.strip():
            if self._live is None:
                self._live = Live(console=self._console, transient=True, auto_refresh=False)
                self._live.start()
            self._live.update(markdown(self._text), refresh=True)

    def close(self, *, whole: bool) -> None:
        """Draw the rest; of an answer that broke off as it stands."""
        self._draw_for_good(self._text if whole else f"{self._text} …")
        self._text = ""

    def _draw_for_good(self, text: str) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if text.strip():
            self._console.print(markdown(text))
            self._console.print()


def markdown(text: str) -> Markdown:
    """Return it drawn; a link shows where it leads."""
    return Markdown(text, hyperlinks=False)


def finished(text: str) -> int:
    """Return where the last block of Markdown that surely goes on no more ends: at an empty line outside of code."""
    end, at, fence = 0, 0, ""
    for line in text.splitlines(keepends=True):
        at += len(line)
        words = line.strip()
        if words[:3] in {"```", "~~~"} and (not fence or words.startswith(fence)):
            fence = "" if fence else words[:3]
        elif not words and not fence and line.endswith("\n"):
            end = at
    return end


def visible(text: str) -> str:
    """Return text without what would steer a terminal."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")


def show(stream: Any, *, rendered: bool) -> ChatResult:
    """Show an answer as it comes, and return it whole.

    Raises:
        MeshError: if it fails or stops early; what came is shown.
    """
    out = Rendered() if rendered else Plain()
    whole, any_ = False, False
    try:
        with stream:
            for piece in stream:
                any_ = any_ or bool(piece.text)
                if piece.text:
                    out.feed(piece.text)
        whole = True
    finally:
        if any_:
            out.close(whole=whole)
    result: ChatResult = stream.response
    return result


def tell_about(result: ChatResult) -> None:
    """Say what was done otherwise than asked, and to a person who answered and what it cost."""
    for warning in result.get("warnings") or ():
        click.echo(f"Warning: {warning}", err=True)
    if sys.stderr.isatty() and sys.stdout.isatty():
        left = "" if result.budget_left_usd is None else f" · {dollars(result.budget_left_usd)} left"
        Console(stderr=True, highlight=False).print(Text(spent(result.model, result.usage) + left, style="dim"))


def spent(model: str, usage: Any) -> str:
    """Return who answered, and what it cost."""
    cost = "" if usage.cost_usd is None else f" · {dollars(usage.cost_usd)}"
    return f"{model} · {usage.input_tokens} + {usage.output_tokens} tokens{cost}"
