"""`mesh keys import` and `export`."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from mesh.auth.store import write_private
from mesh.cli import _options
from mesh.cli._options import connected, json_option, show_json, user_id_option
from mesh.cli._run import DONE, FAILED
from mesh.cli._select import read_entries, text_of, variables
from mesh.cli._target import server_option
from mesh.client import MeshClient
from mesh.errors import ConflictError
from mesh.keys import dotenv

#: What `--from-env` looks for: the variables in which the providers' own clients look for their keys.
PROVIDER_VARIABLES = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GROQ_API_KEY",
    "MISTRAL_API_KEY",
    "OPENROUTER_API_KEY",
    "DEEPSEEK_API_KEY",
    "XAI_API_KEY",
)


@click.command("import")
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--from-env", is_flag=True, help="The providers' keys in the environment instead of a file.")
@click.option("--only", multiple=True, metavar="NAME", help="This entry, or variable, only; can be repeated.")
@click.option("--prefix", default="", help="Put before each name.")
@click.option("--tag", "tags", multiple=True, metavar="NAME:VALUE", callback=_options.tag_pair, help="Can be repeated.")
@click.option("--overwrite", is_flag=True, help="Store new versions of keys that are there.")
@click.option("--dry-run", is_flag=True, help="Say what would be stored, and store nothing.")
@user_id_option
@json_option
@server_option
def import_(
    file: Path | None,
    from_env: bool,
    only: tuple[str, ...],
    prefix: str,
    tags: dict[str, str],
    overwrite: bool,
    dry_run: bool,
    user_id: str | None,
    as_json: bool,
    server: str | None,
) -> int:
    """Store the entries of a .env FILE (`-`: stdin), or with --from-env the providers' keys in the environment.

    Nothing that is in the vault already is changed without --overwrite; then the exit status is 1.

    \b
    Examples:
      mesh keys import .env --prefix shop/ --tag env:prod
      mesh keys import --from-env
      mesh keys import --from-env --only STRIPE_KEY
    """
    if (file is None) != from_env:
        raise click.UsageError("Name a file, or give --from-env.")
    entries = _chosen(_environment(only) if file is None else _file(file), only)
    found: dict[str, str] = {}
    with connected(server) as client:
        for name, value in entries.items():
            key = f"{prefix}{name}"
            if not value:
                found[key] = "empty"
            elif dry_run:
                found[key] = "would be stored"
            else:
                found[key] = _stored(client, key, value, user_id, tags, overwrite=overwrite)
    if as_json:
        show_json([{"name": name, "result": result} for name, result in found.items()])
    else:
        for name, result in found.items():
            click.echo(f"{_options.printable(name)}\t{result}")
    return FAILED if "already there" in found.values() else DONE


def _stored(
    client: MeshClient, name: str, value: str, user_id: str | None, tags: dict[str, str], *, overwrite: bool
) -> str:
    try:
        stored = client.store_key(name, value, user_id, tags=tags or None, if_absent=not overwrite)
    except ConflictError as problem:
        if problem.code != "key_exists":
            raise
        return "already there"
    return f"stored as version {stored.version}"


def _file(file: Path) -> dict[str, str]:
    if str(file) != "-":
        if not file.exists():
            raise click.UsageError(f"There is no file {file}.")
        return read_entries(file)
    try:
        return read_entries(Path("stdin"), sys.stdin.buffer.read().decode())
    except UnicodeDecodeError:
        raise click.UsageError("stdin is not UTF-8 text.") from None


def _environment(only: tuple[str, ...]) -> dict[str, str]:
    found = {name: os.environ[name] for name in (only or PROVIDER_VARIABLES) if os.environ.get(name)}
    if not found and not only:
        raise click.UsageError(f"None of these is set: {', '.join(PROVIDER_VARIABLES)}. Name others with --only.")
    return found


def _chosen(entries: Mapping[str, str], only: tuple[str, ...]) -> dict[str, str]:
    missing = [name for name in only if name not in entries]
    if missing:
        raise click.UsageError(f"There is no {missing[0]}.")
    return {name: value for name, value in entries.items() if not only or name in only}


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--prefix", help="Keys whose names begin with it.")
@click.option("--tag", metavar="NAME:VALUE", callback=_options.tag_pair, help="Keys with this tag.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A new file, for you alone.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.option("--reveal", is_flag=True, help="Write values to a terminal, too.")
@user_id_option
@json_option
@server_option
def export(
    names: tuple[str, ...],
    prefix: str | None,
    tag: tuple[str, str] | None,
    output: Path | None,
    force: bool,
    reveal: bool,
    user_id: str | None,
    as_json: bool,
    server: str | None,
) -> None:
    """Write keys as a .env file, or with --json as an object of names and values; all of them, if none is chosen.

    In a .env file a key has the name of what follows the last `/` of its own, with `_` for what no variable has. To
    give keys to a program there is `mesh run`, which leaves nothing on the disk.

    \b
    Examples:
      mesh keys export --prefix shop/ -o .env
      mesh keys export openai_key stripe/live --json | jq .
    """
    if names and (prefix or tag):
        raise click.UsageError("Name keys, or choose them by --prefix and --tag.")
    if output is None and not reveal and sys.stdout.isatty():
        raise click.UsageError("This would show values on a terminal: write to a file with -o, or say --reveal.")
    if output is not None and output.exists() and not force:
        raise click.UsageError(f"{output} is there already; --force replaces it.")
    with connected(server) as client:
        chosen = list(names) or client.list_keys(user_id, prefix=prefix, tag=tag)
        keyed = {name: name for name in chosen} if as_json else variables(chosen)
        values = {variable: text_of(client, name, user_id) for variable, name in keyed.items()}
    content = _json(values) if as_json else dotenv.render(values)
    if output is None:
        click.echo(content, nl=False)
    else:
        write_private(output, content.encode())
    click.echo(f"{len(values)} {'key' if len(values) == 1 else 'keys'} written.", err=True)


def _json(values: Mapping[str, str]) -> str:
    import json  # noqa: PLC0415 - one of two forms

    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
