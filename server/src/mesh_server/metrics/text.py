"""What was counted, as Prometheus reads it. Loads its client library, which writes the formats."""

import re
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mesh_server import __version__
from mesh_server.billing.models import DOLLAR
from mesh_server.metrics import counts as c
from mesh_server.metrics.counts import Table, Tables
from mesh_server.metrics.service import Gauges

_VERSIONS, _VERSION = re.compile(r"version\s*=([^,;]*)"), re.compile(r"\d{1,3}(\.\d{1,3}){1,3}")
#: Kinds of tokens, and where their number is in a row.
_TOKENS = {
    "input": c.INPUT,
    "cached": c.CACHED,
    "cache_write": c.CACHE_WRITE,
    "output": c.OUTPUT,
    "thinking": c.THINKING,
}
#: Counters for each provider and model beside tokens: name, meaning, place in a row, how many of that are one.
_OF_MODELS = (
    ("mesh_cost_dollars", "What calls cost, in US dollars, as far as prices are known", c.COST_NANO, DOLLAR),
    ("mesh_calls_unpriced", "Calls whose price is not known: their cost is missing", c.UNPRICED, 1),
    ("mesh_calls_estimated", "Calls whose provider gave no usage: tokens and cost are estimates", c.ESTIMATED, 1),
)
#: Gauges: meaning, and names of the labels.
_GAUGES = {
    "mesh_http_requests_running": ("Requests that are not answered yet", ()),
    "mesh_provider_connections": ("Connections to a provider that is reached without a proxy", ("provider", "state")),
    "mesh_provider_waiting": ("Calls that wait for a connection to a provider", ("provider",)),
    "mesh_breakers_open": ("Models of a provider that are left alone because it failed", ("provider",)),
    "mesh_database_waiting": ("Changes that wait to be written", ()),
    "mesh_usage_waiting": ("Calls that ended and whose usage is not written yet", ()),
    "mesh_budget_reserved": ("Of budgets, reserved by calls under way; in dollars, calls or tokens", ("unit",)),
    "mesh_budget_held": ("Of budgets, taken by processes and neither reserved nor spent", ("unit",)),
    "process_start_time_seconds": ("When the process began, in seconds since 1970", ("worker",)),
    "process_resident_memory_bytes": ("Memory in use", ("worker",)),
    "process_virtual_memory_bytes": ("Virtual memory", ("worker",)),
    "process_open_fds": ("Open file descriptors", ("worker",)),
    "process_max_fds": ("File descriptors that the system allows", ("worker",)),
}
#: Counters of each worker: meaning, name of the total, how many of that are one.
_TOTALS = {
    "process_cpu_seconds": ("Processor time, of the processes before in this place as well", "processor_us", 1_000_000),
    "mesh_database_commits": ("Commits", "commits", 1),
    "mesh_database_writes": ("Changes in them: several share a commit under load", "writes", 1),
}


def render(
    tables: Tables, totals: dict[str, dict[str, int]], gauges: Gauges, alive: int, accept: str
) -> tuple[bytes, str]:
    """Return everything as text, and its content type.

    Args:
        tables: the counters of all workers.
        totals: further counters by worker and name.
        gauges: the state of all workers.
        alive: how many workers there are.
        accept: which formats the reader takes.
    """
    # The library takes a version for a number without a look, and repeats it in its answer.
    well_formed = all(_VERSION.fullmatch(version) for version in _VERSIONS.findall(accept))
    encode, content_type = choose_encoder(accept if well_formed else "")
    return encode(_Once([*_calls(tables), *_requests(tables), *_state(totals, gauges, alive)])), content_type


class _Once(Collector):
    """Metrics that are there already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        return self._metrics


def _calls(tables: Tables) -> Iterator[Metric]:
    rows = tables.calls
    calls = CounterMetricFamily(
        "mesh_calls", "Calls of models that ended", labels=("surface", "provider", "model", "outcome")
    )
    for labels, numbers in rows.items():
        calls.add_metric(labels, numbers[c.CALLS])
    yield calls
    failures = CounterMetricFamily("mesh_call_failures", "Calls that failed", labels=("provider", "code"))
    for labels, (number,) in tables.failures.items():
        failures.add_metric(labels, number)
    yield failures
    by_model = _grouped(rows, (1, 2))
    tokens = CounterMetricFamily(
        "mesh_tokens",
        "Tokens; `cached` and `cache_write` are parts of `input`, `thinking` of `output`",
        labels=("provider", "model", "kind"),
    )
    for labels, numbers in by_model.items():
        for kind, place in _TOKENS.items():
            tokens.add_metric((*labels, kind), numbers[place])
    yield tokens
    for name, meaning, place, unit in _OF_MODELS:
        family = CounterMetricFamily(name, meaning, labels=("provider", "model"))
        for labels, numbers in by_model.items():
            family.add_metric(labels, numbers[place] / unit)
        yield family
    names = ("surface", "provider", "model")
    by_surface = _grouped(rows, (0, 1, 2))
    yield _histogram("mesh_call_seconds", "From a call's arrival to its end", names, by_surface, c.LATENCY, c.CALL_US)
    meaning = "From a call's arrival to the first piece of its stream"
    yield _histogram("mesh_first_piece_seconds", meaning, names, by_surface, c.FIRST, c.FIRST_US)


def _requests(tables: Tables) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "mesh_http_requests",
        "Requests by the pattern of their path; status `left` where the client did not wait for an answer",
        labels=("method", "route", "status"),
    )
    for labels, numbers in tables.requests.items():
        requests.add_metric(labels, numbers[c.REQUESTS])
    yield requests
    by_route = _grouped(tables.requests, (0, 1))
    meaning = "From a request's head to the end of its answer"
    names = ("method", "route")
    yield _histogram("mesh_http_request_seconds", meaning, names, by_route, c.DURATION, c.REQUEST_US)


def _state(totals: dict[str, dict[str, int]], gauges: Gauges, alive: int) -> Iterator[Metric]:
    for name, (meaning, total, unit) in _TOTALS.items():
        counter = CounterMetricFamily(name, meaning, labels=("worker",))
        for worker, numbers in totals.items():
            counter.add_metric((worker,), numbers.get(total, 0) / unit)
        yield counter
    for name, (meaning, labels) in _GAUGES.items():
        gauge = GaugeMetricFamily(name, meaning, labels=labels)
        for values, number in gauges.get(name, {}).items():
            gauge.add_metric(values, number)
        yield gauge
    yield GaugeMetricFamily("mesh_workers", "Processes that serve", value=alive)
    build = GaugeMetricFamily("mesh_build_info", "The version that runs", labels=("version",))
    build.add_metric((__version__,), 1)
    yield build


def _grouped(table: Table, places: Sequence[int]) -> Table:
    """Return the sums of a table's rows that have the same labels in these places."""
    found: Table = {}
    for labels, numbers in table.items():
        c.add(found, {tuple(labels[place] for place in places): numbers})
    return found


def _histogram(
    name: str, meaning: str, labels: Sequence[str], table: Table, place: int, bounds: Sequence[int]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, meaning, labels=labels)
    names = [*(str(bound / 1e6) for bound in bounds), "+Inf"]
    for values, numbers in table.items():
        sum_us, *buckets = numbers[place : place + len(names) + 1]
        reached, cumulative = 0, []
        for bound, number in zip(names, buckets, strict=True):
            reached += number
            cumulative.append((bound, reached))
        if reached:
            family.add_metric(values, buckets=cumulative, sum_value=sum_us / 1e6)
    return family
