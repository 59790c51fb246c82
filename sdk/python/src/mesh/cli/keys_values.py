"""`mesh keys set`, `get`, `rm`, `restore` and `rollback`."""

import re
import sys
from datetime import datetime
from pathlib import Path

import click

from mesh.cli import _options
from mesh.cli._options import connected, json_option, owner_option, show_json, user_id_option
from mesh.cli._run import tell
from mesh.cli._target import server_option
from mesh.cli._value import taken
from mesh.cli.keys_tests import tested
from mesh.client import MeshClient
from mesh.errors import MeshError, NotFoundError
from mesh.keys.cache import StaleBytes, StaleText

#: Names that look like a provider's key, for which a test is offered.
_PROVIDER_KEY = re.compile(r"[a-z0-9]+_(api_)?key", re.IGNORECASE)


@click.command("set")
@click.argument("name")
@click.argument("value", required=False)
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="All of this file.")
@click.option("--env", "variable", metavar="VAR", help="Take the value from this environment variable.")
@click.option("--binary", is_flag=True, help="The value is bytes; default: text where it is UTF-8.")
@click.option("--tag", "tags", multiple=True, metavar="NAME:VALUE", callback=_options.tag_pair, help="Can be repeated.")
@click.option("--note", help="For people.")
@click.option("--expires", metavar="TIME", callback=_options.moment, help="90d, 12h, 2030-01-31 or RFC 3339.")
@click.option("--new", is_flag=True, help="Only if there is no such key.")
@click.option("--if-rev", type=int, metavar="REV", help="Only if the key is at this revision.")
@click.option("--provable", is_flag=True, help="Let `mesh verify` check it.")
@click.option("--test/--no-test", default=None, help="Ask the provider whether the key works; default: asks you.")
@user_id_option
@owner_option
@json_option
@server_option
def set_(
    name: str,
    value: str | None,
    path: Path | None,
    variable: str | None,
    binary: bool,
    tags: dict[str, str],
    note: str | None,
    expires: datetime | None,
    new: bool,
    if_rev: int | None,
    provable: bool,
    test: bool | None,
    user_id: str | None,
    owner: str | None,
    as_json: bool,
    server: str | None,
) -> int:
    """Store a value under NAME.

    The value comes from a prompt, from stdin (without one line end at its end), from --file or from --env. A VALUE on
    the command line can be seen by others in the list of processes and stays in the shell's history: you are warned.

    \b
    Examples:
      mesh keys set openai_key
      pbpaste | mesh keys set stripe/live --tag env:prod --expires 90d
      mesh keys set tls.key --file server.key
    """
    if sum(one is not None for one in (value, path, variable)) > 1:
        raise click.UsageError("The value comes from one place: VALUE, --file or --env.")
    if test and as_json:
        raise click.UsageError("--json and --test exclude each other: use `mesh keys test` afterwards.")
    if test and (user_id or owner):
        raise click.UsageError("A provider uses keys of your own, outside of namespaces: --test has no key here.")
    content = _value(name, value, path, variable, binary=binary)
    with connected(server) as client:
        stored = client.store_key(
            name,
            content,
            user_id,
            tags=tags or None,
            note=note,
            expires_at=expires,
            if_rev=if_rev,
            if_absent=new,
            provable=provable,
            owner=owner,
        )
        click.echo(f"Stored {name} as version {stored.version}.", err=True)
        if as_json:
            show_json(dict(stored))
        if test:
            return tested(client, name, None, None, as_json=False)
        if test is None and not (user_id or owner or as_json) and _offered(name):
            return _tried(client, name)
    return 0


def _value(name: str, value: str | None, path: Path | None, variable: str | None, *, binary: bool) -> str | bytes:
    if value is not None:
        click.echo(
            "Warning: a value on the command line can be seen by others, and stays in your shell's history. "
            f"Better: mesh keys set {name}",
            err=True,
        )
        return value.encode() if binary else value
    content = path.read_bytes() if path is not None else taken(name, variable)
    if binary or isinstance(content, str):
        return content.encode() if binary and isinstance(content, str) else content
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _offered(name: str) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty() and _PROVIDER_KEY.fullmatch(name)):
        return False
    return click.confirm("Ask the provider whether it works?", default=True, err=True)


def _tried(client: MeshClient, name: str) -> int:
    """Test a key that was stored; that nobody can say whether it works takes nothing away from that."""
    try:
        return tested(client, name, None, None, as_json=False)
    except MeshError as problem:
        tell(problem, "mesh")
        return 0


@click.command()
@click.argument("name")
@click.option("--reveal", is_flag=True, help="Show the value on a terminal, too.")
@click.option("--version", type=int, metavar="N", help="An earlier version.")
@click.option("--offline", is_flag=True, help="Keep it for when the server can't be reached, and use what was kept.")
@user_id_option
@owner_option
@json_option
@server_option
def get(
    name: str,
    reveal: bool,
    version: int | None,
    offline: bool,
    user_id: str | None,
    owner: str | None,
    as_json: bool,
    server: str | None,
) -> None:
    """Read the value of NAME: masked on a terminal, as it is, to the byte, in a pipe.

    \b
    Examples:
      mesh keys get openai_key --reveal
      export OPENAI_API_KEY="$(mesh keys get openai_key)"
      mesh keys get tls.key > server.key
    """
    with connected(server, cache=offline) as client:
        value = client.get_key(name, user_id, owner=owner, version=version)
    if value is None:
        raise _options.no_key(name)
    open_ = reveal or not sys.stdout.isatty()
    if as_json:
        member = "value" if isinstance(value, str) else "value_base64"
        shown = _encoded(value) if open_ else _options.masked(value)
        stale = isinstance(value, StaleText | StaleBytes)
        show_json({"name": name, member if open_ else "masked": shown, "stale": stale})
    elif not open_:
        click.echo(_options.masked(value))
        click.echo("--reveal shows it.", err=True)
    else:
        click.echo(value.encode() if isinstance(value, str) else value, nl=sys.stdout.isatty())


def _encoded(value: str | bytes) -> str:
    import base64  # noqa: PLC0415 - only for bytes in JSON

    return value if isinstance(value, str) else base64.b64encode(value).decode()


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@user_id_option
@owner_option
@server_option
def rm(names: tuple[str, ...], yes: bool, user_id: str | None, owner: str | None, server: str | None) -> int:
    """Delete keys. `mesh keys restore` brings them back for a while.

    \b
    Example:
      mesh keys rm old_key stripe/test
    """
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {', '.join(names)}?", abort=True, err=True)
    status = 0
    with connected(server) as client:
        for name in names:
            status = max(status, _removed(client, name, user_id, owner))
    return status


def _removed(client: MeshClient, name: str, user_id: str | None, owner: str | None) -> int:
    """Delete one key; one that is not there is told, and the others are deleted nevertheless."""
    try:
        deleted = client.delete_key(name, user_id, owner=owner)
    except NotFoundError as problem:
        tell(MeshError(problem.message, code=problem.code, troubleshooting=()), "mesh")
        return 4
    click.echo(f"Deleted {name}; it can be restored until {deleted.restorable_until[:10]}.", err=True)
    return 0


@click.command()
@click.argument("name")
@user_id_option
@owner_option
@server_option
def restore(name: str, user_id: str | None, owner: str | None, server: str | None) -> None:
    """Take the deletion of NAME back.

    \b
    Example:
      mesh keys restore openai_key
    """
    with connected(server) as client:
        restored = client.restore_key(name, user_id, owner=owner)
    click.echo(f"Restored {name}, at version {restored.version}.", err=True)


@click.command()
@click.argument("name")
@click.argument("version", type=int)
@user_id_option
@owner_option
@server_option
def rollback(name: str, version: int, user_id: str | None, owner: str | None, server: str | None) -> None:
    """Store the value of an earlier VERSION of NAME as the current one. `mesh keys versions` lists them.

    \b
    Example:
      mesh keys rollback openai_key 3
    """
    with connected(server) as client:
        stored = client.rollback_key(name, version, user_id, owner=owner)
    click.echo(f"{name} has the value of version {version} again, as version {stored.version}.", err=True)
