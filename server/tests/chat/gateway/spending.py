"""What was spent, as a test looks at it: when everything that was settled is written."""

from sqlalchemy import select

from mesh_server.billing.budgets import Budgets, new_budget
from mesh_server.billing.models import UsageEvent, usage_events
from mesh_server.db.scope import ServerWork


async def flush(mesh):
    """Write what waits, and go on."""
    recorder = mesh.services.billing.recorder
    recorder.start()
    await recorder.stop()
    recorder.start()


async def usage_of(mesh, by="provider,model"):
    """Return what the account's calls came to, as it is answered."""
    await flush(mesh)
    answer = await mesh.call("GET", f"/api/v1/usage?by={by}")
    assert answer.status == 200, answer.body
    return answer.json


async def events_of(mesh):
    """Return every event, the oldest first."""
    await flush(mesh)

    async def look(tx):
        return await tx.all(select(*usage_events.c).order_by(usage_events.c.id))

    rows = await mesh.services.database.read(look, ServerWork.BILLING)
    return [UsageEvent(**dict(zip(usage_events.c.keys(), row, strict=True))) for row in rows]


async def limit(mesh, amount, unit="usd", period="total", **more):
    """Make a limit of the tenant, which this process knows at once."""
    await flush(mesh)
    made = await Budgets(mesh.services.database).set(new_budget("default", amount, unit, period, **more))
    mesh.services.billing.forget()
    return made


async def standing_of(mesh):
    """Return where the tenant's one limit stands."""
    await flush(mesh)
    (found,) = await Budgets(mesh.services.database).of_tenant("default")
    return found
