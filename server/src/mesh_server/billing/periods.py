"""The periods of budgets: minutes, days and months of UTC, or all time."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta

from mesh_server.billing.models import Period
from mesh_server.ids import microseconds, moment

_STEPS = {"minute": timedelta(minutes=1), "day": timedelta(days=1)}


def bounds(period: Period, at: int) -> tuple[int, int | None]:
    """Return when the period that holds a moment begins and ends; both in microseconds since 1970.

    Args:
        period: its kind.
        at: the moment.

    Returns:
        The first moment of it, and the first after it; `(0, None)` for all time.
    """
    if period == "total":
        return 0, None
    now = moment(at)
    if period == "month":
        begins = datetime(now.year, now.month, 1, tzinfo=UTC)
        ends = begins + timedelta(days=monthrange(now.year, now.month)[1])
    else:
        day = datetime(now.year, now.month, now.day, tzinfo=UTC)
        begins = day if period == "day" else day + timedelta(hours=now.hour, minutes=now.minute)
        ends = begins + _STEPS[period]
    return microseconds(begins), microseconds(ends)
