"""`mesh-server token`: API tokens made by the operator."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import click

from mesh_server.accounts.models import EVERYDAY_SCOPES, SCOPES
from mesh_server.accounts.service import DEFAULT_TENANT
from mesh_server.app import Services
from mesh_server.cli import _options
from mesh_server.settings import Settings, load

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "y": timedelta(days=365)}


class Expiry(click.ParamType[datetime | None]):
    """A moment, as `90d`, `12h`, `never`, or RFC 3339."""

    name = "expiry"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime | None:
        """Return the moment in UTC; None for `never`."""
        text = str(value).strip().lower()
        if text == "never":
            return None
        span = re.fullmatch(r"(\d{1,5})([mhdy])", text)
        if span:
            return datetime.now(UTC) + int(span[1]) * _UNITS[span[2]]
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{text!r} is neither a span such as 90d nor a date such as 2027-01-31T00:00:00Z.", param, ctx)
        moment = moment.astimezone(UTC)
        if moment <= datetime.now(UTC):
            self.fail(f"{text!r} is in the past.", param, ctx)
        return moment


class Scopes(click.ParamType[frozenset[str]]):
    """Comma-separated scopes."""

    name = "scopes"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        """Return the scopes, all of which exist."""
        named = frozenset(word.strip() for word in str(value).split(",") if word.strip())
        unknown = sorted(named - SCOPES)
        if unknown or not named:
            self.fail(f"{', '.join(unknown) or 'nothing'} is not among {', '.join(sorted(SCOPES))}.", param, ctx)
        return named


@click.group()
def token() -> None:
    """API tokens for people and machines."""


@token.command()
@_options.config
@click.option("--user", required=True, help="Whose token: a name of your choice; made on first use.")
@click.option("--scopes", type=Scopes(), default=",".join(sorted(EVERYDAY_SCOPES)), show_default=True)
@click.option("--expires", type=Expiry(), default="90d", show_default=True, help="90d, 12h, never, or a date.")
@click.option("--name", default="", help="What it is for, shown in lists.")
def create(
    config: str | None,
    data_dir: str | None,
    user: str,
    scopes: frozenset[str],
    expires: datetime | None,
    name: str,
) -> None:
    """Make a token and print it, once: its last line of output is the token alone."""
    settings = load({"config": config, "data_dir": data_dir})
    made = asyncio.run(_create(settings, user, scopes, expires, name))
    until = f"until {expires:%Y-%m-%d %H:%M} UTC" if expires else "until it is revoked"
    click.echo(f"A token for {user}, valid {until}, for: {', '.join(sorted(scopes))}.", err=True)
    click.echo("Store it now; it can't be shown again.", err=True)
    click.echo(made)


async def _create(settings: Settings, user: str, scopes: frozenset[str], expires: datetime | None, name: str) -> str:
    services = await Services.open(settings)
    try:
        owner = await services.accounts.ensure_user(DEFAULT_TENANT, user)
        return await services.accounts.create_token(owner, scopes=scopes, expires_at=expires, name=name)
    finally:
        await services.close()
