"""What `get_usage` and `get_budget` ask, and how their answers are read; pure."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, get_args
from urllib.parse import urlencode

from mesh import _answers
from mesh._requests import Request
from mesh._transport import Reply
from mesh.usage import Budget, BudgetLimit, Dimension, UsageCounts, UsageReport, UsageRow
from mesh_protocol.wire import API_PREFIX

When = datetime | date | str

DIMENSIONS: tuple[str, ...] = get_args(Dimension)


def usage(since: When | None, until: When | None, by: Sequence[Dimension] | Dimension | None) -> Request:
    """Return the request for what was spent.

    Raises:
        TypeError, ValueError: if the call is wrong.
    """
    begin, end = _moment("since", since), _moment("until", until)
    if begin is not None and end is not None and begin >= end:
        raise ValueError("since must be before until, which is not counted itself")
    asked = {name: text(moment) for name, moment in (("since", begin), ("until", end)) if moment is not None} | _by(by)
    path = f"{API_PREFIX}/usage"
    return Request(method="GET", route=path, path=f"{path}?{urlencode(asked, safe=',:')}" if asked else path)


def text(moment: datetime) -> str:
    """Return a time in RFC 3339, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def report(reply: Reply) -> UsageReport:
    """Return what was spent."""
    body = _answers.read(reply)
    total, rows = body.get("total"), _members(body, "usage")
    if not isinstance(total, dict) or rows is None:
        raise _answers.invalid(reply, "no usage")
    return UsageReport({**body, "total": UsageCounts(total), "usage": [UsageRow(row) for row in rows]})


def budget(reply: Reply) -> Budget:
    """Return what may be spent."""
    body = _answers.read(reply)
    limits = _members(body, "budgets")
    if limits is None:
        raise _answers.invalid(reply, "no budgets")
    left = _answers.amount(body.get("left_usd"))
    return Budget({**body, "left_usd": left, "budgets": [BudgetLimit(limit) for limit in limits]})


def _members(body: dict[str, Any], name: str) -> list[dict[str, Any]] | None:
    found = body.get(name)
    return found if isinstance(found, list) and all(isinstance(one, dict) for one in found) else None


def _moment(name: str, when: When | None) -> datetime | None:
    """Return a time; a day begins at midnight UTC."""
    if isinstance(when, str):
        try:
            when = date.fromisoformat(when) if len(when) == len("2026-11-01") else datetime.fromisoformat(when)
        except ValueError:
            raise ValueError(f"{name} must be like 2026-11-01 or 2026-11-01T12:00:00Z") from None
    if when is None:
        return None
    if not isinstance(when, date):
        raise TypeError(f"{name} must be a datetime, a date or a str, not {type(when).__name__}")
    if not isinstance(when, datetime):
        return datetime(when.year, when.month, when.day, tzinfo=UTC)
    if when.tzinfo is None:
        raise ValueError(f"{name} must have a time zone, such as datetime.now(UTC)")
    return when


def _by(by: Sequence[Dimension] | Dimension | None) -> dict[str, str]:
    if by is None:
        return {}
    names = [by] if isinstance(by, str) else list(by)
    wrong = [name for name in names if name not in DIMENSIONS]
    if wrong or not names:
        raise ValueError(f"by must be of {', '.join(DIMENSIONS)}" + (f", not {wrong[0]!r}" if wrong else ""))
    return {"by": ",".join(dict.fromkeys(names))}
