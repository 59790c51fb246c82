"""The trail of the whole server in the order of its events, at the cost of each event once.

No index has all events in their order, since each event would pay for it. Each tenant's are in order: what is exported
is merged from them.
"""

import heapq
from collections.abc import AsyncIterator

from mesh_server.audit.models import Event
from mesh_server.audit.service import Audit, Filter

#: Events that are held at once, and the fewest that are read of one tenant at a time.
_HELD, _LEAST = 1_000, 20


async def events(audit: Audit, tenant_id: str | None, chosen: Filter) -> AsyncIterator[Event]:
    """Yield events, oldest first.

    Args:
        audit: the trail.
        tenant_id: of this tenant alone; None for every one that there is at the beginning.
        chosen: which of them.

    Raises:
        DatabaseUnavailable: if the trail can't be read now.
    """
    tenants = await audit.tenants() if tenant_id is None else [tenant_id]
    step = max(_HELD // max(len(tenants), 1), _LEAST)
    waiting: list[tuple[str, str, AsyncIterator[Event], Event]] = []
    for tenant in tenants:
        await _push(waiting, tenant, _of_tenant(audit, tenant, chosen, step))
    while waiting:
        _, tenant, rest, event = heapq.heappop(waiting)
        yield event
        await _push(waiting, tenant, rest)


async def _push(
    waiting: list[tuple[str, str, AsyncIterator[Event], Event]], tenant: str, rest: AsyncIterator[Event]
) -> None:
    event = await anext(rest, None)
    if event is not None:
        heapq.heappush(waiting, (event.id, tenant, rest, event))


async def _of_tenant(audit: Audit, tenant: str, chosen: Filter, step: int) -> AsyncIterator[Event]:
    after: str | None = None
    while page := await audit.page(
        tenant_id=tenant, account_id=None, chosen=chosen, after=after, limit=step, newest_first=False
    ):
        for event in page:
            yield event
        after = page[-1].id
