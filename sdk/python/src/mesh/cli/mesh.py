"""The command `mesh`. One file per command group; each is imported only when it is called."""

import sys

import click

from mesh import __version__
from mesh.cli._lazy import lazy
from mesh.cli._run import run

_COMMANDS = {
    "chat": ("chat", "chat", "Ask a model: one question, or a session."),
    "models": ("models", "models", "List the models that you can use, and their prices."),
    "keys": ("keys", "keys", "Store, read, share, import and export keys."),
    "run": ("run", "run_", "Run a command with keys in its environment."),
    "verify": (
        "verify",
        "verify",
        "Tell whether a value, or a .env file, is the one in the vault, without revealing it.",
    ),
    "usage": ("usage", "usage", "Show what you have spent, by day, model, key, …"),
    "budget": ("budget", "budget", "Show what you may spend, and what is left."),
    "config": ("config", "config", "Show where each setting comes from, and change those of the profile."),
    "doctor": ("doctor", "doctor", "Check server, login, models, vault and budget, and say what to do."),
}


@click.group(cls=lazy(_COMMANDS), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mesh")
def mesh() -> None:
    """Use Mesh from a terminal or a script: one login for every AI model, and no API key in anyone's code."""


def main() -> None:
    """Run the command line."""
    sys.exit(run(mesh, sys.argv[1:], "mesh"))
