"""Options that several commands take."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def config(command: Command) -> Command:
    """Add `--config` and `--data-dir`: where the server's own files are."""
    command = click.option("--data-dir", metavar="DIR", help="Folder of the database and the keys.")(command)
    return click.option("--config", metavar="FILE", help="Configuration file (default: ./mesh-server.toml).")(command)


def address(command: Command) -> Command:
    """Add `--host` and `--port`: where the server listens."""
    command = click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 for a free one.")(command)
    return click.option("--host", help="Address to listen on.")(command)
