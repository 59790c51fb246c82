"""The command `mesh-auth`: log in, see who is logged in, log out, and find out why a login does not work."""

import importlib
import sys

import click

from mesh import __version__
from mesh.cli._run import run

#: The commands: where each is, and its line in the help.
_COMMANDS = {
    "login": ("mesh_auth_login", "Log in. The default: `mesh-auth` alone does it."),
    "status": ("mesh_auth_session", "Show who is logged in, where, and until when."),
    "logout": ("mesh_auth_session", "End the login, here and at the issuer."),
    "token": ("mesh_auth_session", "Print an access token, for another program."),
    "doctor": ("mesh_auth_doctor", "Check everything that a login needs, and say what to do."),
}


class _Group(click.Group):
    """Imports a command when it is called, and takes `login` where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `login` before options that are its own."""
        if not args or (args[0].startswith("-") and args[0] not in {"--help", "-h", "--version"}):
            args = ["login", *args]
        return super().parse_args(ctx, args)

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


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mesh-auth")
def mesh_auth() -> None:
    """Log in to a Mesh server.

    `mesh-auth` shows an address and a code; open the address on any device and confirm the code. Where the issuer wants
    it, your browser is used instead. `mesh-auth login --help` lists the options.
    """


def main() -> None:
    """Run the command line."""
    sys.exit(run(mesh_auth, sys.argv[1:], "mesh-auth"))
