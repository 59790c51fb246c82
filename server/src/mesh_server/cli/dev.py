"""`mesh-server dev`: everything for one machine, without a question."""

import importlib.util
import sys
from pathlib import Path

import click

from mesh_server import profile, telemetry
from mesh_server.app import Services, runner
from mesh_server.cli import INTERRUPTED, _options
from mesh_server.errors import MeshError, StartupError
from mesh_server.listen import bind, serve
from mesh_server.settings import Settings, load
from mesh_server.vault.crypto import create_master_key

PROFILE = "dev"


@click.command()
@_options.config
@_options.address
@click.option("--no-model", is_flag=True, help="Do not fetch the local model now.")
def dev(config: str | None, data_dir: str | None, host: str | None, port: int | None, no_model: bool) -> int:
    """Set up everything for one machine and serve on 127.0.0.1.

    Makes a data folder, a master key, a database, a local account with its token, and a profile for the
    SDK; fetches the default local model where the `local` extra is installed. The next start finds the
    same state.
    """
    settings = load({"config": config, "data_dir": data_dir, "host": host, "port": port})
    if not settings.loopback_only:
        raise StartupError(
            "`mesh-server dev` is for this machine only and listens on loopback; use `mesh-server serve`."
        )
    telemetry.configure("warning" if settings.log_level == "info" else settings.log_level, settings.log_format)
    _prepare_folder(settings)
    if not no_model:
        _fetch_model(settings)
    with runner() as loop:
        return loop.run(_dev(settings))


def _prepare_folder(settings: Settings) -> None:
    """Make the data folder and the master key, unless a database without its key is there."""
    folder = settings.data_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as problem:
        raise StartupError(
            f"The data folder {folder} can't be written ({problem.strerror}): "
            "mend its permissions or name another one with MESH_DATA_DIR."
        ) from problem
    if not settings.master.is_file or settings.master_key_file.exists():
        return
    if (folder / "mesh.db").exists():
        raise StartupError(
            f"The master key of the database in {folder} is missing: put it back as {settings.master_key_file} "
            "or set MESH_MASTER_KEY. A new one could not open what is stored."
        )
    create_master_key(settings.master_key_file)
    _tell("made", f"a master key: {settings.master_key_file} (keep a copy; without it stored keys are lost)")


def _fetch_model(settings: Settings) -> None:
    if settings.local is None or importlib.util.find_spec("xllamacpp") is None:
        return
    from mesh_server.cli.model import fetch  # noqa: PLC0415 - rich and the network only where a model is wanted

    fetch(settings.local)


async def _dev(settings: Settings) -> int:
    services = await Services.open(settings)
    try:
        sockets = bind(settings.host, settings.port)
        port = int(sockets[0].getsockname()[1])
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"http://{shown}:{port}"
        await _hand_over(services, url)
        await services.background.start()
        interrupted = await serve(
            services.application(),
            sockets,
            trusted_proxies=(),
            tls=None,
            on_started=lambda: _introduce(services, url),
        )
    finally:
        await services.close()
    return INTERRUPTED if interrupted else 0


async def _hand_over(services: Services, url: str) -> None:
    """Leave the SDK a profile with a token that works."""
    owner = await services.accounts.ensure_local_account()
    token = profile.read_token(PROFILE)
    try:
        known = (
            token is not None
            and (await services.accounts.authenticate(f"Bearer {token}".encode(), None)).account_id == owner.account_id
        )
    except MeshError:
        known = False  # of another data folder, or revoked
    if not known:
        profile.write_token(PROFILE, await services.accounts.create_token(owner, name="mesh-server dev"))
    settings = services.settings
    values = {"server_url": url, "server_id": settings.server_id, "default_provider": "local"}
    model = services.chat.local_model()
    if model is not None:
        values["default_model"] = model
    path = profile.write(PROFILE, values)
    _tell("wrote", f"the profile `{PROFILE}` for the SDK: {path}")


def _introduce(services: Services, url: str) -> None:
    settings = services.settings
    _tell("data", str(settings.data_dir))
    model = services.chat.local_model()
    _tell("model", model or "none; `mesh-server model pull` fetches one")
    click.echo(f"\nServing on {url}   (stop with Ctrl-C)\n", err=True)
    click.echo("Try, in another terminal:", err=True)
    token_file = profile.folder() / f"{PROFILE}.token"
    for line in (
        """python -c 'import mesh; print(mesh.chat("Hello, world!"))'""",
        f'curl -s {url}/v1/models -H "Authorization: Bearer $(cat {_quoted(token_file)})"',
        """python -c 'import mesh; mesh.store_key("openai_key", input("OpenAI key: "))'""",
    ):
        click.echo(f"  {line}", err=True)
    sys.stderr.flush()


def _quoted(path: Path) -> str:
    text = str(path)
    return f"'{text}'" if " " in text else text


def _tell(word: str, text: str) -> None:
    click.echo(f"{word:>6}  {text}", err=True)
