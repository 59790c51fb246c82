"""Puts the dev issuer together: beside the dev server, or alone."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import uvicorn

from mesh_server.accounts.oidc.models import Issuer
from mesh_server.asgi import Endpoint
from mesh_server.dev_issuer.issuer import DevIssuer
from mesh_server.dev_issuer.page_routes import PageRoutes
from mesh_server.dev_issuer.routes import IssuerRoutes
from mesh_server.dev_issuer.settings import AUDIENCE, CLIENT_ID, PATH, DevIssuerSettings
from mesh_server.dev_issuer.store import FILE, Store
from mesh_server.guard import Guard
from mesh_server.listen import bind
from mesh_server.protocol import Protocol
from mesh_server.settings import LOOPBACK_NAMES


class _Server(uvicorn.Server):
    """A server beside something else, which keeps the signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections, and tell it."""
        await super().startup(sockets)
        self.accepting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def make(settings: DevIssuerSettings, folder: Path, show: Callable[[str], None]) -> DevIssuer:
    """Return the issuer whose state is in a folder.

    Args:
        settings: what it is.
        folder: of its state.
        show: called with each one-time code, for a person to read.

    Raises:
        StartupError: if its state can't be read.
    """
    return DevIssuer(settings, Store(folder / FILE), show)


def endpoints(issuer: DevIssuer) -> list[Endpoint]:
    """Return what the issuer serves, under `/dev-issuer`."""
    return [*IssuerRoutes(issuer).endpoints(), *PageRoutes(issuer).endpoints()]


def configuration(settings: DevIssuerSettings) -> Issuer:
    """Return the issuer as the server beside it is told of it."""
    return Issuer(
        url=settings.url,
        client_id=CLIENT_ID,
        client_secret=None,
        audience=AUDIENCE,
        tenant="default",
        flows=settings.flows,
    )


def application(issuer: DevIssuer) -> Guard:
    """Return the issuer alone as an ASGI application."""
    return Guard(endpoints(issuer), None, allowed_hosts=LOOPBACK_NAMES)


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    show: Callable[[str], None],
    *,
    port: int = 0,
    settings: Callable[[str], DevIssuerSettings] = lambda url: DevIssuerSettings(url=url),
) -> AsyncIterator[DevIssuer]:
    """Serve an issuer alone on 127.0.0.1, for as long as the context lasts.

    Args:
        folder: of its state.
        show: called with each one-time code.
        port: 0 for a free one.
        settings: makes its settings from its URL.
    """
    sockets = bind("127.0.0.1", port)
    try:
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}{PATH}"
        issuer = make(settings(url), folder, show)
        config = uvicorn.Config(
            application(issuer), http=Protocol, ws="none", lifespan="off", log_config=None, access_log=False
        )
        server = _Server(config)
        running = asyncio.create_task(server.serve(sockets))
        await server.accepting.wait()
        try:
            yield issuer
        finally:
            server.should_exit = True
            await running
    finally:
        for sock in sockets:
            sock.close()
