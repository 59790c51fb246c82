"""`mesh budget`: what may be spent, and what is left."""

import sys
from datetime import UTC, datetime

import click

from mesh._display import dollars
from mesh.cli._options import connected, json_option, show_json, table
from mesh.cli._target import server_option
from mesh.usage import BudgetLimit

_HEADER = ("For", "Limit", "Used", "Held", "Left", "Resets (UTC)")


@click.command()
@json_option
@server_option
def budget(as_json: bool, server: str | None) -> None:
    """Show your limits: what is used of them, set aside for calls that run, and left, and when they reset.

    Calls beyond a hard limit are refused; a soft one only counts. In a pipe there are rows alone: scope, name, unit,
    period, hard or soft, limit, used, held, left, reset.

    \b
    Examples:
      mesh budget
      mesh budget --json | jq .left_usd
    """
    with connected(server) as client:
        found = client.get_budget()
    if as_json:
        show_json(found)
        return
    if sys.stdout.isatty():
        table([_shown(limit) for limit in found.budgets], _HEADER, right=5)
    else:
        table([_plain(limit) for limit in found.budgets], _HEADER)
    if not found.budgets:
        click.echo("Nothing limits what you spend.", err=True)


def _shown(limit: BudgetLimit) -> tuple[str, ...]:
    who = " ".join(part for part in (limit.scope, limit.subject) if part)
    what = _amount(limit, "limit") + ("" if limit.unit == "usd" else f" {limit.unit}")
    period = "in all" if limit.period == "total" else f"a {limit.period}"
    share = f" ({limit.used / limit.limit:.0%})" if limit.limit else ""
    resets = "never" if limit.resets_at is None else f"{datetime.fromisoformat(limit.resets_at).astimezone(UTC):%F %R}"
    used, held, left = (_amount(limit, name) for name in ("used", "held", "left"))
    return (who, f"{what} {period}" + ("" if limit.hard else ", soft"), used + share, held, left, resets)


def _amount(limit: BudgetLimit, name: str) -> str:
    return dollars(limit[name]) if limit.unit == "usd" else f"{limit[name]:,}"


def _plain(limit: BudgetLimit) -> tuple[str, ...]:
    amounts = (limit.limit, limit.used, limit.held, limit.left)
    shown = (f"{amount:.9f}" if limit.unit == "usd" else f"{amount}" for amount in amounts)
    kind = "hard" if limit.hard else "soft"
    return (limit.scope, limit.subject or "", limit.unit, limit.period, kind, *shown, limit.resets_at or "")
