"""`mesh keys list` and `versions`."""

import sys

import click

from mesh.cli import _options
from mesh.cli._options import connected, json_option, owner_option, show_json, table, user_id_option
from mesh.cli._target import server_option


@click.command("list")
@click.argument("prefix", required=False)
@click.option("--tag", metavar="NAME:VALUE", callback=_options.tag_pair, help="Only keys with this tag.")
@user_id_option
@owner_option
@json_option
@server_option
def list_(
    prefix: str | None,
    tag: tuple[str, str] | None,
    user_id: str | None,
    owner: str | None,
    as_json: bool,
    server: str | None,
) -> None:
    """List keys without their values; with PREFIX, those whose names begin with it. In a pipe, one name a line.

    \b
    Examples:
      mesh keys list
      mesh keys list stripe/ --tag env:prod --json
    """
    with connected(server) as client:
        found = client.find_keys(user_id, prefix=prefix, tag=tag, owner=owner)
    if as_json:
        show_json([dict(key) for key in found])
    elif sys.stdout.isatty():
        table(
            [
                (
                    key.name,
                    str(key.version),
                    key.updated_at[:16].replace("T", " "),
                    (key.expires_at or "")[:16].replace("T", " "),
                    " ".join(f"{name}:{value}" for name, value in key.tags.items()),
                    key.note or "",
                )
                for key in found
            ],
            ("Name", "Version", "Changed (UTC)", "Expires", "Tags", "Note"),
        )
    else:
        for key in found:
            click.echo(key.name)


@click.command()
@click.argument("name")
@user_id_option
@owner_option
@json_option
@server_option
def versions(name: str, user_id: str | None, owner: str | None, as_json: bool, server: str | None) -> None:
    """List the versions of NAME, without values. `mesh keys rollback` goes back to one.

    \b
    Example:
      mesh keys versions openai_key
    """
    with connected(server) as client:
        found = client.key_versions(name, user_id, owner=owner)
    if as_json:
        show_json([dict(version) for version in found])
        return
    rows = [
        (
            str(version.version),
            version.created_at[:16].replace("T", " "),
            "current" if version.current else "destroyed" if version.destroyed_at else "",
        )
        for version in found
    ]
    table(rows, ("Version", "Stored (UTC)", ""))
