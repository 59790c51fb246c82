"""`mesh chat`: one question, or a session."""

import sys
from pathlib import Path
from typing import Any

import click

from mesh.cli._options import connected, json_option, show_json
from mesh.cli._target import server_option

_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("message", nargs=-1, metavar="[MESSAGE]...")
@click.option("--model", "-m", help="Who answers; default: yours, then the server's.")
@click.option("--provider", help="Of several that have the model, this one.")
@click.option("--system", "-s", metavar="TEXT", help="Instructions before everything else.")
@click.option("--image", "images", multiple=True, metavar="PATH_OR_URL", help="A picture; can be repeated.")
@click.option("--file", "files", multiple=True, type=_EXISTING, help="A file that goes with it; can be repeated.")
@click.option("--thinking", is_flag=True, help="Let the model think first.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="The most tokens of the answer.")
@click.option("--temperature", type=float, metavar="T", help="0: the likeliest words.")
@click.option("--key", "key_name", metavar="NAME", help="Call the provider with this key of yours.")
@click.option("--plain", is_flag=True, help="No Markdown drawn on a terminal.")
@json_option
@server_option
def chat(
    message: tuple[str, ...],
    model: str | None,
    provider: str | None,
    system: str | None,
    images: tuple[str, ...],
    files: tuple[Path, ...],
    thinking: bool,
    max_tokens: int | None,
    temperature: float | None,
    key_name: str | None,
    plain: bool,
    as_json: bool,
    server: str | None,
) -> None:
    """Ask a model, and show its answer as it comes.

    MESSAGE and what is on stdin go together. With neither, on a terminal, a session begins in which what was said is
    remembered; /help there lists what it can do. In a pipe the answer is its text alone.

    \b
    Examples:
      mesh chat What is the capital of France?
      git diff | mesh chat -m claude "Write a commit message for this."
      mesh chat -m gpt-4o
    """
    options: dict[str, Any] = {"model": model, "provider": provider, "max_tokens": max_tokens}
    options |= {"temperature": temperature, "thinking": thinking or None}
    options |= {"key_name": key_name} if key_name else {}
    rendered = sys.stdout.isatty() and not plain
    said = _said(message)
    if not said and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("There is no message, neither on the command line nor on stdin.")
    if not said and (as_json or images or files):
        raise click.UsageError("--json, --image and --file go with a MESSAGE.")
    with connected(server) as client:
        if not said:
            from mesh.cli._session import Session  # noqa: PLC0415 - not for a single question

            Session(client, system, options, rendered=rendered).run()
            return
        options |= {"images": list(images) or None, "files": list(files) or None}
        if as_json:
            found = client.chat(said, system=system, **options)
            show_json({name: value for name, value in found.items() if name != "raw"})
            return
        from mesh.cli._answer import show, tell_about  # noqa: PLC0415 - what draws on a terminal is not for --json

        tell_about(show(client.chat(said, system=system, stream=True, **options), rendered=rendered))


def _said(words: tuple[str, ...]) -> str:
    """Return the message: what stands on the command line, then what is on stdin."""
    parts = [" ".join(words).strip()]
    if not sys.stdin.isatty():
        try:
            parts.append(sys.stdin.buffer.read().decode().strip())
        except UnicodeDecodeError:
            raise click.UsageError("stdin is not UTF-8 text; for a file there is --file.") from None
    return "\n\n".join(part for part in parts if part)
