"""`mesh keys share`, `unshare` and `shares`."""

from datetime import datetime

import click

from mesh.cli import _options
from mesh.cli._options import connected, json_option, show_json, table, user_id_option
from mesh.cli._target import server_option

_ACTIONS = ("chat", "read", "verify", "write")


@click.command()
@click.argument("pattern")
@click.option("--with", "grantee", required=True, metavar="ID", help="An account's or a token's id, in your tenant.")
@click.option("--allow", "actions", multiple=True, required=True, type=click.Choice(_ACTIONS), help="Can be repeated.")
@click.option("--expires", metavar="TIME", callback=_options.moment, help="90d, 12h, 2030-01-31 or RFC 3339.")
@user_id_option
@json_option
@server_option
def share(
    pattern: str,
    grantee: str,
    actions: tuple[str, ...],
    expires: datetime | None,
    user_id: str | None,
    as_json: bool,
    server: str | None,
) -> None:
    """Share the key PATTERN, or with a `*` at its end all keys whose names begin so.

    `chat` lets somebody call a provider with the key without ever seeing it. Prints the share's id.

    \b
    Examples:
      mesh keys share openai_key --with 01a2… --allow chat
      mesh keys share 'team/*' --with 01a2… --allow read --allow write --expires 90d
    """
    with connected(server) as client:
        grant = client.share_keys(pattern, grantee, actions, user_id=user_id, expires_at=expires)
    if as_json:
        show_json(dict(grant))
    else:
        click.echo(f"{grant.grantee} may {', '.join(grant.actions)}: {pattern}. Take it back by this id:", err=True)
        click.echo(grant.id)


@click.command()
@click.argument("grant_id", metavar="ID")
@server_option
def unshare(grant_id: str, server: str | None) -> None:
    """Take the share ID back, at once. Who read a key may have copied it: store a new value then.

    \b
    Example:
      mesh keys unshare 01a2…
    """
    with connected(server) as client:
        client.unshare_keys(grant_id)
    click.echo("Taken back.", err=True)


@click.command()
@click.option("--received", is_flag=True, help="What others share with you.")
@json_option
@server_option
def shares(received: bool, as_json: bool, server: str | None) -> None:
    """List what you share; with --received, what others share with you.

    \b
    Example:
      mesh keys shares --received
    """
    with connected(server) as client:
        found = client.list_grants("received" if received else "given")
    if as_json:
        show_json([dict(grant) for grant in found])
        return
    rows = [
        (
            grant.id,
            grant.pattern,
            grant.owner if received else grant.grantee,
            " ".join(grant.actions),
            (grant.expires_at or "")[:16].replace("T", " "),
        )
        for grant in found
    ]
    table(rows, ("Id", "Keys", "From" if received else "With", "May", "Expires"))
