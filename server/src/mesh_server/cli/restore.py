"""`mesh-server restore`: put a backup into a database."""

import asyncio
import tempfile
from pathlib import Path

import click

from mesh_server import backup as files
from mesh_server.audit.models import SYSTEM, Operator
from mesh_server.cli import _options
from mesh_server.cli._parts import Verdict, examine, stored
from mesh_server.cli.verify import report
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import ServerWork
from mesh_server.errors import MeshError, StartupError
from mesh_server.ids import moment
from mesh_server.settings import Settings, load
from mesh_server.vault.crypto import equal
from mesh_server.vault.keyring import Keyring


@click.command()
@_options.config
@click.option("--force", is_flag=True, help="Replace a database that is in use.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def restore(config: str | None, data_dir: str | None, force: bool, file: Path) -> int:
    """Put the backup FILE into the configured database, all of it or nothing, and verify it.

    The backup may come from another kind of database than the one it goes into. Its master key must be in place.
    Stop the server first.
    """
    settings = load({"config": config, "data_dir": data_dir})
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return report(asyncio.run(_restore(settings, file.absolute(), force=force)))


async def _restore(settings: Settings, file: Path, *, force: bool) -> Verdict:
    summary = files.examine(file)
    await _try_key(settings, file, summary)
    database = await Database.open(settings.database_url)
    try:
        if summary.manifest.revision > database.revision:
            raise StartupError(
                f"The backup is of a newer Mesh (revision {summary.manifest.revision}): install that version first."
            )
        count = await files.fill(database, file, force=force)
    finally:
        await database.close()
    click.echo(f"Put {count} rows back, as they were at {_when(summary)}.", err=True)
    async with stored(settings) as parts:

        async def tell(tx: Transaction) -> None:
            details = {"sha256": summary.sha256.hex()}
            await parts.audit.record(tx, Operator(), "backup.restored", SYSTEM, details=details)

        await parts.database.write(tell, ServerWork.RESTORE)
        await parts.audit.checkpoint()
        await parts.audit.accept()
        return await examine(parts)


async def _try_key(settings: Settings, file: Path, summary: files.Summary) -> None:
    """Try the master key on a scratch copy of what it wraps, before anything is replaced."""
    with tempfile.TemporaryDirectory(prefix="mesh-restore-") as folder:
        scratch = await Database.open(f"sqlite:///{Path(folder) / 'scratch.db'}")
        try:
            await files.fill(scratch, file, wanted=files.KEY_TABLES)
            keyring = Keyring(settings.master)
            await keyring.check(scratch)
        except (MeshError, StartupError) as problem:
            raise StartupError(f"The master key does not open this backup: {problem.message}") from problem
        finally:
            await scratch.close()
    if not equal(summary.mac, keyring.hasher("backup")(summary.sha256)):
        raise StartupError(f"The backup {file} was changed: its signature is not that of the server it comes from.")


def _when(summary: files.Summary) -> str:
    return f"{moment(summary.manifest.created_at):%Y-%m-%d %H:%M:%S} UTC"
