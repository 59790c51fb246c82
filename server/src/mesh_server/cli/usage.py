"""`mesh-server usage`: what everybody spent."""

import asyncio
import csv
import sys

import click
import msgspec

from mesh_server.billing.routes import counted, dimensions, row_of, span
from mesh_server.billing.usage import DIMENSIONS, Question, Summary, Usage
from mesh_server.cli import _options
from mesh_server.cli._parts import stored
from mesh_server.errors import InvalidRequest
from mesh_server.ids import microseconds
from mesh_server.settings import Settings, load

_COLUMNS = ("calls", "failed", "input_tokens", "output_tokens", "cost_usd")


@click.command()
@_options.config
@click.option("--since", help="A day or a moment (UTC); default 30 days ago.")
@click.option("--until", help="The first day or moment after.")
@click.option("--by", default="account,provider,model", show_default=True, help=f"Any of {', '.join(DIMENSIONS)}.")
@click.option("--tenant", help="Only this tenant's.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values, with a line of names.")
def usage(
    config: str | None,
    data_dir: str | None,
    since: str | None,
    until: str | None,
    by: str,
    tenant: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Show what was spent, by account and model: calls, tokens, and dollars."""
    try:
        begins, ends = span(since, until)
        names = dimensions(by)
    except InvalidRequest as problem:
        raise click.UsageError(problem.message) from None
    question = Question(
        since=microseconds(begins), until=microseconds(ends), by=names, tenant_id=tenant, account_id=None
    )
    found = asyncio.run(_summary(load({"config": config, "data_dir": data_dir}), question))
    rows = [msgspec.to_builtins(row_of(names, group)) for group in found.groups]
    if as_json:
        for row in rows:
            click.echo(msgspec.json.encode(row).decode())
    elif as_csv:
        columns = [*names, *counted(found.total)]
        writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        _table(names, rows, found)


async def _summary(settings: Settings, question: Question) -> Summary:
    async with stored(settings) as parts:
        return await Usage(parts.database).summary(question)


def _table(names: tuple[str, ...], rows: list[dict[str, object]], found: Summary) -> None:
    total = {**dict.fromkeys(names, ""), **counted(found.total)}
    lines = [[*names, *_COLUMNS], *([_cell(row.get(name)) for name in (*names, *_COLUMNS)] for row in [*rows, total])]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for line in lines:
        left = [text.ljust(width) for text, width in zip(line[: len(names)], widths, strict=False)]
        right = [text.rjust(width) for text, width in zip(line[len(names) :], widths[len(names) :], strict=True)]
        click.echo("  ".join([*left, *right]).rstrip())
    if found.truncated:
        click.echo("There are more rows; ask for less at once.", err=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.6f}"
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)
