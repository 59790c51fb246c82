"""The session of `mesh chat`: what was said is remembered until it ends, and written nowhere."""

import contextlib
from collections.abc import Mapping
from typing import Any

import click

from mesh.cli._answer import show, spent, tell_about
from mesh.cli._run import tell
from mesh.client import MeshClient
from mesh.errors import MeshError

_HELP = """\
/model NAME    another model goes on; /model alone tells which
/system TEXT   begin anew with these instructions
/new           begin anew
/usage         what was spent since you began
/exit          leave (or Ctrl-D)
A line that ends with \\ goes on in the next one. Ctrl-C stops an answer."""


class Session:
    """One conversation with a person."""

    def __init__(self, client: MeshClient, system: str | None, options: Mapping[str, Any], *, rendered: bool) -> None:
        self._client = client
        self._system = system
        self._options = dict(options)
        self._rendered = rendered
        self._talk = client.conversation(system=system)

    def run(self) -> None:
        """Talk until the person leaves."""
        with contextlib.suppress(ImportError):  # Windows has none, and edits lines by itself
            import readline  # noqa: F401, PLC0415 - input() uses it once it is loaded: editing, and earlier lines
        click.echo("/help lists the commands, Ctrl-D leaves.", err=True)
        while True:
            try:
                line = _line()
            except EOFError:
                click.echo()
                return
            except KeyboardInterrupt:
                click.echo("\nCtrl-D leaves.", err=True)
                continue
            if line.startswith("/"):
                if not self._command(*line[1:].partition(" ")[::2]):
                    return
            elif line:
                self._say(line)

    def _say(self, message: str) -> None:
        """Ask, and show the answer; a failure ends this turn and not the session."""
        try:
            result = show(self._talk.chat(message, stream=True, **self._options), rendered=self._rendered)
            tell_about(result)
        except KeyboardInterrupt:
            click.echo("Stopped; what was said in this turn is not remembered.", err=True)
        except MeshError as problem:
            tell(problem, "mesh")
        except ValueError as problem:  # a model that does not exist, or can't do what is asked
            click.echo(f"mesh: {problem}", err=True)

    def _command(self, name: str, rest: str) -> bool:
        """Do what a line with a slash asks for; return whether the session goes on."""
        rest = rest.strip()
        if name in {"exit", "quit"}:
            return False
        if name == "model":
            if rest:
                self._options |= {"model": rest, "provider": None}
            click.echo(f"The model is {self._options.get('model') or 'the default'}.", err=True)
        elif name in {"system", "new"}:
            self._system = rest if name == "system" else self._system
            self._talk = self._client.conversation(system=self._system or None)
            click.echo("A new conversation.", err=True)
        elif name == "usage":
            click.echo(spent("This conversation", self._talk.usage), err=True)
        else:
            click.echo(_HELP if name == "help" else f"There is no /{name}.\n{_HELP}", err=True)
        return True


def _line() -> str:
    text = input("> ")
    while text.endswith("\\"):
        text = text[:-1] + "\n" + input("… ")
    return text.strip()
