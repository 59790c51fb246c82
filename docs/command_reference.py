"""Makes docs/reference/commands.md of the help texts of `mesh` and `mesh-auth`."""

from collections.abc import Iterator

import click

from mesh.cli.mesh import mesh
from mesh.cli.mesh_auth import mesh_auth

_WIDTH = 100
_INTRO = """\
# Commands

Made from the help texts by `./dev docs`. Exit status of every command: 0 done, 1 failed, 2 wrong usage, 3 not logged in
or not allowed, 4 not found, 5 server or provider unavailable, 130 interrupted. Results go to stdout, messages to
stderr. `NO_COLOR` switches colours off. Completion: `eval "$(_MESH_COMPLETE=bash_source mesh)"`, or
`zsh_source`, `fish_source`.
"""


def page() -> str:
    """Return the page."""
    parts = [_INTRO]
    for name, command in (("mesh", mesh), ("mesh-auth", mesh_auth)):
        for path, text in _helps(command, _top(command, name)):
            parts.append(f"## `{path}`\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def commands() -> list[str]:
    """Return every command that has no commands of its own, as it is typed."""
    return [
        path
        for name, command in (("mesh", mesh), ("mesh-auth", mesh_auth))
        for path, _ in _helps(command, _top(command, name), groups=False)
    ]


def _top(command: click.Command, name: str) -> click.Context:
    return click.Context(command, info_name=name, **command.context_settings)


def _helps(command: click.Command, context: click.Context, *, groups: bool = True) -> Iterator[tuple[str, str]]:
    if groups or not isinstance(command, click.Group):
        yield context.command_path, _help(command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None  # noqa: S101 - it is in the list
            yield from _helps(found, click.Context(found, info_name=name, parent=context), groups=groups)


def _help(command: click.Command, context: click.Context) -> str:
    """Return a help text, whatever the width of the terminal that this runs in."""
    formatter = click.HelpFormatter(width=_WIDTH)
    command.format_help(context, formatter)
    return formatter.getvalue().rstrip()
