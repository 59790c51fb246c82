"""`mesh-server serve`: production, with nothing made up."""

import click

from mesh_server import telemetry
from mesh_server.app import Services, runner
from mesh_server.cli import INTERRUPTED, _options
from mesh_server.errors import StartupError
from mesh_server.listen import bind
from mesh_server.listen import serve as listen
from mesh_server.settings import Settings, load


@click.command()
@_options.config
@_options.address
@click.option("--behind-proxy", is_flag=True, help="A proxy in front of this server ends TLS.")
def serve(config: str | None, data_dir: str | None, host: str | None, port: int | None, behind_proxy: bool) -> int:
    """Serve from an explicit configuration.

    Refuses to start without its master key, without anyone who could log in, and on a network address
    without TLS. `mesh-server doctor` says what is missing.
    """
    settings = load({"config": config, "data_dir": data_dir, "host": host, "port": port})
    check_master_key(settings)
    check_address(settings, behind_proxy=behind_proxy)
    telemetry.configure(settings.log_level, settings.log_format)
    with runner() as loop:
        return loop.run(_serve(settings))


def check_master_key(settings: Settings) -> None:
    """Refuse to start where a master key would have to be made up.

    Raises:
        StartupError: in one sentence.
    """
    if settings.master.is_file and not settings.master_key_file.is_file():
        raise StartupError(
            "There is no master key: set MESH_MASTER_KEY or MESH_MASTER_KEY_FILE, or make one with `mesh-server init`."
        )


def check_address(settings: Settings, *, behind_proxy: bool) -> None:
    """Refuse a configuration that would put secrets on a network in clear text.

    Raises:
        StartupError: in one sentence.
    """
    if not settings.loopback_only and settings.tls is None and not behind_proxy:
        raise StartupError(
            f"{settings.host} can be reached from the network, and there is no TLS: set MESH_TLS_CERT_FILE and "
            "MESH_TLS_KEY_FILE, or say --behind-proxy where a proxy ends TLS."
        )


async def _serve(settings: Settings) -> int:
    services = await Services.open(settings)
    try:
        if not await services.accounts.has_any_token():
            raise StartupError(
                "Nobody could log in: make a token with `mesh-server token create --user NAME`.", exit_status=3
            )
        sockets = bind(settings.host, settings.port)
        await services.background.start()
        interrupted = await listen(
            services.application(),
            sockets,
            trusted_proxies=settings.trusted_proxies,
            tls=settings.tls,
            on_started=lambda: click.echo(f"Serving on {settings.public_url}", err=True),
        )
    finally:
        await services.close()
    return INTERRUPTED if interrupted else 0
