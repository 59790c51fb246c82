"""What `FakeMesh` says of usage and budgets: chats that it answered are counted, as the server counts them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mesh._billing import DIMENSIONS, text

_NANO = 1_000_000_000
COUNTERS = (
    *("calls", "failed", "estimated", "unpriced", "input_tokens", "cached_tokens", "cache_write_tokens"),
    *("output_tokens", "thinking_tokens", "total_tokens", "cost_usd", "cost_nano"),
)


class FakeBilling:
    """Counts chats; refuses none."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._budgets: list[dict[str, Any]] = []

    def add_usage(self, row: Mapping[str, Any]) -> None:
        """Count what a test says was spent.

        Raises:
            TypeError: for a member that no row has.
        """
        unknown = sorted(row.keys() - {*DIMENSIONS, *COUNTERS})
        if unknown:
            raise TypeError(f"a row of usage has no {unknown[0]}")
        now = f"{datetime.now(UTC):%Y-%m-%d}"
        known = {"day": now, "provider": "fake", "model": "fake-1", "key": None, "surface": "mesh", "outcome": "ok"}
        counted = dict.fromkeys(COUNTERS, 0) | {"calls": 1}
        counted["total_tokens"] = row.get("input_tokens", 0) + row.get("output_tokens", 0)
        cost = row.get("cost_usd", 0)
        if cost is None:
            counted["unpriced"] = row.get("calls", 1)
        nano = row.get("cost_nano", round((cost or 0) * _NANO))
        self._rows.append({**known, **counted, **row, "cost_nano": nano, "cost_usd": nano / _NANO})

    def add_budget(self, limit: Mapping[str, Any]) -> None:
        """Set a limit."""
        self._budgets.append({"id": f"budget_{len(self._budgets) + 1}", **limit})

    def record(self, told: Mapping[str, Any], *, failed: bool = False) -> None:
        """Count a chat by what it was answered."""
        usage = told.get("usage") or {}
        given, taken = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
        spent = {"input_tokens": given, "output_tokens": taken, "cost_usd": told.get("cost_usd")}
        ended = {"outcome": "failed", "failed": 1, "estimated": 1} if failed else {}
        self.add_usage({"provider": told["provider"], "model": told["model"] or "fake-1", **spent, **ended})
        for limit in self._budgets:
            by_unit = {"usd": told.get("cost_usd") or 0, "requests": 1, "tokens": given + taken}
            limit["used"] += by_unit[limit["unit"]]

    def left_usd(self) -> float | None:
        """Return what the tightest hard budget of money leaves."""
        left = [_left(limit) for limit in self._budgets if limit["hard"] and limit["unit"] == "usd"]
        return min(left, default=None)

    def usage(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return what was spent, as GET /api/v1/usage does."""
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        until = _moment(query.get("until")) or midnight + timedelta(days=1)
        since = _moment(query.get("since")) or until - timedelta(days=30)
        asked = query.get("by", "day,provider,model").split(",")
        by = [name for name in DIMENSIONS if name in asked]
        last = until - timedelta(microseconds=1)
        within = [row for row in self._rows if f"{since:%Y-%m-%d}" <= row["day"] <= f"{last:%Y-%m-%d}"]
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in within:
            groups.setdefault(tuple(row[name] for name in by), []).append(row)
        rows = [{**_named(by, names), **_sum(group)} for names, group in groups.items()]
        rows.sort(key=lambda row: (row.get("day", ""), row["cost_nano"]), reverse=True)
        times = {"since": text(since), "until": text(until)}
        return {"success": True, **times, "by": by, "total": _sum(within), "usage": rows, "truncated": False}

    def budget(self) -> dict[str, Any]:
        """Return what may be spent, as GET /api/v1/budget does."""
        limits = [{**limit, "left": _left(limit)} for limit in self._budgets]
        return {"success": True, "left_usd": self.left_usd(), "budgets": limits}


def _left(limit: Mapping[str, Any]) -> Any:
    return max(limit["limit"] - limit["used"] - limit["held"], 0)


def _named(by: Sequence[str], names: Sequence[Any]) -> dict[str, Any]:
    found = dict(zip(by, names, strict=True))
    return found | ({"service": found["provider"]} if "provider" in found else {})


def _sum(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total = {name: sum(row[name] for row in rows) for name in COUNTERS}
    return {**total, "cost_usd": total["cost_nano"] / _NANO}


def _moment(when: str | None) -> datetime | None:
    return None if when is None else datetime.fromisoformat(when)
