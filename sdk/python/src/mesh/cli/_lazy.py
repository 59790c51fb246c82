"""Groups of commands that import each one only when it is called."""

import importlib
from collections.abc import Mapping
from typing import ClassVar

import click
from click.shell_completion import CompletionItem

#: Of each command: its module under `mesh.cli`, the attribute in it, and its line in the help.
Table = Mapping[str, tuple[str, str, str]]


class LazyGroup(click.Group):
    """Finds a command in its module, so that `--help` imports none of them."""

    #: Set by the group that this becomes.
    table: ClassVar[Table] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import one command."""
        if cmd_name not in self.table:
            return None
        module, attribute, _ = self.table[cmd_name]
        command: click.Command = getattr(importlib.import_module(f"mesh.cli.{module}"), attribute)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return what can follow, each command with its one line, without importing any."""
        names = [CompletionItem(name, help=line) for name, (_, _, line) in self.table.items()]
        return [
            *(item for item in names if item.value.startswith(incomplete)),
            *click.Command.shell_complete(self, ctx, incomplete),
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the commands with their one line, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in self.table.items()])


def lazy(table: Table) -> type[LazyGroup]:
    """Return the class of a group with these commands."""
    return type("Lazy", (LazyGroup,), {"table": table})
