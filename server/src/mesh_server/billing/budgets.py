"""Budgets as people see them: made, changed, removed, and where they stand."""

from dataclasses import replace

from mesh_server.accounts.lookup import token_name
from mesh_server.billing import statements as sql
from mesh_server.billing.models import Budget, BudgetScope, Period, Standing, Unit
from mesh_server.billing.periods import bounds
from mesh_server.billing.service import budget_of
from mesh_server.db.changes import bump
from mesh_server.db.engine import Database
from mesh_server.db.schema import Transaction
from mesh_server.db.scope import Tenant
from mesh_server.errors import BudgetNotFound
from mesh_server.ids import now_us, uuid7


class Budgets:
    """The budgets of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def set(self, wanted: Budget) -> Budget:
        """Make a budget, or change the amount of the one for the same thing; every process knows it in two seconds.

        Args:
            wanted: what it is to be, with an id for the case that it is new (`new_budget`).

        Returns:
            The budget as it is now.
        """

        async def work(tx: Transaction) -> Budget:
            whose = {"tenant_": wanted.tenant_id, "scope_": wanted.scope, "subject_": wanted.subject_id}
            rows = await tx.all(sql.BUDGETS_OF, **whose)
            known = next((b for b in map(budget_of, rows) if _same(b, wanted)), None)
            await bump(tx)
            if known is not None:
                await tx.execute(sql.CHANGE_BUDGET, tenant_=known.tenant_id, id_=known.id, amount_=wanted.amount)
                return replace(known, amount=wanted.amount)
            await tx.execute(sql.ADD_BUDGET, **{f"{name}_": getattr(wanted, name) for name in _COLUMNS})
            return wanted

        return await self._database.write(work, Tenant(wanted.tenant_id))

    async def remove(self, tenant_id: str, budget_id: str) -> None:
        """Remove a budget.

        Raises:
            BudgetNotFound: if the tenant has none with this id.
        """

        async def work(tx: Transaction) -> int:
            await bump(tx)
            return await tx.execute(sql.DROP_BUDGET, tenant_=tenant_id, id_=budget_id)

        if not await self._database.write(work, Tenant(tenant_id)):
            raise BudgetNotFound(f"There is no budget {budget_id!r}.")

    async def of_tenant(self, tenant_id: str) -> list[Standing]:
        """Return every budget of a tenant, and where it stands."""

        async def look(tx: Transaction) -> list[Standing]:
            rows = await tx.all(sql.BUDGETS_OF_TENANT, tenant_=tenant_id)
            return [await _standing(tx, budget_of(row)) for row in rows]

        return await self._database.read(look, Tenant(tenant_id))

    async def of_caller(self, tenant_id: str, account_id: str, token_id: str | None) -> list[Standing]:
        """Return the budgets that apply to a caller: of the tenant, the account, its token, and its keys."""

        async def look(tx: Transaction) -> list[Standing]:
            found: list[Standing] = []
            whose = [("tenant", ""), ("account", account_id), ("token", token_id or ""), ("key", account_id)]
            for scope, subject_id in whose:
                rows = await tx.all(sql.BUDGETS_OF, tenant_=tenant_id, scope_=scope, subject_=subject_id)
                found += [await _standing(tx, budget_of(row)) for row in rows]
            return found

        return await self._database.read(look, Tenant(tenant_id))


_COLUMNS = tuple(column.name for column in sql.BUDGET)


def new_budget(
    tenant_id: str,
    amount: int,
    unit: Unit,
    period: Period,
    *,
    scope: BudgetScope = "tenant",
    subject_id: str = "",
    key_name: str = "",
    hard: bool = True,
) -> Budget:
    """Return a budget with an id of its own; it limits nothing before `Budgets.set`. Arguments as of `Budget`."""
    return Budget(
        tenant_id=tenant_id,
        id=uuid7(),
        scope=scope,
        subject_id=subject_id,
        key_name=key_name,
        unit=unit,
        period=period,
        hard=hard,
        amount=amount,
        created_at=now_us(),
    )


def _same(one: Budget, other: Budget) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in ("key_name", "unit", "period", "hard"))


async def _standing(tx: Transaction, budget: Budget) -> Standing:
    starts_at, ends_at = bounds(budget.period, now_us())
    place = {"tenant_": budget.tenant_id, "budget_": budget.id, "starts_": starts_at}
    period = await tx.one(sql.PERIOD, **place)
    running = await tx.one(sql.SPENT, **place)
    taken, folded = period if period is not None else (0, 0)
    used = int(folded) + int((running[0] if running is not None else 0) or 0)
    held = max(int(taken) - used, 0) if budget.hard else 0
    subject = budget.key_name or None
    if budget.scope == "token":
        subject = await token_name(tx, budget.tenant_id, budget.subject_id)
    return Standing(budget=budget, used=used, held=held, starts_at=starts_at, ends_at=ends_at, subject=subject)
