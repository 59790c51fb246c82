"""`mesh-server migrate`: bring the database to this version's schema."""

import asyncio

import click

from mesh_server.cli import _options
from mesh_server.db.engine import Database
from mesh_server.settings import load


@click.command()
@_options.config
def migrate(config: str | None, data_dir: str | None) -> None:
    """Apply the database's migrations; on SQLite every start does it, too."""
    settings = load({"config": config, "data_dir": data_dir})
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    revision = asyncio.run(_migrate(settings.database_url))
    click.echo(f"The database is at revision {revision}.")


async def _migrate(url: str) -> str:
    database = await Database.open(url)
    try:
        return database.revision
    finally:
        await database.close()
