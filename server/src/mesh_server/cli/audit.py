"""`mesh-server audit`: the trail of the whole server."""

import asyncio
from datetime import UTC, datetime

import click

from mesh_server.accounts.trail_routes import as_json
from mesh_server.audit.export import events
from mesh_server.audit.service import Filter
from mesh_server.cli import _options
from mesh_server.cli._parts import stored
from mesh_server.ids import microseconds
from mesh_server.settings import Settings, load


@click.group()
def audit() -> None:
    """Who did what."""


@audit.command()
@_options.config
@click.option("--tenant", help="Only this tenant's events.")
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"]), help="Only events from then on (UTC)."
)
@click.option("--action", help="Only this action, for example key.read.")
def export(
    config: str | None, data_dir: str | None, tenant: str | None, since: datetime | None, action: str | None
) -> None:
    """Print the trail as JSON lines, oldest event first."""
    settings = load({"config": config, "data_dir": data_dir})
    moment = None if since is None else since if since.tzinfo else since.replace(tzinfo=UTC)
    chosen = Filter(action=action, since=None if moment is None else microseconds(moment))
    asyncio.run(_export(settings, tenant, chosen))


async def _export(settings: Settings, tenant: str | None, chosen: Filter) -> None:
    async with stored(settings) as parts:
        async for event in events(parts.audit, tenant, chosen):
            click.echo(as_json(event).decode())
