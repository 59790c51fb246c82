"""`mesh verify`: is the secret here still the one in the vault? Answered without the secret ever leaving."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from mesh.cli._run import DONE, FAILED, NOT_FOUND
from mesh.cli._select import read_entries
from mesh.cli._value import taken
from mesh.client import MeshClient
from mesh.errors import PermissionDenied

SAME, DIFFERENT, ABSENT = "same", "different", "not in the vault"
#: In the vault, but stored without a verifier: nothing can be said without reading it.
UNPROVABLE = "no verifier"
#: What a login learns that may verify, but not list.
NOT_SAME = "different, or not in the vault"


@dataclass(frozen=True, slots=True)
class Names:
    """What is in the vault; None where this login may not list it."""

    provable: frozenset[str] | None
    stored: frozenset[str]


@click.command()
@click.argument("name", required=False)
@click.option("--env", "variable", metavar="VAR", help="Take the value from this environment variable.")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check every entry of a .env file instead.",
)
@click.option("--only", multiple=True, metavar="NAME", help="Of the file, check this entry only; can be repeated.")
@click.option("--user-id", metavar="NAMESPACE", help="A namespace inside your own account.")
@click.option("--json", "as_json", is_flag=True, help="For programs, on stdout.")
@click.option("--server", metavar="URL", help="The server; default: MESH_API_URL, then the profile's.")
def verify(
    name: str | None,
    variable: str | None,
    env_file: Path | None,
    only: tuple[str, ...],
    user_id: str | None,
    as_json: bool,
    server: str | None,
) -> int:
    """Tell whether a value is the one that is enrolled as NAME.

    The value comes from a prompt, from stdin (without one line end at its end), or from --env. Of a value that is not
    the right one no proof is sent, only a blinded question that looks the same for every value.

    Exit status: 0 the same; 1 different; 4 not in the vault. With --env-file: 0 only if every entry that is in the
    vault is the same; 4 if none is in the vault.

    \b
    Examples:
      mesh verify STRIPE_KEY
      mesh verify --env-file .env --only STRIPE_KEY
    """
    if (name is None) == (env_file is None):
        raise click.UsageError("Name a key, or a file with --env-file.")
    if env_file is not None and variable is not None:
        raise click.UsageError("--env belongs to a NAME, not to --env-file.")
    if only and env_file is None:
        raise click.UsageError("--only belongs to --env-file.")
    values: Mapping[str, str | bytes]
    values = _entries(env_file, only) if env_file is not None else {name or "": taken(name or "", variable)}
    with MeshClient(server, raise_on_error=True) as client:
        found = _check(client, values, user_id)
    _show(found, as_json=as_json)
    return _status(found)


def _entries(path: Path, only: tuple[str, ...]) -> dict[str, str]:
    entries = read_entries(path)
    missing = [name for name in only if name not in entries]
    if missing:
        raise click.UsageError(f"{path} has no entry {missing[0]}.")
    return {name: value for name, value in entries.items() if not only or name in only}


def _check(client: MeshClient, values: Mapping[str, str | bytes], user_id: str | None) -> dict[str, str]:
    names = _names(client, user_id)
    return {name: _one(client, names, name, value, user_id) for name, value in values.items()}


def _names(client: MeshClient, user_id: str | None) -> Names:
    try:
        return Names(frozenset(client.list_provable_keys(user_id)), frozenset(client.list_keys(user_id)))
    except PermissionDenied as problem:
        if problem.code != "scope_missing":
            raise
        return Names(None, frozenset())


def _one(client: MeshClient, names: Names, name: str, value: str | bytes, user_id: str | None) -> str:
    if names.provable is not None and name not in names.provable:
        return UNPROVABLE if name in names.stored else ABSENT
    # An empty value can't be enrolled, so it is another one.
    try:
        same = bool(value) and client.verify_key(user_id=user_id, key_name=name, key_value=value).verified
    except ValueError as problem:  # a limit; the message never has the value
        raise click.UsageError(f"{problem}.") from None
    if same:
        return SAME
    return NOT_SAME if names.provable is None else DIFFERENT


def _show(found: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        results = [{"name": name, "result": result} for name, result in found.items()]
        click.echo(json.dumps({"agree": _status(found) == DONE, "results": results}, indent=2))
        return
    width = max(map(len, found), default=0)
    for name, result in found.items():
        click.echo(f"{name:<{width}}  {result}")
    if UNPROVABLE in found.values():
        click.echo("A key without a verifier gets one when it is stored with provable=True.", err=True)


def _status(found: Mapping[str, str]) -> int:
    results = set(found.values())
    if results <= {ABSENT}:
        return NOT_FOUND
    return DONE if results <= {SAME, ABSENT} else FAILED
