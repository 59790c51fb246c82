"""`mesh usage`: what was spent, as bars and a table, or for programs."""

import csv
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from mesh._billing import DIMENSIONS
from mesh._display import dollars
from mesh.cli._options import connected, json_option, printable, show_json, table
from mesh.cli._target import server_option
from mesh.client import MeshClient
from mesh.usage import UsageReport

_COUNTERS = (
    *("calls", "failed", "estimated", "unpriced", "input_tokens", "cached_tokens", "cache_write_tokens"),
    *("output_tokens", "thinking_tokens", "total_tokens", "cost_usd"),
)
_SPAN = re.compile(r"([1-9][0-9]{0,3})([hdw])")
#: Lines of the bars.
_HEIGHT = 5


def _when(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """Read a time in the past; days are whole ones of UTC, and `1d` is today."""
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if value is None:
        return None
    if value == "month":
        return today.replace(day=1)
    span = _SPAN.fullmatch(value)
    if span and span[2] == "h":
        return now - timedelta(hours=int(span[1]))
    if span:
        return today - timedelta(days=int(span[1]) * (7 if span[2] == "w" else 1) - 1)
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("write 7d, 24h, month, 2026-11-01 or 2026-11-01T12:00:00Z.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _names(_ctx: click.Context, _param: click.Parameter, value: str) -> list[str]:
    names = [name.strip() for name in value.split(",")]
    wrong = [name for name in names if name not in DIMENSIONS]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is none of {', '.join(DIMENSIONS)}.")
    return list(dict.fromkeys(names))


def _next_name(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return what a shell offers: the names that are not there yet, after those that are."""
    before, comma, begun = incomplete.rpartition(",")
    given = before.split(",")
    return [f"{before}{comma}{name}" for name in DIMENSIONS if name.startswith(begun) and name not in given]


@click.command()
@click.option("--since", metavar="WHEN", callback=_when, help="From when; default: the last 30 days.")
@click.option("--until", metavar="WHEN", callback=_when, help="To when, itself not counted; default: the end of today.")
@click.option(
    "--by",
    metavar="NAMES",
    default="model",
    show_default=True,
    callback=_names,
    shell_complete=_next_name,
    help=f"What the rows are by: {', '.join(DIMENSIONS)}; several with commas.",
)
@click.option("--csv", "as_csv", is_flag=True, help="For spreadsheets, on stdout, with every counter.")
@json_option
@server_option
def usage(
    since: datetime | None, until: datetime | None, by: list[Any], as_csv: bool, as_json: bool, server: str | None
) -> None:
    """Show what you have spent: bars by day, and a table.

    WHEN is 7d (today and the six days before it), 2w, 24h, month (this one), a day such as 2026-11-01, or a time in RFC
    3339. Days are those of UTC. In a pipe there are the rows alone: what they are by, then calls, tokens in, tokens out
    and US dollars.

    \b
    Examples:
      mesh usage
      mesh usage --since month --by day,model
      mesh usage --since 7d --by key --csv > usage.csv
      mesh usage --since 24h --json | jq .total.cost_usd
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other.")
    seen = sys.stdout.isatty() and not (as_csv or as_json)
    with connected(server) as client:
        report = client.get_usage(since, until, by)
        days = _by_day(client, report, since, until) if seen else report
    if as_json:
        show_json(report)
    elif as_csv:
        _write_csv(report)
    else:
        _show(report, days, seen=seen)
    _tell(report)


def _by_day(client: MeshClient, report: UsageReport, since: datetime | None, until: datetime | None) -> UsageReport:
    """Return the same by day alone, for the bars."""
    return report if report.by == ["day"] else client.get_usage(since, until, "day")


def _show(report: UsageReport, days: UsageReport, *, seen: bool) -> None:
    rows = [_row(report, row) for row in report.usage]
    header = (*(name.capitalize() for name in report.by), "Calls", "In", "Out", "Cost")
    if not seen:
        rows = [(*row[:-1], f"{found.get('cost_usd') or 0:.9f}") for row, found in zip(rows, report.usage, strict=True)]
        table(rows, header)
        return
    from rich.console import Console  # noqa: PLC0415 - only where somebody looks

    from mesh.cli import _plot  # noqa: PLC0415 - as above

    console = Console(highlight=False)
    plot = _plot.bars(*_amounts(days), width=console.width, height=_HEIGHT, blocks=_shows_blocks())
    for line in (*plot, "") if plot else ():
        click.echo(line)
    if report.usage:
        total = ("Total", *[""] * (len(report.by) - 1), *_counts(report.total))
        table([*rows, total], header, right=4)


def _amounts(report: UsageReport) -> tuple[list[tuple[str, float]], Callable[[float], str]]:
    """Return what each day cost, or, where nothing has a price, its tokens; and what writes such an amount."""
    priced = any(row.get("cost_usd") for row in report.usage)
    name = "cost_usd" if priced else "total_tokens"
    found = {row.get("day"): row.get(name) or 0 for row in report.usage}
    return [(day, found.get(day, 0)) for day in _days(report)], dollars if priced else "{:,} tokens".format


def _days(report: UsageReport) -> Iterator[str]:
    """Yield every day of a report, those without a call among them."""
    first, end = (datetime.fromisoformat(text).astimezone(UTC) for text in (report.since, report.until))
    last = (end - timedelta(microseconds=1)).date()
    for number in range((last - first.date()).days + 1):
        yield f"{first.date() + timedelta(days=number)}"


def _row(report: UsageReport, row: Any) -> tuple[str, ...]:
    return (*(_named(row.get(name), name) for name in report.by), *_counts(row))


def _named(value: Any, name: str) -> str:
    if value is None:
        return "none of yours" if name == "key" and sys.stdout.isatty() else ""
    return str(value)


def _counts(row: Any) -> tuple[str, ...]:
    tokens = (row.get(name, 0) for name in ("calls", "input_tokens", "output_tokens"))
    shown = sys.stdout.isatty()
    cost = row.get("cost_usd") or (None if row.get("unpriced") else 0)
    return (*(f"{count:,}" if shown else f"{count}" for count in tokens), dollars(cost))


def _write_csv(report: UsageReport) -> None:
    clean = printable if sys.stdout.isatty() else str
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow([*report.by, *_COUNTERS])
    for row in report.usage:
        cells = [row.get(name, "") for name in (*report.by, *_COUNTERS[:-1])]
        out.writerow([*("" if cell is None else clean(str(cell)) for cell in cells), f"{row.get('cost_usd') or 0:.9f}"])


def _tell(report: UsageReport) -> None:
    """Say what the numbers leave out."""
    total = report.total
    notes = {
        "failed": "ended in an error",
        "estimated": "broke off or were left: their tokens are estimated",
        "unpriced": "were of models without a known price: their cost is not in the sum",
    }
    if not total.get("calls"):
        click.echo("Nothing was spent in that time.", err=True)
    for name, text in notes.items():
        if total.get(name):
            click.echo(f"{total[name]:,} of {total.calls:,} calls {text}.", err=True)
    if report.get("truncated"):
        click.echo("There are more rows than the server tells at once: name a shorter time, or fewer NAMES.", err=True)


def _shows_blocks() -> bool:
    try:
        "▁█".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True
