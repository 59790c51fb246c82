"""The command `mesh`. One file per command group; each is imported only when it is called."""

import importlib
import sys

import click

from mesh import __version__
from mesh.cli._run import run

#: The commands: where each is, and its line in the help.
_COMMANDS = {
    "verify": ("verify", "Tell whether a value, or a .env file, is the one in the vault, without revealing it."),
}


class _Lazy(click.Group):
    """Finds a command in its module, so that `--help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import one command."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"mesh.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the commands with their one line, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mesh")
def mesh() -> None:
    """Use Mesh from a terminal or a script: one login for every AI model, and no API key in anyone's code."""


def main() -> None:
    """Run the command line."""
    sys.exit(run(mesh, sys.argv[1:], "mesh"))
