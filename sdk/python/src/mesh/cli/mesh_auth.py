"""The command `mesh-auth`: log in, see who is logged in, log out, and find out why a login does not work."""

import sys

import click
from click.shell_completion import CompletionItem

from mesh import __version__
from mesh.cli._lazy import LazyGroup
from mesh.cli._run import run

#: The commands: where each is, and its line in the help.
_COMMANDS = {
    "login": ("mesh_auth_login", "login", "Log in. The default: `mesh-auth` alone does it."),
    "status": ("mesh_auth_session", "status", "Show who is logged in, where, and until when."),
    "logout": ("mesh_auth_session", "logout", "End the login, here and at the issuer."),
    "token": ("mesh_auth_session", "token", "Print an access token, for another program."),
    "doctor": ("mesh_auth_doctor", "doctor", "Check everything that a login needs, and say what to do."),
}


class _Group(LazyGroup):
    """Imports a command when it is called, and takes `login` where none is named."""

    table = _COMMANDS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `login` before options that are its own, but where a shell asks what can follow."""
        if ctx.resilient_parsing and not args:
            return super().parse_args(ctx, args)
        if not args or (args[0].startswith("-") and args[0] not in {"--help", "-h", "--version"}):
            args = ["login", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return what can follow, the options of `login` among it: they need no command before them."""
        found = super().shell_complete(ctx, incomplete)
        login = self.get_command(ctx, "login") if incomplete.startswith("-") else None
        if login is None:
            return found
        own = {item.value for item in found}
        options = login.shell_complete(click.Context(login, info_name="login", parent=ctx), incomplete)
        return [*found, *(item for item in options if item.value not in own)]


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
