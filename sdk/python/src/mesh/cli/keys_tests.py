"""`mesh keys test`: does the provider take a stored key?"""

import click

from mesh.cli._options import connected, json_option, owner_option, show_json
from mesh.cli._run import DONE, FAILED
from mesh.cli._target import server_option
from mesh.client import MeshClient


@click.command()
@click.argument("name")
@click.option("--provider", help="Who is asked; default: the one whose keys have this name.")
@owner_option
@json_option
@server_option
def test(name: str, provider: str | None, owner: str | None, as_json: bool, server: str | None) -> int:
    """Let the server ask the provider whether it takes the key NAME. That costs nothing.

    Exit status: 0 it works; 1 it was refused, or the provider can't tell.

    \b
    Examples:
      mesh keys test openai_key
      mesh keys test team/groq --provider groq
    """
    with connected(server) as client:
        return tested(client, name, provider, owner, as_json=as_json)


def tested(client: MeshClient, name: str, provider: str | None, owner: str | None, *, as_json: bool) -> int:
    """Test a key, show what came of it, and return the exit status."""
    found = client.test_key(name, provider=provider, owner=owner)
    if as_json:
        show_json(dict(found))
    else:
        click.echo(f"{found.result}: {found.message}")
    return DONE if found.result == "works" else FAILED
