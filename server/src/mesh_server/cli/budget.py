"""`mesh-server budget`: limits of what accounts, tokens, keys and tenants may spend."""

import asyncio
import re
from decimal import Decimal, InvalidOperation

import click
import msgspec

from mesh_server.accounts.lookup import find_account, has_token
from mesh_server.accounts.service import DEFAULT_TENANT
from mesh_server.billing.budgets import Budgets, new_budget
from mesh_server.billing.models import DOLLAR, BudgetScope, Period, Standing, Unit
from mesh_server.billing.refusals import amount_of, amount_text
from mesh_server.cli import _options
from mesh_server.cli._parts import Stored, stored
from mesh_server.errors import BudgetNotFound, StartupError
from mesh_server.ids import moment
from mesh_server.settings import Settings, load

_MOST = 10**18
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Dollars(click.ParamType[int]):
    """An amount of US dollars; whole nano-dollars are kept."""

    name = "dollars"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return nano-dollars."""
        if isinstance(value, int):
            return value
        try:
            nano = Decimal(str(value).strip().removeprefix("$")) * DOLLAR
        except InvalidOperation:
            nano = Decimal(-1)
        if not nano.is_finite() or not 0 <= nano <= _MOST or nano != nano.to_integral_value():
            self.fail(f"{value!r} is no amount of dollars, such as 5 or 0.25.", param, ctx)
        return int(nano)


@click.group()
def budget() -> None:
    """Limits of what accounts, tokens, keys and tenants may spend."""


@budget.command("set")
@_options.config
@click.option("--tenant", default=DEFAULT_TENANT, show_default=True)
@click.option("--user", help="Limit an account: the name of `token create --user`, or its id.")
@click.option("--token", "token_id", help="Limit an API token, by its id.")
@click.option("--key", help="Limit what is called with this key of --user.")
@click.option("--usd", type=Dollars(), help="Money, in US dollars.")
@click.option("--requests", type=click.IntRange(0, _MOST), help="Calls.")
@click.option("--tokens", type=click.IntRange(0, _MOST), help="Tokens of every kind.")
@click.option("--per", type=click.Choice(["minute", "day", "month", "total"]), default="month", show_default=True)
@click.option("--soft", is_flag=True, help="Only say so in the answers when it is used up.")
def set_(
    config: str | None,
    data_dir: str | None,
    tenant: str,
    user: str | None,
    token_id: str | None,
    key: str | None,
    usd: int | None,
    requests: int | None,
    tokens: int | None,
    per: Period,
    soft: bool,
) -> None:
    """Make a limit, or change its amount. Without --user or --token it is the whole tenant's.

    \b
    Examples:
      mesh-server budget set --user ada --usd 20
      mesh-server budget set --user ada --key openai_key --usd 5 --per day
      mesh-server budget set --requests 600 --per minute
    """
    amounts: dict[Unit, int | None] = {"usd": usd, "requests": requests, "tokens": tokens}
    given = [(unit, amount) for unit, amount in amounts.items() if amount is not None]
    if len(given) != 1:
        raise click.UsageError("Give one of --usd, --requests and --tokens.")
    if token_id is not None and (user is not None or key is not None):
        raise click.UsageError("--token stands alone: a token belongs to one account.")
    if key is not None and user is None:
        raise click.UsageError("--key needs --user: whose key it is.")
    settings = load({"config": config, "data_dir": data_dir})
    asyncio.run(_set(settings, tenant, user, token_id, key, given[0], per, hard=not soft))


@budget.command("list")
@_options.config
@click.option("--tenant", default=DEFAULT_TENANT, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="JSON lines.")
def list_(config: str | None, data_dir: str | None, tenant: str, as_json: bool) -> None:
    """Show every limit of a tenant, and where it stands."""
    for standing in asyncio.run(_standings(load({"config": config, "data_dir": data_dir}), tenant)):
        click.echo(msgspec.json.encode(_shown(standing)).decode() if as_json else _line(standing))


@budget.command("rm")
@_options.config
@click.option("--tenant", default=DEFAULT_TENANT, show_default=True)
@click.argument("budget_id")
def rm(config: str | None, data_dir: str | None, tenant: str, budget_id: str) -> None:
    """Remove a limit by its id; running servers know it within two seconds."""

    async def work() -> None:
        async with stored(load({"config": config, "data_dir": data_dir})) as parts:
            try:
                await Budgets(parts.database).remove(tenant, budget_id)
            except BudgetNotFound as problem:
                raise StartupError(problem.message, exit_status=4) from None

    asyncio.run(work())
    click.echo(f"Removed {budget_id}.", err=True)


async def _set(
    settings: Settings,
    tenant: str,
    user: str | None,
    token_id: str | None,
    key: str | None,
    amount: tuple[Unit, int],
    per: Period,
    *,
    hard: bool,
) -> None:
    scope: BudgetScope = "tenant"
    subject = ""
    async with stored(settings) as parts:
        if token_id is not None:
            scope, subject = "token", await _token(parts, tenant, token_id)
        elif user is not None:
            scope, subject = "key" if key is not None else "account", await _account(parts, tenant, user)
        wanted = new_budget(
            tenant, amount[1], amount[0], per, scope=scope, subject_id=subject, key_name=key or "", hard=hard
        )
        made = await Budgets(parts.database).set(wanted)
    what = f"{'hard' if hard else 'soft'} limit of {amount_text(made.unit, made.amount)}"
    span = "in total" if per == "total" else f"each {per}"
    click.echo(f"Set a {what} {span} for the {scope}; running servers know it within two seconds.", err=True)
    click.echo(made.id)


async def _account(parts: Stored, tenant: str, user: str) -> str:
    found = await find_account(parts.database, tenant, user)
    if found is None:
        raise StartupError(f"There is no account {user!r} in the tenant {tenant!r}.", exit_status=4)
    return found


async def _token(parts: Stored, tenant: str, token_id: str) -> str:
    if not _ID.fullmatch(token_id) or not await has_token(parts.database, tenant, token_id):
        raise StartupError(f"There is no API token with the id {token_id!r} in the tenant {tenant!r}.", exit_status=4)
    return token_id


async def _standings(settings: Settings, tenant: str) -> list[Standing]:
    async with stored(settings) as parts:
        return await Budgets(parts.database).of_tenant(tenant)


def _shown(standing: Standing) -> dict[str, object]:
    budget = standing.budget
    amounts = {"limit": budget.amount, "used": standing.used, "held": standing.held, "left": standing.left}
    return {
        "id": budget.id,
        "scope": budget.scope,
        "subject": budget.subject_id or None,
        "key": budget.key_name or None,
        "unit": budget.unit,
        "period": budget.period,
        "hard": budget.hard,
        **{name: amount_of(budget.unit, amount) for name, amount in amounts.items()},
        "resets_at": None if standing.ends_at is None else moment(standing.ends_at),
    }


def _line(standing: Standing) -> str:
    budget = standing.budget
    whose = " ".join(part for part in (budget.scope, budget.subject_id, budget.key_name) if part)
    of = f"{amount_text(budget.unit, standing.used)} of {amount_text(budget.unit, budget.amount)}"
    held = f", {amount_text(budget.unit, standing.held)} held" if standing.held else ""
    return f"{budget.id}  {whose}: {of} per {budget.period}{held}{'' if budget.hard else ' (soft)'}"
