"""What it costs to watch the server: to count a call or a request, to leave the counts, to make a span, to start.

Run by `./dev bench watching`. The client library's own counters do the same work beside ours, in one process and in its
mode for several. One core, the best of several rounds.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from mesh_server.billing.models import UsageEvent
from mesh_server.ids import now_us
from mesh_server.metrics import counts as c
from mesh_server.metrics.counts import Counts
from mesh_server.metrics.service import Metrics
from mesh_server.metrics.shared import Shared

ROUNDS, CALLS = 7, 20_000


def best(call: Callable[[], object], calls: int = CALLS) -> float:
    """Return the microseconds of one call, in the best round."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            call()
        rounds.append((time.perf_counter() - began) / calls * 1e6)
    return min(rounds)


def event(model: str = "gpt-5.1") -> UsageEvent:
    return UsageEvent(
        tenant_id="default",
        id="e",
        account_id="a",
        token_id=None,
        at=now_us(),
        surface="openai_chat",
        provider="openai",
        model_asked=model,
        model=model,
        input=100,
        cached=20,
        output=50,
        cost_nano=1_000,
        latency_us=900_000,
        first_us=200_000,
        streamed=True,
    )


def library() -> float:
    """Return the microseconds of one call with the counters of prometheus-client, their labels looked up each time."""
    import prometheus_client as p

    of_model = ("provider", "model")
    of_surface = ("surface", *of_model)
    calls = p.Counter("calls", "c", (*of_surface, "outcome"))
    tokens = p.Counter("tokens", "c", (*of_model, "kind"))
    cost = p.Counter("cost", "c", of_model)
    seconds = p.Histogram("seconds", "c", of_surface, buckets=[bound / 1e6 for bound in c.CALL_US])
    first = p.Histogram("first", "c", of_surface, buckets=[bound / 1e6 for bound in c.FIRST_US])
    one = event()

    def count() -> None:
        calls.labels(one.surface, one.provider, one.model, one.outcome).inc()
        for kind, number in (
            ("input", one.input),
            ("cached", one.cached),
            ("cache_write", one.cache_write),
            ("output", one.output),
            ("thinking", one.thinking),
        ):
            tokens.labels(one.provider, one.model, kind).inc(number)
        cost.labels(one.provider, one.model).inc((one.cost_nano or 0) / 1e9)
        seconds.labels(one.surface, one.provider, one.model).observe(one.latency_us / 1e6)
        first.labels(one.surface, one.provider, one.model).observe((one.first_us or 0) / 1e6)

    return best(count)


def in_its_mode_for_several() -> float:
    """Return what `library` returns in a process whose counters are files."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder}
        told = subprocess.run(
            [sys.executable, __file__, "library"], env=environment, capture_output=True, text=True, check=True
        )
    return float(told.stdout)


def span() -> float:
    """Return the microseconds of the span of one call, queued for export."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    from mesh_server.tracing.spans import Tracing

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    tracing, one = Tracing(provider), event()
    found = best(lambda: tracing.call(one), 1_000)
    provider.shutdown()
    return found


def imported(before: str, names: str) -> float:
    """Return the milliseconds of an import after another one, in the best of some processes."""
    code = f"import time, {before}; began = time.perf_counter(); import {names}; print(time.perf_counter() - began)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]
    return min(float(run.stdout) for run in runs) * 1e3


def main() -> None:
    counts = Counts(lambda one: one.model)
    one = event()
    ours = best(lambda: counts.call(one))
    theirs, files = library(), in_its_mode_for_several()
    print(f"count a call                             {ours:8.2f} µs")
    print(f"  by prometheus-client                   {theirs:8.2f} µs   {theirs / ours:.0f} times as long")
    print(f"  by prometheus-client, for processes    {files:8.2f} µs   {files / ours:.0f} times as long")
    print(f"count a request                          {best(lambda: counts.request('GET', '/a', 200, 0.01)):8.2f} µs")
    for number in range(60):
        counts.call(event(f"model-{number}"))
    metrics = Metrics(counts, dict, dict, Shared(1), 0)
    print(f"leave 60 models' counts, once a second   {best(metrics._all, 50):8.0f} µs, read back as well")
    print(f"the span of a call, where wanted         {span():8.1f} µs")
    parts = "mesh_server.metrics.parts, mesh_server.tracing.start"
    known = "mesh_server.operations, mesh_server.chat.service, mesh_server.settings"
    at_start = imported(known, parts)
    print(f"import at the start                      {at_start:8.1f} ms")
    print(f"import at the first scrape               {imported(known, 'mesh_server.metrics.text'):8.1f} ms")


if __name__ == "__main__":
    if sys.argv[1:] == ["library"]:
        print(library())
    else:
        main()
