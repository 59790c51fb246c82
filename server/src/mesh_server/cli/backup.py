"""`mesh-server backup`: one file of everything that is stored, while the server runs."""

import asyncio
from pathlib import Path

import click

from mesh_server import backup as files
from mesh_server.audit.models import SYSTEM, Operator
from mesh_server.cli import _options
from mesh_server.cli._parts import stored
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.errors import StartupError
from mesh_server.settings import Settings, load


@click.command()
@_options.config
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(config: str | None, data_dir: str | None, file: Path) -> None:
    """Write everything that is stored to FILE, which must not be there yet.

    What is sealed stays sealed: the master key and the root of the proofs are not in it. Keep copies of those
    elsewhere.
    """
    if file.exists():
        raise StartupError(f"{file} is there already; a backup overwrites nothing.")
    summary = asyncio.run(_backup(load({"config": config, "data_dir": data_dir}), file.absolute()))
    click.echo(f"Wrote {file}: {sum(summary.counts.values())} rows, SHA-256 {summary.sha256.hex()}.", err=True)
    click.echo("It opens with this server's master key alone, which is not in it.", err=True)


async def _backup(settings: Settings, file: Path) -> files.Summary:
    async with stored(settings) as parts:
        await parts.audit.check_head()  # an older database is not what anybody wants to keep
        summary = await files.write(parts.database, file, parts.keyring.hasher("backup"))

        async def tell(tx: Transaction) -> None:
            details = {"sha256": summary.sha256.hex()}
            await parts.audit.record(tx, Operator(), "backup.made", SYSTEM, details=details)

        await parts.database.write(tell, ServerWork.BACKUP)
        return summary
