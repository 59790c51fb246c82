"""Where the value of a key is taken from."""

import os
import sys

import click


def taken(name: str, variable: str | None) -> str | bytes:
    """Return a value from the environment, from a prompt, or from stdin without one line end."""
    if variable is not None:
        found = os.environ.get(variable)
        if not found:
            raise click.UsageError(f"The environment variable {variable} is not set, or is empty.")
        return found
    if sys.stdin.isatty():
        return str(click.prompt(f"Value of {name}", hide_input=True, err=True))
    piped = sys.stdin.buffer.read()  # as it is: reading text would change the line ends inside it
    content = piped.removesuffix(b"\r\n") if piped.endswith(b"\r\n") else piped.removesuffix(b"\n")
    if not content:
        raise click.UsageError("There is no value on stdin.")
    return content
