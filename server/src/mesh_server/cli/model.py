"""`mesh-server model`: the weights of local models."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime

import click

from mesh_server.chat.catalog.local_models import LocalModel, catalog
from mesh_server.chat.catalog.models import catalog as known_models
from mesh_server.chat.models import LocalSettings
from mesh_server.chat.upstream.local import LocalModels, model_name
from mesh_server.chat.upstream.pull import pull as pull_weights
from mesh_server.chat.upstream.refresh import Change
from mesh_server.chat.upstream.refresh import refresh as ask_provider
from mesh_server.cli import UNAVAILABLE, _options
from mesh_server.errors import MeshError, StartupError
from mesh_server.profile import write_private
from mesh_server.settings import IN_USE_FILE, load

#: Seconds between two lines of progress where there is no terminal.
_QUIET_S = 5.0


@click.group()
def model() -> None:
    """Local models, whose weights are fetched once and verified by their hash; and news of the providers' models."""


@model.command("list")
@_options.config
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_models(config: str | None, data_dir: str | None, as_json: bool) -> None:
    """Show what can be fetched, what is here, and what is in use."""
    settings = _settings(config, data_dir)
    here = LocalModels(settings)
    installed = here.installed()
    rows = [
        {
            "name": name,
            "title": known.title if known else "a file of your own",
            "licence": known.licence if known else None,
            "size": known.size if known else None,
            "installed": name in installed,
            "in_use": name == here.default,
        }
        for name in dict.fromkeys((*catalog(), *installed, here.default))
        for known in (catalog().get(name),)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        mark = "*" if row["in_use"] else " "
        size = f"{row['size'] / 1e6:.0f} MB" if isinstance(row["size"], int) else ""
        state = "here" if row["installed"] else "not fetched"
        click.echo(f"{mark} {row['name']:<30} {size:>7}  {state:<12} {row['licence'] or '':<12} {row['title']}")


@model.command()
@_options.config
@click.argument("name", required=False)
def pull(config: str | None, data_dir: str | None, name: str | None) -> None:
    """Fetch the weights of NAME (default: the model in use), and check them."""
    settings = _settings(config, data_dir)
    wanted = name or model_name(settings.model)
    path = _pull(_known(wanted), settings)
    click.echo(path)


@model.command()
@_options.config
@click.argument("name")
def rm(config: str | None, data_dir: str | None, name: str) -> None:
    """Delete the weights of NAME from the model folder."""
    settings = _settings(config, data_dir)
    path = settings.model_dir / f"{name}.gguf"
    if "/" in name or "\\" in name or not path.is_file():
        raise StartupError(f"There are no weights of {name!r} in {settings.model_dir}.", exit_status=4)
    try:
        path.unlink()
    except OSError as problem:
        raise StartupError(f"{path} can't be deleted: {problem.strerror}.") from problem
    click.echo(f"Deleted {path}.", err=True)


@model.command()
@_options.config
@click.argument("name")
def use(config: str | None, data_dir: str | None, name: str) -> None:
    """Make NAME, or a GGUF file, the model of this server; takes effect with its next start."""
    settings = _settings(config, data_dir)
    if name not in LocalModels(settings).installed():
        if not name.endswith(".gguf"):
            _known(name)
            raise StartupError(f"Fetch it first: `mesh-server model pull {name}`.", exit_status=4)
        path = click.Path(exists=True, dir_okay=False, resolve_path=True)
        name = str(path.convert(name, None, None))
    write_private(settings.model_dir / IN_USE_FILE, f"{name}\n")
    if (now := model_name(_settings(config, data_dir).model)) != model_name(name):
        click.echo(f"MESH_LOCAL_MODEL or the configuration names {now}, which wins over this choice.", err=True)
    click.echo(f"In use with the next start: {model_name(name)}", err=True)


@model.command()
@_options.config
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def refresh(config: str | None, data_dir: str | None, as_json: bool) -> int:
    """Ask OpenAI and Anthropic for their models, and say what this version's catalog does not know.

    Needs the server's own key for each (OPENAI_API_KEY, ANTHROPIC_API_KEY). Changes nothing: a newer version of
    mesh-server brings a newer catalog, and every name that a provider knows can be asked for already.
    """
    settings = load({"config": config, "data_dir": data_dir})
    asked = [p for p in settings.chat.providers if p.name == p.kind and p.api_key is not None]
    if not asked:
        raise StartupError("There is no key to ask with: set OPENAI_API_KEY or ANTHROPIC_API_KEY.")
    found: list[Change] = []
    silent = 0
    for provider in asked:
        try:
            found += asyncio.run(ask_provider(provider, known_models(), datetime.now(UTC).date()))
        except MeshError as problem:
            silent += 1
            click.echo(f"{provider.name}: {problem.message}", err=True)
    if as_json:
        click.echo(json.dumps([asdict(change) for change in found], indent=2))
    else:
        for change in found:
            click.echo(_told(change))
        click.echo(f"{len(found)} differences at {len(asked) - silent} of {len(asked)} providers.", err=True)
    return UNAVAILABLE if silent else 0


def _told(change: Change) -> str:
    texts = {
        "new": "is new" + (f", until {change.listed}" if change.listed else ""),
        "gone": "is no longer listed",
        "date": f"retires on {change.listed or 'no day that is known'}; the catalog says {change.catalog or 'never'}",
    }
    return f"{change.provider}/{change.model} {texts[change.what]}"


def fetch(settings: LocalSettings) -> None:
    """Fetch the weights of the model in use where the catalog has them and they are not here.

    Raises:
        StartupError: if they can't be had.
    """
    known = catalog().get(model_name(settings.model))
    if known is not None and not (settings.model_dir / f"{known.name}.gguf").is_file():
        _pull(known, settings)


def _settings(config: str | None, data_dir: str | None) -> LocalSettings:
    settings = load({"config": config, "data_dir": data_dir})
    if settings.chat.local is None:
        raise StartupError("The configuration names another server in place of local models: [local] base_url.")
    return settings.chat.local


def _known(name: str) -> LocalModel:
    known = catalog().get(name)
    if known is None:
        raise StartupError(f"There is no model {name!r}; there are {', '.join(catalog())}.", exit_status=4)
    return known


def _pull(known: LocalModel, settings: LocalSettings) -> object:
    with _progress(known) as progress:
        return pull_weights(
            known, settings.model_dir, progress, lambda why: click.echo(f"  {why}; next source", err=True)
        )


@contextmanager
def _progress(known: LocalModel) -> Iterator[Callable[[int, int, str], None]]:
    """Show how far it is: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        yield _lines(known)
        return
    from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(known.name, total=known.size)

        def show(done: int, total: int, doing: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{doing} {known.name}")

        yield show


def _lines(known: LocalModel) -> Callable[[int, int, str], None]:
    told = [time.monotonic() - _QUIET_S]

    def show(done: int, total: int, doing: str) -> None:
        now = time.monotonic()
        if now - told[0] >= _QUIET_S:
            told[0] = now
            click.echo(f"  {doing} {known.name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB", err=True)

    return show
