"""`mesh-auth doctor`."""

import os

import click
from rich.text import Text

from mesh._plan import drive
from mesh._transport import HTTPTransport
from mesh.auth import checks, issuer_checks
from mesh.auth.checks import Check
from mesh.auth.ports import callback_ports
from mesh.cli._run import FAILED, console
from mesh.cli._target import server_option, target

_MARKS = {"good": ("✓", "green"), "note": ("•", "yellow"), "bad": ("✗", "bold red")}


@click.command()
@server_option
def doctor(server: str | None) -> int:
    """Check everything that a login needs, and say what to do. Changes nothing."""
    found = target(server)
    store = found.store()
    transport = HTTPTransport()
    try:
        results = drive(issuer_checks.all_of(found.url, found.overrides), transport)
    finally:
        transport.close()
    results += [
        checks.ports(callback_ports(os.environ)),
        checks.keyring(),
        checks.files(found.config.folder, store),
        checks.stored(store),
        checks.proxy(os.environ, found.url),
    ]
    for result in results:
        show(result)
    return FAILED if any(result.verdict == "bad" for result in results) else 0


def show(result: Check) -> None:
    """Show a finding, and what to do."""
    mark, style = _MARKS[result.verdict]
    out = console()
    out.print(Text.assemble((f"{mark} ", style), (f"{result.name}: ", "bold"), result.text))
    if result.step:
        out.print(Text(f"    → {result.step}"))
