"""`mesh doctor`: does everything work, and if not, what to do."""

import dataclasses
import os

import click

from mesh import _doctor
from mesh._plan import drive
from mesh._send import Ready
from mesh._transport import HTTPTransport
from mesh.auth import checks
from mesh.cli._options import json_option, show_json
from mesh.cli._run import FAILED
from mesh.cli._target import login_source, server_option, target
from mesh.cli.mesh_auth_doctor import show


@click.command()
@json_option
@server_option
def doctor(as_json: bool, server: str | None) -> int:
    """Check server, login, models, vault and budget, and say what to do. Changes nothing.

    It tells your account's id, too, by which others share keys with you. What a login needs is checked by
    `mesh-auth doctor`.

    Exit status: 0 if nothing is wrong; else 1.

    \b
    Examples:
      mesh doctor
      mesh doctor --server https://mesh.example.com --json
    """
    found = target(server)
    ready = Ready(found.config, found.credentials())
    transport = HTTPTransport()
    try:
        results = drive(_doctor.all_of(ready, logged_in=login_source(found.config) is not None), transport)
    finally:
        transport.close()
    results += [checks.files(found.config.folder, found.store()), checks.proxy(os.environ, found.url)]
    if as_json:
        show_json([dataclasses.asdict(result) for result in results])
    else:
        for result in results:
            show(result)
    return FAILED if any(result.verdict == "bad" for result in results) else 0
