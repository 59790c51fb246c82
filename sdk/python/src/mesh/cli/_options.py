"""Options that several commands have, and what they mean."""

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from mesh.client import MeshClient
from mesh.errors import local_error

F = TypeVar("F", bound=Callable[..., Any])

user_id_option = click.option("--user-id", metavar="NAMESPACE", help="A namespace inside your own account.")
owner_option = click.option("--owner", metavar="ACCOUNT", help="The account that shares the key with you.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs, on stdout.")

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@contextlib.contextmanager
def connected(server: str | None, *, cache: bool = False) -> Iterator[MeshClient]:
    """Give a client that raises; what the SDK calls a wrong call is a wrong use of the command.

    Raises:
        click.UsageError: for a ValueError of the client, whose text never has a value.
    """
    try:
        with MeshClient(server, raise_on_error=True, cache=cache) as client:
            yield client
    except UnicodeError:  # its text may quote a value
        raise
    except ValueError as problem:
        raise click.UsageError(f"{problem}.") from None


def tag_pair(_ctx: click.Context, _param: click.Parameter, value: str | tuple[str, ...] | None) -> Any:
    """Read `name:value`, or several of them as a dictionary."""
    if value is None:
        return None
    pairs = []
    for text in (value,) if isinstance(value, str) else value:
        name, colon, content = text.partition(":")
        if not colon or not name:
            raise click.BadParameter(f"{text!r} is not NAME:VALUE.")
        pairs.append((name, content))
    return pairs[0] if isinstance(value, str) else dict(pairs)


def moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """Read a time: `90d`, `12h`, `2030-01-31`, or RFC 3339."""
    if value is None:
        return None
    span = re.fullmatch(r"([0-9]{1,5})([mhdw])", value)
    if span:
        return datetime.now(UTC) + timedelta(**{_UNITS[span[2]]: int(span[1])})
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("write 90d, 12h, 2030-01-31 or 2030-01-31T12:00:00Z.") from None
    return found if found.tzinfo else found.astimezone()


def show_json(content: Any) -> None:
    """Write it for programs."""
    click.echo(json.dumps(content, indent=2, ensure_ascii=False))


def table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...], *, right: int = 0) -> None:
    """Write rows in columns: with a header for people, the last `right` of them flush right; else bare, with tabs."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(row))
        return
    from rich.console import Console  # noqa: PLC0415 - only where somebody looks
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(header):
        drawn.add_column(name, justify="right" if at >= len(header) - right else "left")
    for row in rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    Console(highlight=False).print(drawn)


def printable(text: str) -> str:
    """Return text that can't steer a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def no_key(name: str) -> Exception:
    """Return the failure of a command whose key is not there."""
    return local_error("key_not_found", f"There is no key {name!r}.")


def masked(value: str | bytes) -> str:
    """Return what may be seen of a value: the end of a long one, and how much there is."""
    size = f"({len(value)} {'characters' if isinstance(value, str) else 'bytes'})"
    end = printable(value[-4:]) if isinstance(value, str) and len(value) >= 20 else ""
    return f"••••••••{end} {size}"
