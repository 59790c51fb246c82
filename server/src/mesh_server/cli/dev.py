"""`mesh-server dev`: everything for one machine, without a question."""

import asyncio
import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

import click

from mesh_server import profile, telemetry
from mesh_server.app import Services, runner
from mesh_server.asgi import Endpoint
from mesh_server.cli import INTERRUPTED, _options
from mesh_server.db.address import is_postgres
from mesh_server.db.engine import Database
from mesh_server.dev_issuer.issuer import DevIssuer
from mesh_server.dev_issuer.serve import configuration
from mesh_server.dev_issuer.serve import endpoints as dev_issuer_endpoints
from mesh_server.dev_issuer.serve import make as make_dev_issuer
from mesh_server.dev_issuer.settings import PATH
from mesh_server.dev_issuer.settings import load as load_dev_issuer
from mesh_server.errors import MeshError, StartupError
from mesh_server.listen import bind, serve
from mesh_server.proofs import legacy
from mesh_server.proofs.roots import create_root
from mesh_server.settings import Settings, load
from mesh_server.tracing.start import open_tracing
from mesh_server.vault.crypto import create_master_key

PROFILE = "dev"


@click.command()
@_options.config
@_options.address
@click.option("--no-model", is_flag=True, help="Do not fetch the local model now.")
@click.option("--dev-issuer", is_flag=True, help="Serve an OpenID issuer, too, to try logins with.")
def dev(
    config: str | None, data_dir: str | None, host: str | None, port: int | None, no_model: bool, dev_issuer: bool
) -> int:
    """Set up everything for one machine and serve on 127.0.0.1.

    Makes a data folder, a master key, a database, a local account with its token, and a profile for the
    SDK; fetches the default local model where the `local` extra is installed. The next start finds the
    same state.

    With --dev-issuer people can log in, too: a one-time code that appears here stands for a password.
    """
    settings = load({"config": config, "data_dir": data_dir, "host": host, "port": port})
    if not settings.loopback_only:
        raise StartupError(
            "`mesh-server dev` is for this machine only and listens on loopback; use `mesh-server serve`."
        )
    if dev_issuer and settings.issuers:
        raise StartupError(
            f"--dev-issuer is for trying logins without an issuer, and {settings.issuers[0].name} is configured: "
            "leave out the option, or unset AUTH0_DOMAIN, MESH_OIDC_ISSUER and [[issuers]]."
        )
    telemetry.configure("warning" if settings.log_level == "info" else settings.log_level, settings.log_format)
    if settings.legacy_zkp:
        legacy.warn()
    _prepare_folder(settings)
    if is_postgres(settings.database_url):
        asyncio.run(Database.migrate(settings.database_url))
    if not no_model:
        _fetch_model(settings)
    with runner() as loop:
        return loop.run(_dev(settings, with_issuer=dev_issuer))


def _prepare_folder(settings: Settings) -> None:
    """Make the data folder, the root of the proofs and the master key, unless a database without its key is there."""
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
    _make_master_key(settings)
    if settings.zkp_root or settings.zkp_root_file.exists():
        return
    create_root(settings.zkp_root_file)
    _tell("made", f"a root for proofs: {settings.zkp_root_file}")
    if (folder / "mesh.db").exists():
        _tell("note", "what was enrolled under another root must be enrolled again, or put that root back")


def _make_master_key(settings: Settings) -> None:
    folder = settings.data_dir
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
    if settings.chat.local is None or importlib.util.find_spec("xllamacpp") is None:
        return
    from mesh_server.cli.model import fetch  # noqa: PLC0415 - rich and the network only where a model is wanted

    fetch(settings.chat.local)


async def _dev(settings: Settings, *, with_issuer: bool) -> int:
    # The port comes first: it is part of the dev issuer's name.
    sockets = bind(settings.host, settings.port)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{shown}:{sockets[0].getsockname()[1]}"
    beside: list[Endpoint] = []
    try:
        if with_issuer:
            issuer = _make_issuer(settings, url)
            beside = dev_issuer_endpoints(issuer)
            settings = replace(settings, issuers=(configuration(issuer.settings),))
        services = await Services.open(settings, tracing=open_tracing(os.environ))
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    try:
        await _hand_over(services, url)
        await services.background.start()
        interrupted = await serve(
            services.application(beside),
            sockets,
            trusted_proxies=(),
            tls=None,
            on_started=lambda: _introduce(services, url),
        )
    finally:
        for sock in sockets:
            sock.close()
        await services.close()
    return INTERRUPTED if interrupted else 0


def _make_issuer(settings: Settings, url: str) -> DevIssuer:
    made = make_dev_issuer(load_dev_issuer(f"{url}{PATH}", os.environ), settings.data_dir, _show_code)
    _tell("issuer", f"{made.settings.url}   (for development; one-time codes appear here)")
    return made


def _show_code(code: str) -> None:
    click.echo(f"\n  one-time code  {code[:3]} {code[3:]}   for the login page that was just opened\n", err=True)
    sys.stderr.flush()


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
    if services.accounts.issuers.first is not None:
        click.echo(f"  mesh-auth --server {url}", err=True)
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
