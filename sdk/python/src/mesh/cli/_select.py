"""Which keys a command is about, and which variables they become."""

from collections.abc import Iterable
from pathlib import Path

import click

from mesh.cli import _options
from mesh.client import MeshClient
from mesh.keys import dotenv
from mesh.keys.dotenv import DotenvError


def read_entries(path: Path, text: str | None = None) -> dict[str, str]:
    """Return the entries of a .env file.

    Raises:
        click.UsageError: if it is none; never with a value.
    """
    try:
        return dotenv.parse(path.read_text("utf-8") if text is None else text)
    except DotenvError as problem:
        raise click.UsageError(f"{path}, {problem}.") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{path} is not UTF-8 text.") from None


def text_of(client: MeshClient, name: str, user_id: str | None, owner: str | None = None) -> str:
    """Return the value of a key that goes into an environment.

    Raises:
        NotFoundError: if there is no such key.
        click.UsageError: if its value can't be in an environment.
    """
    value = client.get_key(name, user_id, owner=owner)
    if value is None:
        raise _options.no_key(name)
    try:
        text = value if isinstance(value, str) else value.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"The value of {name} is no text: it can't be in an environment.") from None
    if "\0" in text:
        raise click.UsageError(f"The value of {name} has a zero byte: it can't be in an environment.")
    return text


def variables(names: Iterable[str]) -> dict[str, str]:
    """Return the key of each variable, as the names make them.

    Raises:
        click.UsageError: if two keys make the same one, or a name makes none.
    """
    found: dict[str, str] = {}
    for name in names:
        try:
            variable = dotenv.variable_name(name)
        except ValueError as problem:
            raise click.UsageError(f"{problem}.") from None
        if variable in found:
            raise click.UsageError(f"{found[variable]} and {name} both make the variable {variable}.")
        found[variable] = name
    return found
