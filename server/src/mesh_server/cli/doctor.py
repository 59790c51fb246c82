"""`mesh-server doctor`: looks at everything the server needs, and says what to do about what is wrong."""

import asyncio
import importlib.util
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from mesh_server.accounts.oidc.examine import Examined, examine
from mesh_server.accounts.oidc.models import Issuer
from mesh_server.app import Services
from mesh_server.chat.models import LocalSettings, Provider
from mesh_server.chat.upstream.local import LocalModels
from mesh_server.chat.upstream.probe import Probe, probe
from mesh_server.cli import FAILED, _options
from mesh_server.cli.serve import check_address
from mesh_server.db import address
from mesh_server.errors import MeshError, StartupError
from mesh_server.proofs.roots import Roots
from mesh_server.settings import Settings, load

#: Seconds by which a clock may be wrong before logins begin to fail.
MOST_SKEW_S = 30.0
#: Where the client listens for the browser that comes back.
CALLBACK_PORTS = range(45678, 45688)
_LITTLE_SPACE = 500 * 1024 * 1024

GOOD, NOTE, BAD = "ok", "note", "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: a verdict, what was seen, and what to do."""

    verdict: str
    what: str
    seen: str
    todo: str = ""


@click.command()
@_options.config
@click.option("--offline", is_flag=True, help="Look at this machine only; call no provider.")
def doctor(config: str | None, data_dir: str | None, offline: bool) -> int:
    """Check configuration, data folder, master key, database, tokens, local model, providers and clock."""
    settings = load({"config": config, "data_dir": data_dir})
    bad = asyncio.run(_examine(settings, offline=offline))
    click.echo(f"\n{bad} of these must be mended." if bad else "\nNothing stands in the way.")
    return FAILED if bad else 0


async def _examine(settings: Settings, *, offline: bool) -> int:
    bad = 0
    async for finding in _findings(settings, offline=offline):
        bad += finding.verdict == BAD
        click.echo(f"{finding.verdict:>4}  {finding.what:<14} {finding.seen}")
        if finding.todo:
            click.echo(f"{'':>21}→ {finding.todo}")
    return bad


async def _findings(settings: Settings, *, offline: bool) -> AsyncIterator[Finding]:
    yield Finding(GOOD, "configuration", str(settings.config_file or "environment and defaults only"))
    yield _folder(settings.data_dir)
    yield _zkp_root(settings)
    async for finding in _stored(settings):
        yield finding
    if settings.chat.local is not None:
        yield _local(settings.chat.local)
    try:
        check_address(settings, behind_proxy=False)
        yield Finding(GOOD, "address", f"{settings.host}:{settings.port}, known as {settings.public_url}")
    except StartupError as problem:
        yield Finding(NOTE, "address", problem.message)
    if offline:
        return
    probes = await asyncio.gather(*(probe(provider) for provider in settings.chat.providers))
    for provider, found in zip(settings.chat.providers, probes, strict=True):
        yield _provider(provider, found)
    skews = [found.clock_skew_s for found in probes]
    for issuer in settings.issuers:
        examined = await examine(issuer)
        skews.insert(0, examined.clock_skew_s)  # the clock that logins are compared with comes first
        for finding in _issuer(issuer, examined):
            yield finding
    yield _clock([skew for skew in skews if skew is not None])


def _folder(folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding(NOTE, "data folder", f"{folder} is not there yet", "`mesh-server dev` or `init` makes it")
    if not os.access(folder, os.W_OK):
        return Finding(BAD, "data folder", f"{folder} can't be written", "mend its owner or permissions")
    free = shutil.disk_usage(folder).free
    if free < _LITTLE_SPACE:
        return Finding(NOTE, "data folder", f"{folder}: only {free / 1e6:.0f} MB free", "make room")
    return Finding(GOOD, "data folder", f"{folder}, {free / 1e9:.0f} GB free")


def _zkp_root(settings: Settings) -> Finding:
    try:
        Roots.load(settings.zkp_root, settings.zkp_root_file)
    except StartupError as problem:
        return Finding(BAD, "proof root", problem.message)
    return Finding(GOOD, "proof root", "there; it is in no backup of the database: keep a copy elsewhere")


async def _stored(settings: Settings) -> AsyncIterator[Finding]:
    """Look at master key, database and tokens, without making a database that is not there."""
    if settings.master.is_file and not settings.master_key_file.exists():
        yield Finding(BAD, "master key", "there is none", "`mesh-server dev` or `init` makes one; or put yours back")
        return
    if _zkp_root(settings).verdict == BAD:  # reported already
        return
    database = address.shown(settings.database_url)
    if address.is_sqlite(settings.database_url) and not os.path.exists(database):  # noqa: ASYNC240, PTH110 - nothing else to do
        yield Finding(GOOD, "master key", "there")
        yield Finding(NOTE, "database", f"{database} is not there yet", "the first start makes it")
        return
    try:
        services = await Services.open(settings)
    except StartupError as problem:
        yield Finding(BAD, "database", problem.message)
        return
    try:
        await services.database.check()
        yield Finding(GOOD, "master key", "opens the database")
        yield Finding(GOOD, "database", f"{database}, revision {services.database.revision}")
        if settings.issuers or await services.accounts.has_any_token():
            yield Finding(GOOD, "tokens", "somebody can log in")
        else:
            yield Finding(BAD, "tokens", "nobody can log in", "`mesh-server token create --user NAME`")
    except MeshError as problem:
        yield Finding(BAD, "database", problem.message, problem.advice[0] if problem.advice else "")
    finally:
        await services.close()


def _local(settings: LocalSettings) -> Finding:
    models = LocalModels(settings)
    if importlib.util.find_spec("xllamacpp") is None:
        return Finding(NOTE, "local model", "not installed", 'pip install "mesh-server[local]"')
    if models.default not in models.installed():
        return Finding(
            NOTE, "local model", f"{models.default} is not fetched", f"mesh-server model pull {models.default}"
        )
    return Finding(GOOD, "local model", models.default)


def _provider(provider: Provider, found: Probe) -> Finding:
    what = provider.name
    if found.status is None:
        return Finding(
            NOTE, what, f"{provider.base_url} can't be reached from here", "check address, network and proxy"
        )
    if found.status in {401, 403}:
        if provider.api_key is not None:
            return Finding(BAD, what, "refuses the server's own key", "put a valid key in its place")
        return Finding(GOOD, what, f"{provider.base_url} answers; each caller needs a key of their own")
    if found.status != 200:
        return Finding(NOTE, what, f"answers with status {found.status}", "check base_url")
    return Finding(GOOD, what, f"{provider.base_url} answers")


def _issuer(issuer: Issuer, found: Examined) -> Iterator[Finding]:
    if found.problem is not None:
        yield Finding(BAD, "issuer", found.problem, "check its address, network and proxy; nobody can log in anew")
        return
    yield Finding(GOOD, "issuer", f"{issuer.name} answers; {found.keys} keys; audience {issuer.audience}")
    if "device" in issuer.flows and not found.has_device_flow:
        todo = 'allow the device flow at the issuer, or say flows = ["browser"]'
        if issuer.is_auth0:
            todo = "in Auth0: Applications, Advanced Settings, Grant Types: switch on Device Code"
        yield Finding(NOTE, "issuer", "offers no device flow", todo)
    if "browser" in issuer.flows and not found.has_browser_flow:
        yield Finding(BAD, "issuer", "offers no login in the browser", 'say flows = ["device"]')
    if issuer.client_secret is not None and "device" in issuer.flows:
        yield Finding(NOTE, "issuer", "the client has a secret", "a device has none: make it a Native (public) client")
    if issuer.is_auth0:
        # What only Auth0's dashboard knows can't be seen from here: it is said, not checked.
        yield Finding(
            NOTE,
            "issuer",
            "set in Auth0's dashboard, not seen from here",
            "application type Native, grants Device Code and Refresh Token; API: Allow Offline Access; callback URLs "
            f"http://localhost:{CALLBACK_PORTS[0]}/callback to :{CALLBACK_PORTS[-1]}; Rotation Overlap 30 s or more",
        )


def _clock(skews: list[float]) -> Finding:
    if not skews:
        return Finding(NOTE, "clock", "nobody to compare it with")
    skew = min(skews, key=abs)
    if abs(skew) > MOST_SKEW_S:
        return Finding(BAD, "clock", f"wrong by {abs(skew):.0f} s", "set the time; let it be kept by NTP")
    return Finding(GOOD, "clock", "right")
