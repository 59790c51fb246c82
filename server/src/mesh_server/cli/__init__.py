"""The command `mesh-server`. One file per command group; each is imported only when it is called."""

import contextlib
import importlib
import sys

import click

from mesh_server import __version__
from mesh_server.errors import MeshError, StartupError

#: Exit statuses that every Mesh command shares.
FAILED, WRONG_USAGE, NOT_ALLOWED, NOT_FOUND, UNAVAILABLE, INTERRUPTED = 1, 2, 3, 4, 5, 130

#: Descriptors that are asked for; more than connections to all providers and from all clients take.
_MOST_FILES = 65_536

_COMMANDS = {
    "dev": "Everything for one machine: set up, then serve on 127.0.0.1.",
    "serve": "Serve in production, from an explicit configuration.",
    "init": "Write a commented configuration and a master key.",
    "migrate": "Apply the database's migrations.",
    "doctor": "Check everything the server needs and say what to do.",
    "verify": "Open every stored row and check the audit trail.",
    "backup": "Write everything that is stored to one file, while the server runs.",
    "restore": "Put a backup into a database.",
    "master-key": "Change the master key while the server runs.",
    "audit": "Print the audit trail as JSON lines.",
    "token": "API tokens for people and machines.",
    "model": "Local models: list, pull, use, remove.",
    "usage": "What everybody spent on models.",
    "budget": "Limits of what may be spent.",
}


class _Lazy(click.Group):
    """Finds a command in the module of its name, so that `--help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import one command."""
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"mesh_server.cli.{name}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the commands with their one line, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mesh-server")
def root() -> None:
    """Host Mesh: one login for every AI model, with an encrypted key vault.

    Begin with `mesh-server dev`: it asks nothing and serves on this machine only.
    """


def main() -> None:
    """Run the command line; every failure is a sentence on stderr and an exit status, never a traceback."""
    _set_limits()
    sys.exit(run(sys.argv[1:]))


def _set_limits() -> None:
    """Set the limits of this process and of its own."""
    if sys.platform != "win32":
        import resource  # noqa: PLC0415 - not there on Windows

        # A crash writes no memory to the disk: keys are in it.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # A stream through the gateway takes two descriptors, and the usual limit is 1,024; what may be had is had.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with contextlib.suppress(ValueError, OSError):  # macOS allows less than it says
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that can't show a character still gets the rest
    try:
        result = root.main(arguments, prog_name="mesh-server", standalone_mode=False)
    except click.ClickException as problem:
        problem.show()
        return problem.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except StartupError as problem:
        click.echo(f"mesh-server: {problem.message}", err=True)
        return problem.exit_status
    except MeshError as problem:
        click.echo(f"mesh-server: {problem.message}", err=True)
        for line in problem.advice:
            click.echo(f"  - {line}", err=True)
        return FAILED
    return result if isinstance(result, int) else 0
