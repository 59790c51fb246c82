"""Makes the metrics of a process from its parts: what they count, and how they stand."""

from mesh_server.billing.models import DOLLAR
from mesh_server.billing.service import Billing
from mesh_server.chat.service import Chat
from mesh_server.db.engine import Database
from mesh_server.metrics.counts import Counts
from mesh_server.metrics.service import Gauges, Metrics, before
from mesh_server.metrics.shared import Shared


def assemble(database: Database, billing: Billing, chat: Chat, shared: Shared | None, index: int) -> Metrics:
    """Return the metrics of a process, which count every call from now on.

    Args:
        database: whose writer is watched.
        billing: tells of the calls.
        chat: whose providers are watched.
        shared: what all workers leave theirs in; None where there is one process.
        index: this worker's place there.
    """
    counts = Counts(chat.model_name, before(shared, index))
    billing.observers.append(counts.call)

    def totals() -> dict[str, int]:
        load = database.load()
        return {"commits": load.commits, "writes": load.writes}

    return Metrics(counts, totals, lambda: _gauges(database, billing, chat), shared, index)


def _gauges(database: Database, billing: Billing, chat: Chat) -> Gauges:
    providers = chat.states()
    budgets = {unit: (amount, DOLLAR if unit == "usd" else 1) for unit, amount in billing.slices.state().items()}
    return {
        "mesh_provider_connections": {
            (name, state): number
            for name, found in providers.items()
            for state, number in (("open", found.open), ("idle", found.idle))
        },
        "mesh_provider_waiting": {(name,): found.waiting for name, found in providers.items()},
        "mesh_breakers_open": {(name,): found.resting for name, found in providers.items()},
        "mesh_database_waiting": {(): database.load().waiting},
        "mesh_usage_waiting": {(): billing.recorder.waiting},
        "mesh_budget_reserved": {(unit,): amount[0] / one for unit, (amount, one) in budgets.items()},
        "mesh_budget_held": {(unit,): amount[1] / one for unit, (amount, one) in budgets.items()},
    }
