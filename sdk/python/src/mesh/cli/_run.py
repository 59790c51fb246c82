"""What every command shares: exit statuses, failures as sentences, and where messages go."""

import sys
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console

from mesh.errors import (
    AuthenticationError,
    ConnectionFailed,
    MeshError,
    NotFoundError,
    PermissionDenied,
    ProviderError,
    ServerError,
)

#: Exit statuses of every Mesh command.
DONE, FAILED, WRONG_USAGE, NOT_ALLOWED, NOT_FOUND, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_STATUS: tuple[tuple[type[MeshError], int], ...] = (
    (AuthenticationError, NOT_ALLOWED),
    (PermissionDenied, NOT_ALLOWED),
    (NotFoundError, NOT_FOUND),
    (ConnectionFailed, UNAVAILABLE),
    (ServerError, UNAVAILABLE),
    (ProviderError, UNAVAILABLE),
)


def console() -> Console:
    """Return the console for messages: stderr, so that stdout holds results alone."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())  # lines of a log are not cut


def run(command: click.Command, arguments: Sequence[str], name: str) -> int:
    """Run one command line and return its exit status; never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that can't show a character still gets the rest
    try:
        result: Any = command.main(list(arguments), prog_name=name, standalone_mode=False)
    except click.ClickException as problem:
        problem.show()
        return problem.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nInterrupted.", err=True)
        return INTERRUPTED
    except MeshError as problem:
        tell(problem, name)
        return status_of(problem)
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        click.echo(f"{name}: {where}{problem.strerror or type(problem).__name__}", err=True)
        return FAILED
    except Exception as problem:  # noqa: BLE001 - a bug, whose text may hold anything: its kind alone is told
        click.echo(f"{name}: internal error ({type(problem).__name__}). Please report it.", err=True)
        return FAILED
    return result if isinstance(result, int) else DONE


def tell(problem: MeshError, name: str) -> None:
    """Say what is wrong, and what to do about it."""
    click.echo(f"{name}: {problem.message}", err=True)
    for step in problem.troubleshooting:
        click.echo(f"  - {step}", err=True)


def status_of(problem: MeshError) -> int:
    """Return the exit status of a failure."""
    return next((status for kind, status in _STATUS if isinstance(problem, kind)), FAILED)
