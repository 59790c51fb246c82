"""Billing on each database, with nothing running beside the test but what it starts."""

from collections.abc import AsyncIterator, Callable

import pytest

from mesh_server.accounts.models import Principal
from mesh_server.billing.budgets import Budgets
from mesh_server.billing.models import UsageEvent
from mesh_server.billing.service import Billing
from mesh_server.ids import now_us, uuid7

ANN = Principal("default", "ann", None, frozenset({"chat"}))


def event(cost: int | None = 0, **more) -> UsageEvent:
    given = {
        "tenant_id": "default",
        "id": uuid7(),
        "account_id": "ann",
        "token_id": None,
        "at": now_us(),
        "surface": "mesh",
        "provider": "openai",
        "model_asked": "gpt-x",
        "model": "gpt-x",
        "cost_nano": cost,
    }
    return UsageEvent(**{**given, **more})


@pytest.fixture
async def budgets(parts) -> Budgets:
    return Budgets(parts.database)


@pytest.fixture
async def process(parts) -> AsyncIterator[Callable[[], Billing]]:
    """Make billing as another process would have it; it writes, but nothing is renewed or reaped by itself."""
    made: list[Billing] = []

    def make() -> Billing:
        billing = Billing(parts.database)
        billing.recorder.start()
        made.append(billing)
        return billing

    yield make
    for billing in made:
        await billing.recorder.stop()
