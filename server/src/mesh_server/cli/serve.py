"""`mesh-server serve`: production, with nothing made up."""

import os
import socket
from collections.abc import Callable

import click

from mesh_server import telemetry
from mesh_server.app import Services, runner
from mesh_server.cli import INTERRUPTED, _options
from mesh_server.db.address import is_postgres
from mesh_server.errors import MeshError, StartupError
from mesh_server.listen import bind
from mesh_server.listen import serve as listen
from mesh_server.metrics.shared import Shared
from mesh_server.proofs import legacy
from mesh_server.proofs.roots import Roots
from mesh_server.settings import MOST_WORKERS, Settings, load
from mesh_server.tracing.start import open_tracing
from mesh_server.workers import Worker, Workers
from mesh_server.workers import check as check_workers


@click.command()
@_options.config
@_options.address
@click.option("--behind-proxy", is_flag=True, help="A proxy in front of this server ends TLS.")
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS), help="Processes that serve; needs PostgreSQL.")
def serve(
    config: str | None,
    data_dir: str | None,
    host: str | None,
    port: int | None,
    behind_proxy: bool,
    workers: int | None,
) -> int:
    """Serve from an explicit configuration.

    Refuses to start without its master key and the root of its proofs, without anyone who could log in, and on a
    network address without TLS. `mesh-server doctor` says what is missing.
    """
    settings = load({"config": config, "data_dir": data_dir, "host": host, "port": port, "workers": workers})
    check_master_key(settings)
    Roots.load(settings.zkp_root, settings.zkp_root_file)
    check_address(settings, behind_proxy=behind_proxy)
    check_workers(settings.workers, networked=is_postgres(settings.database_url))
    telemetry.configure(settings.log_level, settings.log_format)
    if settings.legacy_zkp:
        legacy.warn()
    if settings.workers == 1:
        with runner() as loop:
            return loop.run(_serve(settings, None, _say(settings), None, behind_proxy=behind_proxy))
    sockets = bind(settings.host, settings.port)
    try:
        work = _worker(settings, sockets, behind_proxy=behind_proxy)
        return Workers(settings.workers, work, _say(settings)).run()
    finally:
        for sock in sockets:
            sock.close()


def _say(settings: Settings) -> Callable[[], None]:
    return lambda: click.echo(f"Serving on {settings.public_url}", err=True)


def _worker(settings: Settings, sockets: list[socket.socket], *, behind_proxy: bool) -> Worker:
    """Return what each worker does with the sockets, and the memory for metrics, that it inherits."""
    shared = Shared(settings.workers)

    def work(ready: Callable[[], None], parent: int, number: int) -> int:
        serving = _serve(settings, sockets, ready, parent, shared, number, behind_proxy=behind_proxy)
        try:
            with runner() as loop:
                return loop.run(serving)
        except (StartupError, MeshError) as problem:
            click.echo(f"mesh-server: {problem.message}", err=True)
            return problem.exit_status if isinstance(problem, StartupError) else 1

    return work


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


async def _serve(
    settings: Settings,
    sockets: list[socket.socket] | None,
    on_started: Callable[[], None],
    parent: int | None,
    shared: Shared | None = None,
    number: int = 0,
    *,
    behind_proxy: bool,
) -> int:
    tracing = open_tracing(os.environ)
    services = await Services.open(settings, shared=shared, index=number, tracing=tracing)
    try:
        if not settings.issuers and not await services.accounts.has_any_token():
            raise StartupError(
                "Nobody could log in: set an issuer (AUTH0_DOMAIN or MESH_OIDC_ISSUER), or make a token with "
                "`mesh-server token create --user NAME`.",
                exit_status=3,
            )
        sockets = sockets or bind(settings.host, settings.port)
        await services.background.start()
        interrupted = await listen(
            services.application(behind_proxy=behind_proxy),
            sockets,
            trusted_proxies=settings.trusted_proxies,
            tls=settings.tls,
            on_started=on_started,
            parent=parent,
        )
    finally:
        await services.close()
    return INTERRUPTED if interrupted else 0
