"""Counts calls and requests as plain integers: one look-up and a few additions each, all else is done when it is asked.

A row is a combination of labels with its numbers in a fixed order; what is shown of it is summed up from rows (`text`).
No label says whose a call was or what was in it, and none has more values than the operator's configuration gives it.
"""

from bisect import bisect_left
from collections.abc import Callable

import msgspec

from mesh_server.billing.models import UsageEvent

#: Upper bounds in microseconds: of whole calls, of the time to a stream's first piece, of requests.
CALL_US = tuple(int(s * 1e6) for s in (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600))
FIRST_US = tuple(int(s * 1e6) for s in (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60))
REQUEST_US = tuple(int(s * 1e6) for s in (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120))

#: Where the numbers of a call's row are: counters, then each histogram's sum and its buckets, the last one open.
CALLS, INPUT, CACHED, CACHE_WRITE, OUTPUT, THINKING, COST_NANO, UNPRICED, ESTIMATED = range(9)
LATENCY = 9
FIRST = LATENCY + 1 + len(CALL_US) + 1
_CALL_NUMBERS = FIRST + 1 + len(FIRST_US) + 1
#: Of a request's row: its number, and the histogram.
REQUESTS, DURATION = 0, 1
_REQUEST_NUMBERS = DURATION + 1 + len(REQUEST_US) + 1

#: In place of a name that is not known here: callers and providers may make names up.
OTHER = "other"
#: Names of models that are shown at the same time; what comes then counts as OTHER.
MOST_MODELS = 100
#: Combinations of names whose row is remembered.
_MOST_SHORTCUTS = 2_000

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Table = dict[tuple[str, ...], list[int]]


class Tables(msgspec.Struct):
    """Everything that was counted, by labels.

    Attributes:
        calls: by surface, provider, model and outcome.
        failures: by provider and error code; one number.
        requests: by method, route and status.
        totals: what others count that live as long as the process; by name.
    """

    calls: Table = {}
    failures: Table = {}
    requests: Table = {}
    totals: dict[str, int] = {}


class Counts:
    """The counters of one process.

    Args:
        model: returns the name that a model is counted under; None where it is not known here.
        before: what the process in whose place this one is has counted; it is counted on from there.

    Attributes:
        tables: what was counted.
        running: requests that are not answered yet.
    """

    def __init__(self, model: Callable[[UsageEvent], str | None], before: Tables | None = None) -> None:
        self._model = model
        self._shortcuts: dict[tuple[str, str, str, str, str], list[int]] = {}
        self.tables = before or Tables()
        self._models = {(labels[1], labels[2]) for labels in self.tables.calls}
        self.running = 0

    def call(self, event: UsageEvent) -> None:
        """Count a call that ended."""
        key = (event.surface, event.provider, event.model, event.outcome, event.model_asked)
        row = self._shortcuts.get(key) or self._row(event, key)
        row[CALLS] += 1
        row[INPUT] += event.input
        row[CACHED] += event.cached
        row[CACHE_WRITE] += event.cache_write
        row[OUTPUT] += event.output
        row[THINKING] += event.thinking
        if event.cost_nano is None:
            row[UNPRICED] += 1
        else:
            row[COST_NANO] += event.cost_nano
        if event.estimated:
            row[ESTIMATED] += 1
        row[LATENCY] += event.latency_us
        row[LATENCY + 1 + bisect_left(CALL_US, event.latency_us)] += 1
        if event.first_us is not None:
            row[FIRST] += event.first_us
            row[FIRST + 1 + bisect_left(FIRST_US, event.first_us)] += 1
        if event.error_code is not None:
            self.tables.failures.setdefault((event.provider, event.error_code), [0])[0] += 1

    def request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a request that was answered.

        Args:
            method: of HTTP.
            route: the pattern of its path; None where nothing is served there.
            status: of the answer; 0 where its client left before it began.
            seconds: that it took.
        """
        labels = (method if method in _METHODS else OTHER, route or OTHER, str(status) if status else "left")
        row = self.tables.requests.get(labels)
        if row is None:
            row = self.tables.requests[labels] = [0] * _REQUEST_NUMBERS
        took = int(seconds * 1e6)
        row[REQUESTS] += 1
        row[DURATION] += took
        row[DURATION + 1 + bisect_left(REQUEST_US, took)] += 1

    def _row(self, event: UsageEvent, key: tuple[str, str, str, str, str]) -> list[int]:
        """Return the row of an event whose names were not seen lately."""
        model = self._model(event) or OTHER
        if model != OTHER and (event.provider, model) not in self._models:
            if len(self._models) < MOST_MODELS:
                self._models.add((event.provider, model))
            else:
                model = OTHER
        if len(self._shortcuts) >= _MOST_SHORTCUTS:
            self._shortcuts.clear()
        labels = (event.surface, event.provider, model, event.outcome)
        row = self._shortcuts[key] = self.tables.calls.setdefault(labels, [0] * _CALL_NUMBERS)
        return row


def add(into: Table, more: Table) -> None:
    """Add the numbers of one table to those of another."""
    for labels, numbers in more.items():
        known = into.get(labels)
        into[labels] = list(numbers) if known is None else [a + b for a, b in zip(known, numbers, strict=True)]
