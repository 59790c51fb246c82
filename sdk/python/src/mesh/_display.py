"""What notebooks show of results: nothing in it runs, and nothing is loaded from anywhere."""

import re
from html import escape
from typing import Any

#: Fenced code, and code within a line, as CommonMark has them (0.31, sections 4.5 and 6.1); in doubt it is none.
_CODE = re.compile(
    r"(^ {0,3}(?P<fence>`{3,}|~{3,})[^`\n]*\n(?:.*?^ {0,3}(?P=fence)[`~]*[ \t]*$|.*\Z)|(?<![`\\])`(?!`)[^`\n]+`(?!`))",
    re.DOTALL | re.MULTILINE,
)


def answer(result: Any) -> str:
    """Return an answer as Markdown: its text, then who answered and what it cost."""
    return f"{_harmless(result.content)}\n\n<small>{escape(_spent(result))}</small>{_warned(result)}"


def failure(result: Any) -> str:
    """Return a failure as Markdown: what went wrong, and what to do."""
    steps = "".join(f"\n- {_harmless(str(step))}" for step in result.get("troubleshooting") or ())
    return f"**Error:** {_harmless(str(result.get('error')))}\n{steps}"


def usage(spent: Any) -> str:
    """Return tokens and cost as a table in HTML."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(_shown(value))}</td></tr>" for name, value in spent.items())
    return f"<table>{rows}</table>"


def _harmless(text: str) -> str:
    """Return Markdown without HTML and without images: a notebook would load them, and tell others what was said.

    Code stays as it is, since nothing in it is taken for HTML.
    """
    shown, after = [], 0
    for code in _CODE.finditer(text):
        shown += [_escaped(text[after : code.start()]), code.group()]
        after = code.end()
    return "".join([*shown, _escaped(text[after:])])


def _escaped(text: str) -> str:
    return escape(text, quote=False).replace("&gt;", ">").replace("![", "!&#91;")


def _spent(result: Any) -> str:
    tokens = f"{result.usage.input_tokens} + {result.usage.output_tokens} tokens"
    cost = result.usage.cost_usd
    return f"{result.model} · {tokens}" + ("" if cost is None else f" · ${cost:.6f}")


def _warned(result: Any) -> str:
    return "".join(f"\n\n⚠ {_harmless(str(text))}" for text in result.warnings)


def _shown(value: object) -> str:
    return "unknown" if value is None else str(value)
