"""`mesh usage` and `mesh budget`: what is shown where, what programs read, and what each exits with."""

import csv
import json
import re
import sys
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.cli import _plot
from mesh.cli._run import run
from mesh.cli.mesh import mesh as command
from mesh.testing import FakeMesh


@pytest.fixture
def fake():
    made = FakeMesh()
    with made.installed():
        yield made


@pytest.fixture
def call(fake, capsys, monkeypatch):
    """Return a function that runs `mesh`; with `columns` somebody looks at it on a terminal that wide."""

    def do(*arguments, columns=None):
        with monkeypatch.context() as patch:
            if columns is not None:
                patch.setattr(type(sys.stdout), "isatty", lambda _self: True)
                patch.setenv("COLUMNS", str(columns))
                patch.setenv("NO_COLOR", "1")
            status = run(command, arguments, "mesh")
        out = capsys.readouterr()
        assert "Traceback" not in out.err
        return status, re.sub("\x1b\\[[01]m", "", out.out), out.err

    return do


def ago(days):
    return f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%d}"


def asked(fake):
    return [{name: one[0] for name, one in parse_qs(urlsplit(call.path).query).items()} for call in fake.calls]


# --- usage in a pipe ---


def test_rows_are_bare_and_exact_in_a_pipe(call, fake):
    fake.usage(day=ago(1), model="a", calls=3, input_tokens=1000, output_tokens=20, cost_usd=0.000012)
    fake.usage(day=ago(0), model="b", input_tokens=7, cost_usd=1234.5)
    assert call("usage") == (0, "b\t1\t7\t0\t1234.500000000\na\t3\t1000\t20\t0.000012000\n", "")
    assert asked(fake) == [{"by": "model"}]


def test_rows_are_by_what_was_asked(call, fake):
    fake.usage(day=ago(1), key="k", model="a", cost_usd=1)
    fake.usage(day=ago(1), key=None, model="a")
    rows = call("usage", "--by", "key, day,key")[1].splitlines()
    assert rows == [f"{ago(1)}\tk\t1\t0\t0\t1.000000000", f"{ago(1)}\t\t1\t0\t0\t0.000000000"]


def test_json_is_the_whole_report(call, fake):
    fake.usage(model="a", cost_usd=0.5)
    status, out, _ = call("usage", "--json")
    report = json.loads(out)
    assert (status, report["total"]["cost_usd"], report["usage"][0]["model"]) == (0, 0.5, "a")
    assert report["by"] == ["model"]


def test_csv_has_every_counter(call, fake):
    fake.usage(model='a,"b"', key=None, calls=2, failed=1, thinking_tokens=4, cost_usd=0.1)
    (row,) = csv.DictReader(call("usage", "--csv", "--by", "model,key")[1].splitlines())
    assert (row["model"], row["key"], row["calls"], row["failed"]) == ('a,"b"', "", "2", "1")
    assert (row["thinking_tokens"], row["cost_usd"]) == ("4", "0.100000000")


def test_nothing_spent_is_said_and_is_no_failure(call):
    assert call("usage") == (0, "", "Nothing was spent in that time.\n")
    status, out, err = call("usage", columns=80)
    assert (status, out, err) == (0, "", "Nothing was spent in that time.\n")


# --- when ---


@pytest.mark.parametrize(
    ("arguments", "since", "until"),
    [
        (("--since", "1d"), lambda now: f"{now:%F}T00:00:00Z", None),
        (("--since", "7d"), lambda now: f"{now - timedelta(days=6):%F}T00:00:00Z", None),
        (("--since", "2w"), lambda now: f"{now - timedelta(days=13):%F}T00:00:00Z", None),
        (("--since", "month"), lambda now: f"{now:%Y-%m}-01T00:00:00Z", None),
        (("--since", "2026-11-01"), lambda _: "2026-11-01T00:00:00Z", None),
        (
            ("--since", "2026-11-01T12:00:00+01:00", "--until", "2026-11-02"),
            lambda _: "2026-11-01T11:00:00Z",
            "2026-11-02T00:00:00Z",
        ),
    ],
)
def test_times_are_days_of_utc(call, fake, arguments, since, until):
    now = datetime.now(UTC)
    assert call("usage", *arguments)[0] == 0
    if f"{now:%F}" == f"{datetime.now(UTC):%F}":
        assert (asked(fake)[0]["since"], asked(fake)[0].get("until")) == (since(now), until)


def test_hours_are_exact(call, fake):
    before = datetime.now(UTC)
    call("usage", "--since", "24h")
    assert before <= datetime.fromisoformat(asked(fake)[0]["since"]) + timedelta(hours=24) <= datetime.now(UTC)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--since", "yesterday"),
        ("--since", "0d"),
        ("--since", "-1d"),
        ("--since", ""),
        ("--since", "2026-13-01"),
        ("--since", "2026-11-02", "--until", "2026-11-01"),
        ("--by", "hour"),
        ("--by", ""),
        ("--by", "day,"),
        ("--json", "--csv"),
        ("extra",),
    ],
)
def test_wrong_uses_ask_nobody(call, fake, arguments):
    status, out, err = call("usage", *arguments)
    assert (status, out) == (2, "")
    assert "Error" in err
    assert fake.calls == []


@pytest.mark.parametrize(
    ("code", "status"), [("token_invalid", 3), ("scope_missing", 3), ("database_unavailable", 5), ("internal_error", 5)]
)
@pytest.mark.parametrize("name", ["usage", "budget"])
def test_a_failure_has_its_status_and_advice(call, fake, name, code, status):
    for _ in range(3):
        fake.fail(code, "It is so.")
    found = call(name)
    assert found[:2] == (status, "")
    assert "It is so.\n  - " in found[2]


# --- usage on a terminal ---


def test_somebody_who_looks_sees_bars_a_table_and_the_total(call, fake):
    fake.usage(day=ago(3), model="a", calls=1000, input_tokens=1_000_000, cost_usd=2)
    fake.usage(day=ago(0), model="b", cost_usd=1)
    status, out, err = call("usage", "--since", "7d", columns=80)
    lines = [line.rstrip() for line in out.splitlines()]
    assert (status, err) == (0, "")
    assert lines[0].startswith("$2.00")
    assert lines[0].count("█") == 5
    assert lines[4].count("█") == 10
    assert lines[5].split() == [ago(6), ago(0)]
    assert [line.split() for line in lines[7:]] == [
        ["Model", "Calls", "In", "Out", "Cost"],
        ["a", "1,000", "1,000,000", "0", "$2.00"],
        ["b", "1", "0", "0", "$1.00"],
        ["Total", "1,001", "1,000,000", "0", "$3.00"],
    ]
    assert [query["by"] for query in asked(fake)] == ["model", "day"]


def test_by_day_is_asked_once(call, fake):
    fake.usage(cost_usd=1)
    call("usage", "--by", "day", columns=80)
    assert len(fake.calls) == 1


def test_without_prices_the_bars_are_of_tokens(call, fake):
    fake.usage(cost_usd=None, input_tokens=1200, output_tokens=34, key=None, model="local")
    out, err = call("usage", "--by", "key,model", columns=80)[1:]
    assert out.startswith("1,234 tokens")
    assert "local  none of yours" in out
    assert "unknown" in out
    assert err == "1 of 1 calls were of models without a known price: their cost is not in the sum.\n"


def test_what_the_numbers_leave_out_is_said(call, fake):
    fake.usage(calls=3000, failed=1000, estimated=2, cost_usd=1)
    err = call("usage")[2]
    assert "1,000 of 3,000 calls ended in an error.\n2 of 3,000 calls broke off" in err


def test_more_rows_than_are_told_is_said(call, fake):
    body = {"success": True, "by": ["model"], "total": {"calls": 1}, "usage": [], "truncated": True}
    fake.reply(200, body)
    assert "more rows" in call("usage")[2]


def test_a_name_in_a_pipe_is_as_it_is(call, fake):
    fake.usage(model="a\tb", cost_usd=1)
    assert call("usage")[1].startswith("a\tb\t1\t")


def test_a_name_can_not_steer_the_terminal(call, fake):
    fake.usage(model="a\x1b[31m", cost_usd=1)
    assert "\x1b[31m" not in call("usage", columns=80)[1]
    assert "\x1b[31m" not in call("usage", "--csv", columns=80)[1]
    assert "\x1b[31m" in call("usage", "--csv")[1]


@pytest.mark.parametrize("columns", [20, 40, 57, 80, 250])
@pytest.mark.parametrize("since", ["1d", "7d", "30d", "400d"])
def test_bars_fit_the_terminal(call, fake, columns, since):
    fake.usage(day=ago(0), model="m", cost_usd=1)
    out = call("usage", "--since", since, columns=columns)[1]
    assert all(len(line) <= columns + 2 for line in out.splitlines() if "█" in line), out


# --- the plot alone ---


def plot(*amounts, width=80, height=2, blocks=True):
    days = [(f"2026-11-{at:02}", amount) for at, amount in enumerate(amounts, 1)]
    return _plot.bars(days, "{:g}".format, width=width, height=height, blocks=blocks)


def test_bars_are_in_eighths_and_nothing_that_is_there_is_lost():
    assert plot(16, 8, 1, 0.001, 0, 12) == [
        "16 █████                         ▄▄▄▄▄",
        "   █████ █████ ▁▁▁▁▁ ▁▁▁▁▁       █████",
        "   2026-11-01               2026-11-06",
    ]


@pytest.mark.parametrize("amounts", [(), (0,), (0, 0.0)])
def test_nothing_has_no_bars(amounts):
    assert plot(*amounts) == []


def test_a_terminal_without_blocks_gets_letters():
    assert "".join(plot(16, 8, blocks=False)).isascii()
    assert "#####" in plot(16, 8, blocks=False)[0]


def test_a_terminal_without_room_has_no_bars():
    assert plot(1, 2, width=20) == []


def test_days_share_a_bar_where_there_are_too_many():
    lines = plot(*range(1, 29), width=32)
    assert lines[0].startswith("55 ")
    assert plot(*range(1, 29), width=43)[-1].endswith("(2 days a bar)")
    assert plot(*range(1, 200), width=80)[-1].endswith("(4 days a bar)")


def test_a_narrow_terminal_has_less_below_the_bars():
    assert plot(*range(1, 29), width=45)[-1] == "   2026-11-01        2026-11-28"
    assert plot(*range(1, 29), width=32)[-1] == "   2026-11-01 to 2026-11-28"


@given(
    amounts=st.lists(st.floats(0, 1e6, allow_nan=False), max_size=500),
    width=st.integers(0, 300),
    height=st.integers(1, 9),
    blocks=st.booleans(),
)
def test_whatever_it_shows_fits_and_the_highest_bar_is_full(amounts, width, height, blocks):
    days = [(f"{date(2024, 1, 1) + timedelta(days=at)}", amount) for at, amount in enumerate(amounts)]
    lines = _plot.bars(days, "{:.3g}".format, width=width, height=height, blocks=blocks)
    assert len(lines) in {0, height + 1}
    assert all(len(line) <= width for line in lines)
    if lines:
        assert ("█" if blocks else "#") in lines[0]
        assert lines[-1].strip().startswith("2024-01-01")


def test_one_day_has_one_name():
    assert plot(5)[-1] == "  2026-11-01"


# --- budgets ---


def limits(fake):
    fake.budget(5.0, used=0.8, held=0.01, resets_at="2026-12-01T01:00:00+01:00")
    fake.budget(1_000_000, used=3, unit="tokens", period="total", scope="key", subject="openai_key", hard=False)


def test_limits_are_shown_with_what_is_left(call, fake):
    limits(fake)
    status, out, err = call("budget", columns=120)
    assert (status, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["For", "Limit", "Used", "Held", "Left", "Resets", "(UTC)"],
        ["account", "$5.00", "a", "month", "$0.80", "(16%)", "$0.01", "$4.19", "2026-12-01", "00:00"],
        ["key", "openai_key", "1,000,000", "tokens", "in", "all,", "soft", "3", "(0%)", "0", "999,997", "never"],
    ]


def test_limits_in_a_pipe(call, fake):
    limits(fake)
    assert call("budget")[1].splitlines() == [
        "account\t\tusd\tmonth\thard\t5.000000000\t0.800000000\t0.010000000\t4.190000000\t2026-12-01T01:00:00+01:00",
        "key\topenai_key\ttokens\ttotal\tsoft\t1000000\t3\t0\t999997\t",
    ]


def test_limits_as_json(call, fake):
    limits(fake)
    assert json.loads(call("budget", "--json")[1])["left_usd"] == pytest.approx(4.19)


def test_no_limit_is_said(call):
    assert call("budget") == (0, "", "Nothing limits what you spend.\n")


def test_a_limit_of_nothing_is_shown(call, fake):
    fake.budget(0, unit="requests", period="minute")
    assert "0 requests a minute" in call("budget", columns=100)[1]
