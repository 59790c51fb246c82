"""`mesh-server migrate`: bring the database to this version's schema."""

import asyncio

import click

from mesh_server.cli import _options
from mesh_server.db.address import is_sqlite
from mesh_server.db.engine import Database
from mesh_server.settings import load


@click.command()
@_options.config
@click.option("--grant-to", metavar="ROLE", help="PostgreSQL: let this role read and change rows, and nothing else.")
def migrate(config: str | None, data_dir: str | None, grant_to: str | None) -> None:
    """Apply the database's migrations; on SQLite every start does it, too.

    On PostgreSQL the role of MESH_DATABASE_URL becomes the owner of the tables. Let the server itself log in as
    another role, which --grant-to names.
    """
    settings = load({"config": config, "data_dir": data_dir})
    if is_sqlite(settings.database_url):
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    revision = asyncio.run(Database.migrate(settings.database_url, grant_to=grant_to))
    click.echo(f"The database is at revision {revision}.")
