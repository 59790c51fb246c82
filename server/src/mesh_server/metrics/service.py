"""Gathers what this process counted, and what all workers did, for one scrape."""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable

import msgspec

from mesh_server import telemetry
from mesh_server.metrics import process
from mesh_server.metrics.counts import Counts, Tables, add
from mesh_server.metrics.shared import Shared

#: Seconds between two times that a worker leaves what it has counted.
LEAVE_S = 1.0
#: Seconds between two looks at the process itself: to count ten thousand descriptors takes milliseconds.
PROCESS_S = 5.0
#: Seconds after which what a worker left tells nothing of its present state, since it is gone or stands still.
FRESH_S = 10.0

Gauges = dict[str, dict[tuple[str, ...], float]]

_log = telemetry.logger("mesh.metrics")


class Left(msgspec.Struct):
    """What one worker left.

    Attributes:
        at: when, in seconds of the machine's monotonic clock.
        tables: what it counted, and those before it in its place.
        gauges: the state it was in, by the metric's name and its labels.
    """

    at: float
    tables: Tables
    gauges: Gauges


_decoder = msgspec.msgpack.Decoder(Left)
_encoder = msgspec.msgpack.Encoder()


class Metrics:
    """The metrics of one process, which may be one of several.

    Args:
        counts: what is counted.
        totals: returns what else counts upwards as long as the process lives.
        gauges: returns the present state of the parts.
        shared: where workers leave what they counted; None where there is one process.
        index: this worker's place there.

    Attributes:
        counts: as given.
    """

    def __init__(
        self,
        counts: Counts,
        totals: Callable[[], dict[str, int]],
        gauges: Callable[[], Gauges],
        shared: Shared | None,
        index: int,
    ) -> None:
        self.counts = counts
        self._totals = totals
        self._gauges = gauges
        self._shared = shared
        self._index = index
        self._before = dict(counts.tables.totals)
        self._task: asyncio.Task[None] | None = None
        self._started = time.time()
        self._process: dict[str, float] = {}
        self._looked = -math.inf
        self._told = False

    async def start(self) -> None:
        """Begin to leave what is counted, where others are to find it."""
        if self._shared is not None:
            self._task = asyncio.create_task(self._leave_forever(self._shared))

    async def stop(self) -> None:
        """Leave it for the last time."""
        if self._task is None or self._shared is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        self._leave(self._shared)

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics of all workers as text, and its content type.

        Args:
            accept: the request's header, by which Prometheus names the formats that it reads.
        """
        return await asyncio.to_thread(_render, self._all(), accept)

    def _all(self) -> list[Left | None]:
        """Return what every worker left, this one just now; None of one that has not yet begun."""
        if self._shared is None:
            return [_decoder.decode(self._encoded())]  # a copy: it is rendered while counting goes on
        self._leave(self._shared)
        return [_decoder.decode(content) if content else None for content in self._shared.read()]

    def _encoded(self) -> bytes:
        tables = self.counts.tables
        now = {"processor_us": process.processor_us(), **self._totals()}
        tables.totals = {name: self._before.get(name, 0) + value for name, value in now.items()}
        place: tuple[str, ...] = (str(self._index),)
        if time.monotonic() - self._looked > PROCESS_S:
            self._process, self._looked = process.gauges(), time.monotonic()
        gauges: Gauges = {name: {place: value} for name, value in self._process.items()}
        gauges["process_start_time_seconds"] = {place: self._started}
        gauges["mesh_http_requests_running"] = {(): self.counts.running}
        return _encoder.encode(Left(time.monotonic(), tables, gauges | self._gauges()))

    def _leave(self, shared: Shared) -> None:
        content = self._encoded()
        try:
            shared.place(self._index).write(content)
        except ValueError as problem:
            if not self._told:
                _log.error("metrics stand still: there are more than fit", reason=str(problem))
            self._told = True

    async def _leave_forever(self, shared: Shared) -> None:
        while True:
            try:
                self._leave(shared)
            except Exception as problem:  # noqa: BLE001 - a defect of one part's state, told; the next look may be better
                _log.error("metrics can't be left for the other workers", **telemetry.describe(problem))
            await asyncio.sleep(LEAVE_S)


def before(shared: Shared | None, index: int) -> Tables | None:
    """Return what a worker counted that was in this place before; None where there was none."""
    content = shared.place(index).read() if shared is not None else b""
    return _decoder.decode(content).tables if content else None


def summed(found: list[Left | None], now: float) -> tuple[Tables, Gauges, int]:
    """Return the counters of all workers, the state of those that live, and how many those are."""
    tables, gauges, alive = Tables(), Gauges(), 0
    for left in found:
        if left is None:
            continue
        add(tables.calls, left.tables.calls)
        add(tables.failures, left.tables.failures)
        add(tables.requests, left.tables.requests)
        if now - left.at > FRESH_S:
            continue
        alive += 1
        for name, values in left.gauges.items():
            into = gauges.setdefault(name, {})
            for labels, value in values.items():
                into[labels] = into.get(labels, 0) + value
    return tables, gauges, alive


def _render(found: list[Left | None], accept: str) -> tuple[bytes, str]:
    from mesh_server.metrics import text  # noqa: PLC0415 - loads the library at the first scrape, not at the start

    totals = {str(index): left.tables.totals for index, left in enumerate(found) if left is not None}
    tables, gauges, alive = summed(found, time.monotonic())
    return text.render(tables, totals, gauges, alive, accept)
