"""`mesh run`: a command with keys in its environment, and nothing on the disk."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from mesh.cli import _options
from mesh.cli._options import connected, user_id_option
from mesh.cli._select import read_entries, text_of, variables
from mesh.cli._target import server_option
from mesh.client import MeshClient
from mesh.keys import template

#: As a shell has them: the command can't be run, and is not there.
_NOT_RUNNABLE, _NO_COMMAND = 126, 127

_NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.+)", re.DOTALL)


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.option("--key", "-k", "keys", multiple=True, metavar="[VAR=]NAME", help="This key; can be repeated.")
@click.option("--prefix", help="All keys whose names begin with it.")
@click.option("--tag", metavar="NAME:VALUE", callback=_options.tag_pair, help="All keys with this tag.")
@click.option(
    "--env-file",
    "-f",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A .env file in which mesh://NAME or {{ NAME }} stands for a key's value.",
)
@click.option(
    "--offline", is_flag=True, help="Keep values for when the server can't be reached, and use what was kept."
)
@user_id_option
@server_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
def run_(
    keys: tuple[str, ...],
    prefix: str | None,
    tag: tuple[str, str] | None,
    env_file: Path | None,
    offline: bool,
    user_id: str | None,
    server: str | None,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND with keys in its environment. Nothing is written to the disk, unless you ask for --offline.

    A key without a VAR goes to the variable named as what follows the last `/` of its name. Of two that name the same
    variable --key wins over --env-file, and that over --prefix and --tag. Signals reach the command, and its exit
    status is that of `mesh run`; 126 and 127 mean that it could not be started, or is not there.

    \b
    Examples:
      mesh run -k OPENAI_API_KEY=openai_key -- python app.py
      mesh run --tag env:prod -- ./deploy
      mesh run -f .env.template -- docker compose up
    """
    if not (keys or prefix or tag or env_file):
        raise click.UsageError("Say which keys: --key, --prefix, --tag or --env-file.")
    with connected(server, cache=offline) as client:
        found = _values(client, keys, prefix, tag, env_file, user_id)
    return _start(command, {**os.environ, **found})


def _values(
    client: MeshClient,
    keys: Sequence[str],
    prefix: str | None,
    tag: tuple[str, str] | None,
    env_file: Path | None,
    user_id: str | None,
) -> dict[str, str]:
    wanted: dict[str, str] = {}
    if prefix or tag:
        wanted |= variables(client.list_keys(user_id, prefix=prefix, tag=tag))
    entries = read_entries(env_file) if env_file is not None else {}
    explicit = [_NAMED.fullmatch(key) for key in keys]
    bare = variables(key for key, named in zip(keys, explicit, strict=True) if named is None)
    mine = {**bare, **{named[1]: named[2] for named in explicit if named is not None}}
    wanted = {variable: name for variable, name in wanted.items() if variable not in entries} | mine
    needed = dict.fromkeys([*wanted.values(), *template.references(entries)])
    values = {name: text_of(client, name, user_id) for name in needed}  # each is read once
    return template.fill(entries, values) | {variable: values[name] for variable, name in wanted.items()}


def _start(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Become the command; on Windows, which has no such thing, wait for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if sys.platform == "win32":
            return _wait_for(command, environment)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and a command would inherit that
        os.execvpe(command[0], list(command), dict(environment))  # noqa: S606 - what this command is for
    except FileNotFoundError:
        click.echo(f"mesh: there is no command {command[0]!r}.", err=True)
        return _NO_COMMAND
    except OSError as problem:
        click.echo(f"mesh: {command[0]!r} can't be run: {problem.strerror or type(problem).__name__}.", err=True)
        return _NOT_RUNNABLE


def _wait_for(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command and return its exit status; Ctrl-C reaches it by itself and is for it alone."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with subprocess.Popen(list(command), env=dict(environment)) as child:  # noqa: S603 - as above
            status = child.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return status if status >= 0 else 128 - status
