"""The limit on how often one address may ask."""

import pytest

from mesh_server import ratelimit
from mesh_server.errors import RateLimited
from mesh_server.ratelimit import AddressLimit


@pytest.fixture
def clock(monkeypatch):
    moment = [1000.0]
    monkeypatch.setattr(ratelimit.time, "monotonic", lambda: moment[0])
    return moment


def test_a_burst_then_one_by_one(clock):
    limit = AddressLimit(burst=3, every_s=2.0)
    for _ in range(3):
        limit.take("10.0.0.1")
    with pytest.raises(RateLimited) as caught:
        limit.take("10.0.0.1")
    assert caught.value.retry_after == pytest.approx(2.0)
    clock[0] += 2.0
    limit.take("10.0.0.1")
    with pytest.raises(RateLimited):
        limit.take("10.0.0.1")


def test_a_refused_request_costs_nothing(clock):
    limit = AddressLimit(burst=1, every_s=1.0)
    limit.take("a")
    for _ in range(100):
        with pytest.raises(RateLimited):
            limit.take("a")
    clock[0] += 1.0
    limit.take("a")


def test_another_address_is_not_in_the_way_but_an_ipv6_network_is_one(clock):
    limit = AddressLimit(burst=1, every_s=1.0)
    limit.take("10.0.0.1")
    limit.take("10.0.0.2")
    limit.take("2001:db8::1")
    with pytest.raises(RateLimited):
        limit.take("2001:db8::2")
    limit.take("2001:db8:0:1::1")


def test_memory_is_bounded(clock, monkeypatch):
    monkeypatch.setattr(ratelimit, "_MOST_ADDRESSES", 10)
    limit = AddressLimit(burst=1, every_s=1.0)
    for serial in range(100):
        limit.take(f"10.0.0.{serial}")
    assert len(limit._full_at) <= 10
