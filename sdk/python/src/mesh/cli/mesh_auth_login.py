"""`mesh-auth login`."""

import os
from datetime import datetime

import click
from rich.text import Text

from mesh._config import HOSTED_URL
from mesh._plan import Plan, drive
from mesh._transport import HTTPTransport
from mesh.auth import discovery, flows, profile
from mesh.auth.logins import Login
from mesh.auth.ports import callback_ports
from mesh.auth.terminal import interactive, unattended
from mesh.cli._run import console
from mesh.cli._screen import RichScreen
from mesh.cli._target import Target, server_option, target
from mesh.errors import local_error


@click.command()
@click.option("--headless", is_flag=True, help="Show an address and a code only; open no browser, listen on no port.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port that a browser comes back to, and no other.")
@server_option
def login(headless: bool, port: int | None, server: str | None) -> None:
    """Log in to a server, and remember it.

    The login is kept for this user on this machine and renewed by itself; programs need no token in their code.
    """
    if unattended():
        raise local_error("not_logged_in", "A login needs a person, and this is CI: nobody would come.")
    found = target(server, may_ask=True)
    screen = RichScreen(found.url, console(), opens=interactive() and not headless)
    if not found.config.agreed and not screen.ask(
        f"No server is configured. Log in at {HOSTED_URL}? Set MESH_API_URL for your own."
    ):
        raise local_error("server_not_configured", "No server is configured.")
    transport = HTTPTransport()
    try:
        got = drive(_log_in(found, screen, headless=headless, port=port), transport)
    finally:
        transport.close()
    _tell(found, got)


def _log_in(found: Target, screen: RichScreen, *, headless: bool, port: int | None) -> Plan[Login]:
    ports = callback_ports(os.environ, port)
    settings = yield from discovery.discover(found.url, found.overrides)
    got = yield from flows.log_in(settings, screen, ports, headless=headless)
    yield from found.credentials().keep(got)
    profile.remember(found.config.folder, found.url)
    return got


def _tell(found: Target, got: Login) -> None:
    out = console()
    until = datetime.fromtimestamp(got.expires_at).astimezone().strftime("%Y-%m-%d %H:%M")
    out.print(Text.assemble(("Logged in", "bold green"), f" as {got.name or got.subject or 'you'} at {found.url}."))
    if got.refresh_token is not None:
        out.print("The login renews itself; `mesh-auth logout` ends it.")
    else:
        out.print(f"It ends at {until}: the issuer gave no refresh token. `mesh-auth doctor` says what to allow there.")
    if found.config.token is not None:
        out.print("MESH_AUTH_TOKEN is set, and wins over this login.", style="yellow")
