"""`mesh-server verify`: opens everything that is stored and checks the audit trail."""

import asyncio

import click

from mesh_server.cli import FAILED, _options
from mesh_server.cli._parts import Verdict, examine, stored
from mesh_server.settings import Settings, load


@click.command()
@_options.config
@click.option(
    "--accept-older",
    is_flag=True,
    help="The database was put back on purpose: take its own newest audit checkpoint as the newest.",
)
def verify(config: str | None, data_dir: str | None, accept_older: bool) -> int:
    """Open every stored row, check every link of the audit trail, and name what is not as this server left it.

    The server may be running meanwhile. Nothing is changed.
    """
    verdict = asyncio.run(_verify(load({"config": config, "data_dir": data_dir}), accept_older=accept_older))
    return report(verdict)


def report(verdict: Verdict) -> int:
    """Print what was found and return the exit status."""
    for problem in verdict.problems:
        click.echo(f"{problem.kind:>9}  {problem.where}: {problem.what}")
    looked = f"{verdict.rows} rows, {verdict.events} audit events, {verdict.checkpoints} checkpoints"
    if verdict.problems:
        click.echo(f"{len(verdict.problems)} problems in {looked}.", err=True)
        return FAILED
    click.echo(f"All is as this server left it: {looked}.", err=True)
    return 0


async def _verify(settings: Settings, *, accept_older: bool) -> Verdict:
    async with stored(settings) as parts:
        if accept_older:
            await parts.audit.accept()
        return await examine(parts)
