from datetime import UTC, datetime

from mesh_server.billing.periods import bounds
from mesh_server.ids import microseconds, moment


def at(*parts):
    return microseconds(datetime(*parts, tzinfo=UTC))


def shown(period, now):
    begins, ends = bounds(period, now)
    return moment(begins).isoformat(), ends and moment(ends).isoformat()


def test_periods_are_those_of_utc():
    now = at(2028, 2, 29, 23, 59, 59)
    assert shown("minute", now) == ("2028-02-29T23:59:00+00:00", "2028-03-01T00:00:00+00:00")
    assert shown("day", now) == ("2028-02-29T00:00:00+00:00", "2028-03-01T00:00:00+00:00")
    assert shown("month", now) == ("2028-02-01T00:00:00+00:00", "2028-03-01T00:00:00+00:00")
    assert bounds("total", now) == (0, None)


def test_a_year_ends():
    assert shown("month", at(2026, 12, 31)) == ("2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00")


def test_the_first_moment_of_a_period_belongs_to_it():
    assert shown("day", at(2026, 3, 1)) == ("2026-03-01T00:00:00+00:00", "2026-03-02T00:00:00+00:00")
