"""What notebooks show of results: nothing in it runs, and nothing is loaded from anywhere."""

import re
from html import escape
from typing import Any

#: Fenced code, and code within a line, as CommonMark has them (0.31, sections 4.5 and 6.1); in doubt it is none.
_CODE = re.compile(
    r"(^ {0,3}(?P<fence>`{3,}|~{3,})[^`\n]*\n(?:.*?^ {0,3}(?P=fence)[`~]*[ \t]*$|.*\Z)|(?<![`\\])`(?!`)[^`\n]+`(?!`))",
    re.DOTALL | re.MULTILINE,
)

#: Rows of usage that a notebook shows; the others are in the result.
_MOST_ROWS = 40


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


def usage_report(report: Any) -> str:
    """Return what was spent as a table in HTML, the total last."""
    by = [name for name in report.get("by") or () if any(name in row for row in report.usage)]
    rows = [[_shown(row.get(name)) for name in by] + _counts(row) for row in report.usage[:_MOST_ROWS]]
    if len(report.usage) > _MOST_ROWS or report.get("truncated"):
        rows.append(["…"] + [""] * (len(by) + 3))
    last = ["total", *[""] * (len(by) - 1)] if by else []
    return _table([*by, "calls", "input tokens", "output tokens", "cost"], [*rows, [*last, *_counts(report.total)]])


def budget(found: Any) -> str:
    """Return what may be spent as a table in HTML."""
    rows = [
        [
            " ".join(str(part) for part in (limit.scope, limit.subject) if part),
            f"{limit.unit} a {limit.period}" if limit.period != "total" else f"{limit.unit} in all",
            *(_amount(limit.unit, limit[name]) for name in ("limit", "used", "held", "left")),
            str(limit.resets_at or "never"),
        ]
        for limit in found.budgets
    ]
    return _table(["for", "what", "limit", "used", "held", "left", "resets"], rows)


def dollars(usd: float | None) -> str:
    """Return an amount for people: to the cent from a dollar on, to a millionth below."""
    if usd is None:
        return "unknown"
    if usd == 0 or abs(usd) >= 1:
        return f"${usd:,.2f}"
    if abs(usd) < 0.000001:
        return "<$0.000001"
    whole, _, part = f"{usd:.6f}".partition(".")
    return f"${whole}.{part.rstrip('0'):0<2}"


def _amount(unit: str, value: float) -> str:
    return dollars(value) if unit == "usd" else f"{value:,}"


def _counts(counts: Any) -> list[str]:
    tokens = (f"{counts.get(name, 0):,}" for name in ("calls", "input_tokens", "output_tokens"))
    return [*tokens, dollars(counts.get("cost_usd"))]


def _table(header: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


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
