"""`mesh config`: where each setting comes from, and the settings of the profile."""

import os
from typing import Any

import click

from mesh import _config
from mesh._config import HOSTED_URL, check_url, config_dir
from mesh.auth import profile as profiles
from mesh.cli._options import json_option, show_json, table
from mesh.cli._target import login_source

_ENTRIES = ("server_url", "default_provider", "default_model")
_NOWHERE = "default"


@click.group(invoke_without_command=True)
@click.pass_context
@json_option
def config(context: click.Context, as_json: bool) -> None:
    """Show each setting, its value and where it comes from; no token is shown.

    An argument wins over the environment, that over the profile, and that over the default.

    \b
    Examples:
      mesh config
      mesh config set default_model claude-sonnet
      mesh config use work
    """
    if context.invoked_subcommand is not None:
        return
    found = _settings()
    if as_json:
        show_json([{"name": name, "value": value, "source": source} for name, value, source in found])
    else:
        table([(name, value or "", source) for name, value, source in found], ("Setting", "Value", "From"))


@config.command("set")
@click.argument("name", type=click.Choice(_ENTRIES))
@click.argument("value")
@click.option("--profile", help="Default: MESH_PROFILE, then the one in use.")
def set_(name: str, value: str, profile: str | None) -> None:
    """Set an entry of the profile.

    A profile that goes to another server loses the token and the identity that belong to the old one.

    \b
    Example:
      mesh config set default_model gpt-4o
    """
    if name == "server_url":
        check_url(value, allow_insecure=False)
    _change(name, value, profile)


@config.command()
@click.argument("name", type=click.Choice(_ENTRIES))
@click.option("--profile", help="Default: MESH_PROFILE, then the one in use.")
def unset(name: str, profile: str | None) -> None:
    """Take an entry out of the profile.

    \b
    Example:
      mesh config unset default_model
    """
    _change(name, None, profile)


@config.command()
@click.argument("profile")
def use(profile: str) -> None:
    """Make PROFILE the one that is used where none is named.

    \b
    Example:
      mesh config use work
    """
    profiles.make_default(config_dir(os.environ), profile)
    click.echo(f"{profile} is the default profile.", err=True)
    if os.environ.get("MESH_PROFILE"):
        click.echo("MESH_PROFILE is set, and wins over it.", err=True)


def _change(name: str, value: str | None, profile: str | None) -> None:
    chosen = profile or os.environ.get("MESH_PROFILE")
    where, gone = profiles.change_entry(config_dir(os.environ), chosen, name, value)
    done = "is no longer set" if value is None else f"is {value}"
    click.echo(f"{name} {done}, in the profile {where}.", err=True)
    if gone:
        click.echo(f"Taken out, since they belong to the other server: {', '.join(gone)}.", err=True)


def _settings() -> list[tuple[str, str | None, str]]:
    """Return name, value and source of each setting."""
    env = os.environ
    try:
        found = _config.load(may_ask=True)
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    profile = found.profile
    url = found.server_url if found.agreed else f"{HOSTED_URL} (asks before it is used)"
    rows: list[tuple[str, str | None, str]] = [
        ("config file", str(found.folder / "config.toml"), _from(env.get("MESH_CONFIG_DIR"), "MESH_CONFIG_DIR", None)),
        (
            "profile",
            profile.name,
            "MESH_PROFILE" if env.get("MESH_PROFILE") else "the file" if profile.name else "none",
        ),
        ("server_url", url, _from(env.get("MESH_API_URL"), "MESH_API_URL", profile.server_url)),
        ("login", None, login_source(found) or "none: run mesh-auth"),
    ]
    for name, kept in (("default_provider", profile.default_provider), ("default_model", profile.default_model)):
        given = env.get(name.upper())
        rows.append((name, given or kept, _from(given, name.upper(), kept)))
    numbers: tuple[tuple[str, Any], ...] = (("MESH_TIMEOUT", found.timeout), ("MESH_MAX_RETRIES", found.max_retries))
    for name, value in numbers:
        shown = "600 s for a chat, 60 s for the rest" if value is None else f"{value:g}"
        rows.append((name.removeprefix("MESH_").lower(), shown, _from(env.get(name), name, None)))
    return rows


def _from(given: str | None, variable: str, kept: str | None) -> str:
    return variable if given else "profile" if kept else _NOWHERE
