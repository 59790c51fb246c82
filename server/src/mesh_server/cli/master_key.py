"""`mesh-server master-key`: change the master key while the server runs."""

import asyncio
from pathlib import Path

import click

from mesh_server.cli import _options
from mesh_server.cli._parts import stored
from mesh_server.db.engine import Database
from mesh_server.errors import StartupError
from mesh_server.settings import Settings, load
from mesh_server.vault.crypto import create_master_key, put_master_key_first
from mesh_server.vault.keyring import Keyring
from mesh_server.vault.master import MasterKeySource
from mesh_server.vault.rotation import Rotation


@click.group()
def master_key() -> None:
    """The key that wraps all others."""


@master_key.command()
@_options.config
@click.option(
    "--to",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Make the new key in this keyring file, where the present one is in none. Stop the server first.",
)
def rotate(config: str | None, data_dir: str | None, to: Path | None) -> None:
    """Put a new master key at the top of the keyring file and wrap everything again under it.

    Running servers go on: they read the file again within two seconds. Broken off, it is gone on with by calling it
    again. Where the database still knows of an earlier key than the first of the keyring, no new key is made.
    """
    settings = load({"config": config, "data_dir": data_dir})
    if to is None:
        asyncio.run(_rotate(settings))
        return
    if not to.exists():
        create_master_key(to)
    asyncio.run(_move(settings, to.absolute()))


async def _rotate(settings: Settings) -> None:
    keyring = Keyring(settings.master)
    async with stored(settings, keyring) as parts:
        rotation = Rotation(parts.database, keyring, parts.audit)
        if await rotation.under_way():
            click.echo("Going on with the rotation that was begun.", err=True)
        elif not settings.master.is_file:
            raise StartupError(
                "The master key is not in a keyring file: give the new key first and the present one after it where "
                "they come from, and call this again; or move to a keyring file with --to FILE."
            )
        else:
            put_master_key_first(settings.master_key_file)
            keyring.refresh()
            await keyring.check(parts.database)
            click.echo(f"Put a new master key at the top of {settings.master_key_file}.", err=True)
        await _run(rotation)
    click.echo(
        "The earlier keys are not needed by this database any more; backups made before still need them.", err=True
    )


async def _move(settings: Settings, to: Path) -> None:
    if settings.master.is_file and settings.master_key_file == to:
        raise StartupError("The master key is in that file already: leave --to out.")
    old = Keyring(settings.master)
    database = await Database.open(settings.database_url)
    try:
        await old.check(database)
    finally:
        await database.close()
    keyring = Keyring(MasterKeySource(file=to))
    keyring.lend(old.masters)
    async with stored(settings, keyring) as parts:
        await _run(Rotation(parts.database, keyring, parts.audit))
    click.echo(f"Set MESH_MASTER_KEY_FILE={to} in place of what was there, then start the server.", err=True)


async def _run(rotation: Rotation) -> None:
    done = await rotation.run()
    left = await rotation.left()
    if left or await rotation.under_way():
        raise StartupError(f"{left} tenant keys are still under an earlier master key: call this again.")
    click.echo(f"Wrapped {done} tenant keys again; nothing is left under an earlier master key.", err=True)
