"""What a caller is told when a limit does not admit a call."""

from typing import Any

from mesh_server.billing.models import DOLLAR, Budget, Unit
from mesh_server.billing.slices import Slice
from mesh_server.errors import BudgetExceeded, QuotaExceeded
from mesh_server.ids import moment, now_us

_WHOSE = {"tenant": "this tenant's", "account": "your", "token": "this API token's", "key": "this key's"}
_PER = {"minute": "for a minute", "day": "for a day", "month": "for a month", "total": "in total"}
#: Seconds after which what other calls hold may be free again.
_SOON_S = 2.0


def amount_of(unit: Unit, amount: int) -> float | int:
    """Return an amount as callers see it: dollars, or a count."""
    return amount / DOLLAR if unit == "usd" else amount


def amount_text(unit: Unit, amount: int) -> str:
    """Return an amount for a sentence."""
    if unit != "usd":
        return f"{amount:,} {unit}"
    text = f"{amount / DOLLAR:,.9f}".rstrip("0")
    whole, _, part = text.partition(".")
    return f"${whole}.{part:0<2}"


def describe(budget: Budget) -> str:
    """Return a limit for a sentence: `your limit of $5.00 for a month`."""
    return f"{_WHOSE[budget.scope]} limit of {amount_text(budget.unit, budget.amount)} {_PER[budget.period]}"


def refusal(slice_: Slice, need: int) -> BudgetExceeded | QuotaExceeded:
    """Return the error for a call that a limit does not admit.

    Args:
        slice_: of the limit.
        need: what the call could come to, in the limit's unit.
    """
    budget = slice_.budget
    left = max((slice_.left or 0) + slice_.free, 0)
    used = slice_.used if slice_.used is not None else max(budget.amount - left - slice_.reserved, 0)
    held = max(budget.amount - used - left, 0)
    details: dict[str, Any] = {
        "scope": budget.scope,
        "unit": budget.unit,
        "period": budget.period,
        "limit": amount_of(budget.unit, budget.amount),
        "needed": amount_of(budget.unit, need),
        "used": amount_of(budget.unit, used),
        "held": amount_of(budget.unit, held),
        "left": amount_of(budget.unit, left),
        "resets_at": moment(slice_.ends_at).isoformat().replace("+00:00", "Z") if slice_.ends_at else None,
    }
    text = describe(budget)
    resets_in = None if slice_.ends_at is None else max((slice_.ends_at - now_us()) / 1_000_000, 1.0)
    if held and need <= left + held:
        message = f"{text[0].upper()}{text[1:]} does not admit this call now: other calls hold a part of it."
        resets_in = _SOON_S if resets_in is None else min(resets_in, _SOON_S)
    else:
        needed, rest = amount_text(budget.unit, need), amount_text(budget.unit, left)
        message = (
            f"{text[0].upper()}{text[1:]} does not admit this call: it could come to {needed}, and {rest} is left."
        )
    failure: BudgetExceeded | QuotaExceeded
    if budget.unit == "usd":
        failure = BudgetExceeded(message, details=details, retry_after=resets_in)
    else:
        failure = QuotaExceeded(message, details=details, retry_after=resets_in)
        failure.unit = budget.unit
    failure.left = left
    return failure
