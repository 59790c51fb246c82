"""`mesh-server init`: a configuration to start from."""

from importlib.resources import files
from pathlib import Path

import click

from mesh_server.errors import StartupError
from mesh_server.profile import write_private
from mesh_server.proofs.roots import create_root
from mesh_server.settings import CONFIG_FILE, Settings, load
from mesh_server.vault.crypto import create_master_key


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path(CONFIG_FILE))
@click.option("--data-dir", metavar="DIR", help="Folder of the database and the keys.")
def init(path: Path, data_dir: str | None) -> None:
    """Write a commented configuration to PATH; make a master key and a root of the proofs where there is none."""
    if path.exists():
        raise StartupError(f"{path} is there already; delete it first or name another file.")
    settings = load({"data_dir": data_dir})
    text = files("mesh_server.cli").joinpath("mesh-server.toml").read_text("utf-8")
    write_private(path, text.replace("@DATA_DIR@", str(settings.data_dir).replace("\\", "/")))
    click.echo(f"Wrote {path}.")
    _make_keys(settings)
    click.echo("Next: set an issuer for logins, or make a token with `mesh-server token create --user YOU`.")
    click.echo("Then: `mesh-server doctor` and `mesh-server serve`.")


def _make_keys(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise StartupError(f"The data folder {settings.data_dir} can't be made: {problem.strerror}.") from problem
    if not settings.master_key and not settings.master_key_file.exists():
        create_master_key(settings.master_key_file)
        click.echo(f"Made a master key: {settings.master_key_file}. Keep a copy in a safe place.")
    if not settings.zkp_root and not settings.zkp_root_file.exists():
        create_root(settings.zkp_root_file)
        click.echo(f"Made a root for proofs: {settings.zkp_root_file}. Keep a copy apart from the database's.")
