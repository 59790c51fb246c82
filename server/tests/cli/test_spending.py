"""`mesh-server usage` and `mesh-server budget`: what they print, what they change, what they refuse."""

import asyncio
import csv
import io
import json
import os

import pytest

from mesh_server.billing.recorder import Settlement
from mesh_server.cli import run

from ..billing.conftest import event
from ..conftest import open_mesh

NOBODY = "01234567-89ab-7def-8123-456789abcdef"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder with an account `ann` and some usage; commands find it by the environment."""
    for name in list(os.environ):
        if name.startswith("MESH_"):
            monkeypatch.delenv(name)
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("MESH_DATA_DIR", str(data))
    monkeypatch.chdir(tmp_path)

    async def fill():
        mesh = await open_mesh(data)
        account = await mesh.services.accounts.ensure_user("default", "ann")
        await mesh.services.accounts.create_token(account, name="t")
        recorder = mesh.services.billing.recorder
        recorder.start()
        for cost, model in ((1_500_000, "gpt-x"), (500_000, "gpt-x"), (None, "a,b")):
            one = event(cost, account_id=account.account_id, model=model, input=1000, output=10)
            recorder.put(Settlement(one, []))
        await recorder.stop()
        await mesh.services.close()

    asyncio.run(fill())
    return data


def said(capsys, *arguments, status=0):
    assert run(list(arguments)) == status
    return capsys.readouterr()


def test_usage_is_a_table_with_its_sum(folder, capsys):
    out, err = said(capsys, "usage", "--by", "model")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["model", "calls", "failed", "input_tokens", "output_tokens", "cost_usd"]
    assert lines[1] == ["gpt-x", "2", "0", "2,000", "20", "0.002000"]
    assert lines[-1] == ["3", "0", "3,000", "30", "0.002000"]
    assert err == ""


def test_usage_as_json_lines_and_csv(folder, capsys):
    out, _ = said(capsys, "usage", "--by", "model", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["model"], row["calls"], row["cost_nano"], row["unpriced"]) for row in rows] == [
        ("gpt-x", 2, 2_000_000, 0), ("a,b", 1, 0, 1),
    ]  # fmt: skip
    out, _ = said(capsys, "usage", "--by", "model", "--csv")
    table = list(csv.DictReader(io.StringIO(out)))
    assert [row["model"] for row in table] == ["gpt-x", "a,b"]
    assert table[0]["cost_nano"] == "2000000"
    assert list(table[0])[:2] == ["model", "calls"]


def test_usage_of_another_time_or_tenant_is_empty(folder, capsys):
    for more in (["--until", "2001-01-01"], ["--tenant", "other"]):
        out, _ = said(capsys, "usage", "--json", *more)
        assert out == ""


@pytest.mark.parametrize(
    "wrong", [["--since", "soon"], ["--by", "color"], ["--since", "2026-01-02", "--until", "2026-01-01"]]
)
def test_usage_refuses_what_it_does_not_know(folder, capsys, wrong):
    out, err = said(capsys, "usage", *wrong, status=2)
    assert out == ""
    assert "Traceback" not in err


def test_a_limit_is_set_changed_listed_and_removed(folder, capsys):
    made, told = said(capsys, "budget", "set", "--user", "ann", "--usd", "20")
    assert "hard limit of $20.00 each month for the account" in told
    again, _ = said(capsys, "budget", "set", "--user", "ann", "--usd", "$0.25")
    assert again == made
    out, _ = said(capsys, "budget", "list", "--json")
    (found,) = map(json.loads, out.splitlines())
    assert found["id"] == made.strip()
    assert (found["scope"], found["unit"], found["limit"], found["used"], found["hard"]) == (
        "account",
        "usd",
        0.25,
        0.0,
        True,
    )
    out, _ = said(capsys, "budget", "list")
    assert "$0.00 of $0.25 per month" in out
    said(capsys, "budget", "rm", made.strip())
    out, _ = said(capsys, "budget", "list")
    assert out == ""
    _, err = said(capsys, "budget", "rm", made.strip(), status=4)
    assert "There is no budget" in err


def test_limits_of_another_unit_period_or_kind_stand_beside_it(folder, capsys):
    for more in (
        ["--usd", "1"],
        ["--usd", "1", "--per", "day"],
        ["--usd", "1", "--soft"],
        ["--requests", "9"],
        ["--tokens", "9"],
    ):
        said(capsys, "budget", "set", *more)
    said(capsys, "budget", "set", "--user", "ann", "--key", "k", "--usd", "1")
    out, _ = said(capsys, "budget", "list", "--json")
    assert len(out.splitlines()) == 6
    out, _ = said(capsys, "budget", "list", "--tenant", "other")
    assert out == ""


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--usd", "1", "--requests", "2"], 2),
        ([], 2),
        (["--usd", "-1"], 2),
        (["--usd", "nan"], 2),
        (["--usd", "0.0000000001"], 2),
        (["--usd", "1e30"], 2),
        (["--usd", "Infinity"], 2),
        (["--requests", "-1"], 2),
        (["--usd", "1", "--key", "k"], 2),
        (["--usd", "1", "--per", "week"], 2),
        (["--usd", "1", "--token", NOBODY, "--user", "ann"], 2),
        (["--usd", "1", "--user", "nobody"], 4),
        (["--usd", "1", "--token", NOBODY], 4),
        (["--usd", "1", "--token", "x\0"], 4),
    ],
)
def test_what_is_no_limit_is_refused(folder, capsys, arguments, status):
    _, err = said(capsys, "budget", "set", *arguments, status=status)
    assert err
    assert "Traceback" not in err
    assert said(capsys, "budget", "list").out == ""


def test_a_database_whose_budgets_were_changed_does_not_verify(folder, capsys):
    import sqlite3
    from contextlib import closing

    made, _ = said(capsys, "budget", "set", "--usd", "20", "--per", "total")
    said(capsys, "verify")
    with closing(sqlite3.connect(folder / "mesh.db")) as connection, connection:
        row = ("default", made.strip(), 0, 5 * 10**9, 5 * 10**9)
        connection.execute(
            "INSERT INTO budget_periods (tenant_id, budget_id, starts_at, taken, folded) VALUES (?,?,?,?,?)", row
        )
    out, _ = said(capsys, "verify", status=1)
    assert "It counts $5.00 as used; its events sum to $0.002." in out
