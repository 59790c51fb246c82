"""What is counted, and that no label has more values than the operator gives it."""

import pytest

from mesh_server.metrics import counts as c
from mesh_server.metrics.counts import Counts, Tables
from mesh_server.metrics.service import FRESH_S, Left, summed

from ..billing.conftest import event


def counting(known=("gpt-x",), before=None):
    return Counts(lambda event: event.model if event.model in known else None, before)


def test_calls_are_summed_up_by_their_labels():
    counts = counting()
    counts.call(event(2_000, input=10, cached=4, cache_write=1, output=5, thinking=2, latency_us=100_000))
    counts.call(event(None, input=1, estimated=True, latency_us=100_001, first_us=7))
    counts.call(event(1, outcome="failed", error_code="provider_failed"))
    ok = counts.tables.calls["mesh", "openai", "gpt-x", "ok"]
    assert ok[: c.LATENCY] == [2, 11, 4, 1, 5, 2, 2_000, 1, 1]
    assert ok[c.LATENCY] == 200_001
    assert ok[c.LATENCY + 1 : c.LATENCY + 3] == [1, 1]  # a bound belongs to the bucket that it ends
    assert ok[c.FIRST : c.FIRST + 2] == [7, 1]
    assert counts.tables.calls["mesh", "openai", "gpt-x", "failed"][c.CALLS] == 1
    assert counts.tables.failures == {("openai", "provider_failed"): [1]}


def test_what_is_longer_than_the_last_bound_is_in_the_open_bucket():
    counts = counting()
    counts.call(event(latency_us=c.CALL_US[-1] + 1, first_us=c.FIRST_US[-1] + 1))
    (row,) = counts.tables.calls.values()
    assert row[c.FIRST - 1] == 1
    assert row[-1] == 1
    assert sum(row[c.LATENCY + 1 : c.FIRST]) == 1


def test_models_that_nobody_knows_are_one():
    counts = counting()
    for number in range(3):
        counts.call(event(model=f"made-up-{number}"))
    assert counts.tables.calls.keys() == {("mesh", "openai", "other", "ok")}


def test_known_models_are_bounded_too():
    counts = Counts(lambda event: event.model)
    for number in range(3 * c.MOST_MODELS):
        counts.call(event(model=f"m{number}"))
    assert len(counts.tables.calls) == c.MOST_MODELS + 1
    assert counts.tables.calls["mesh", "openai", "other", "ok"][c.CALLS] == 2 * c.MOST_MODELS
    counts.call(event(model="m0"))
    assert counts.tables.calls["mesh", "openai", "m0", "ok"][c.CALLS] == 2


def test_names_that_callers_make_up_are_not_remembered_for_ever():
    counts = counting()
    for number in range(5_000):
        counts.call(event(model_asked=f"made-up-{number}"))
    assert len(counts._shortcuts) <= 2_000
    assert counts.tables.calls["mesh", "openai", "gpt-x", "ok"][c.CALLS] == 5_000


def test_requests_are_counted_by_the_pattern_of_their_path():
    counts = counting()
    counts.request("GET", "/api/v1/keys/{name}", 200, 0.002)
    counts.request("GET", "/api/v1/keys/{name}", 0, 1_000.0)
    counts.request("BREW", None, 405, 0.0)
    assert {labels: row[c.REQUESTS] for labels, row in counts.tables.requests.items()} == {
        ("GET", "/api/v1/keys/{name}", "200"): 1,
        ("GET", "/api/v1/keys/{name}", "left"): 1,
        ("other", "other", "405"): 1,
    }


def test_it_counts_on_from_what_was_there_before():
    first = counting()
    first.call(event(5))
    first.request("GET", "/healthz", 200, 0.0)
    then = counting(before=first.tables)
    then.call(event(5))
    then.request("GET", "/healthz", 200, 0.0)
    assert then.tables.calls["mesh", "openai", "gpt-x", "ok"][c.COST_NANO] == 10
    assert then.tables.requests["GET", "/healthz", "200"][c.REQUESTS] == 2


def left(at, **gauges):
    counts = counting()
    counts.call(event(1))
    return Left(at, counts.tables, {name: {(): value} for name, value in gauges.items()})


def test_workers_are_summed_up():
    tables, gauges, alive = summed([left(100.0, g=2), None, left(101.0, g=3)], 101.0)
    assert tables.calls["mesh", "openai", "gpt-x", "ok"][c.CALLS] == 2
    assert gauges == {"g": {(): 5}}
    assert alive == 2


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_worker_that_is_gone_the_counters_stay_and_its_state_does_not(order):
    found = [left(100.0, g=2), left(100.0 + FRESH_S + 1, g=3)][::order]
    tables, gauges, alive = summed(found, 100.0 + FRESH_S + 1)
    assert tables.calls["mesh", "openai", "gpt-x", "ok"][c.CALLS] == 2
    assert gauges == {"g": {(): 3}}
    assert alive == 1


def test_summing_up_changes_nothing_of_what_was_left():
    found = [left(0.0), left(0.0)]
    assert [summed(found, 0.0)[0].calls for _ in range(2)][1]["mesh", "openai", "gpt-x", "ok"][c.CALLS] == 2


def test_two_counters_share_nothing():
    assert Tables().calls is not Tables().calls
    one, other = counting(), counting()
    one.call(event(1))
    assert not other.tables.calls
