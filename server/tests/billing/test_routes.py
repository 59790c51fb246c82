"""`GET /api/v1/usage` and `GET /api/v1/budget`: shapes, parameters, refusals, and nobody else's figures."""

import pytest

from mesh_server.billing import usage
from mesh_server.billing.budgets import Budgets, new_budget
from mesh_server.billing.models import DOLLAR
from mesh_server.billing.recorder import Settlement
from mesh_server.ids import now_us

from .conftest import event

DAY = 86_400_000_000


async def account_of(mesh, token=None):
    return await mesh.services.accounts.authenticate(f"Bearer {token or mesh.token}".encode(), None)


async def record(mesh, *events):
    recorder = mesh.services.billing.recorder
    recorder.start()
    for one in events:
        recorder.put(Settlement(one, []))
    await recorder.stop()


@pytest.fixture
async def me(mesh):
    return (await account_of(mesh)).account_id


async def test_it_sums_up_by_day_provider_and_model(mesh, me):
    figures = {"input": 10, "cached": 4, "cache_write": 2, "output": 20, "thinking": 5}
    await record(
        mesh,
        event(12_000, account_id=me, model="gpt-6-sol", **figures),
        event(1_000, account_id=me, model="gpt-6-sol", outcome="failed", estimated=True),
        event(None, account_id=me, model="other"),
        event(5_000, account_id=me, model="gpt-6-sol", at=now_us() - DAY),
    )
    answer = await mesh.call("GET", "/api/v1/usage")
    found = answer.json
    assert answer.status == 200
    assert (found["success"], found["by"], found["truncated"]) == (True, ["day", "provider", "model"], False)
    assert found["total"] == {
        "calls": 4, "failed": 1, "estimated": 1, "unpriced": 1, "input_tokens": 10, "cached_tokens": 4,
        "cache_write_tokens": 2, "output_tokens": 20, "thinking_tokens": 5, "total_tokens": 30,
        "cost_usd": 0.000018, "cost_nano": 18_000,
    }  # fmt: skip
    assert [(row["model"], row["calls"], row["cost_nano"]) for row in found["usage"]] == [
        ("gpt-6-sol", 2, 13_000), ("other", 1, 0), ("gpt-6-sol", 1, 5_000),
    ]  # fmt: skip
    assert {row["provider"] for row in found["usage"]} == {row["service"] for row in found["usage"]} == {"openai"}
    assert found["usage"][0]["day"] > found["usage"][-1]["day"]
    assert found["since"].endswith("T00:00:00Z")


@pytest.mark.parametrize(
    "by", ["day", "provider", "model", "key", "surface", "outcome", "key,day", "outcome , surface"]
)
async def test_rows_have_what_was_asked_for_alone(mesh, me, by):
    await record(mesh, event(1, account_id=me, key_name=None), event(1, account_id=me, key_name="k"))
    found = (await mesh.call("GET", f"/api/v1/usage?by={by.replace(' ', '%20')}")).json
    names = {name.strip() for name in by.split(",")}
    assert set(found["by"]) == names
    extra = {"day", "provider", "service", "model", "key", "surface", "outcome", "account"}
    for row in found["usage"]:
        assert extra & row.keys() == names | ({"service"} if "provider" in names else set())
    if "key" in names:
        assert {row["key"] for row in found["usage"]} == {None, "k"}


async def test_the_total_is_of_more_rows_than_an_answer_has(mesh, me, monkeypatch):
    await record(mesh, *(event(n, account_id=me, model=f"m{n}") for n in range(1, 5)))
    for most, rows, cut in ((4, 4, False), (3, 3, True)):
        monkeypatch.setattr(usage, "MOST_ROWS", most)
        usage._statement.cache_clear()
        found = (await mesh.call("GET", "/api/v1/usage?by=model")).json
        assert (len(found["usage"]), found["truncated"]) == (rows, cut)
        assert (found["total"]["calls"], found["total"]["cost_nano"]) == (4, 10)
    usage._statement.cache_clear()


async def test_nothing_asked_for_is_the_total_alone(mesh, me):
    await record(mesh, event(1, account_id=me))
    found = (await mesh.call("GET", "/api/v1/usage?by=")).json
    assert (found["usage"], found["total"]["calls"]) == ([], 1)


async def test_until_is_not_in_it_and_since_is(mesh, me):
    await record(mesh, *(event(1, account_id=me, at=n * DAY) for n in (100, 101, 102)))
    found = (await mesh.call("GET", "/api/v1/usage?since=1970-04-11&until=1970-04-13")).json
    assert found["total"]["calls"] == 2
    exact = (await mesh.call("GET", "/api/v1/usage?since=1970-04-12T00:00:00Z&until=1970-04-13T02:00:00%2B02:00")).json
    assert exact["total"]["calls"] == 1


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday", "since=2026-13-01", "since=2026-02-30", "until=2026-11-25T10:00:00", "since=0001-01-01",
        "since=2026-11-25&until=2026-11-25", "since=2026-11-26&until=2026-11-25", "by=account", "by=color",
        "by=day,color", "all=yes", "limit=3", "since=9999-12-31T23:59:59-23:59", "since=%00", "until=1" + "0" * 400,
    ],
)  # fmt: skip
async def test_what_can_not_be_asked_is_refused(mesh, query):
    answer = await mesh.call("GET", f"/api/v1/usage?{query}")
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert len(answer.body) < 1000


async def test_it_needs_a_login_and_the_scope_chat(mesh):
    keys_only = await mesh.user("bea", scopes=frozenset({"keys:read"}))
    for path in ("/api/v1/usage", "/api/v1/budget"):
        assert (await mesh.call("GET", path, token=None)).status == 401
        answer = await keys_only("GET", path)
        assert (answer.status, answer.code) == (403, "scope_missing")


async def test_somebody_elses_usage_is_not_in_it(mesh, me):
    other = await mesh.user("bea", scopes=frozenset({"chat"}))
    await record(mesh, event(7, account_id=me))
    assert (await other("GET", "/api/v1/usage")).json["total"]["calls"] == 0


async def test_all_is_the_tenants_and_needs_admin(mesh, me):
    bea = await mesh.user("bea", scopes=frozenset({"chat"}))
    await record(
        mesh, event(7, account_id=me), event(5, account_id="bea"), event(100, account_id=me, tenant_id="other")
    )
    refused = await bea("GET", "/api/v1/usage?all=true")
    assert (refused.status, refused.code) == (403, "scope_missing")
    admin = await mesh.user("root", scopes=frozenset({"chat", "admin"}))
    found = (await admin("GET", "/api/v1/usage?all=true&by=account")).json
    assert found["total"]["cost_nano"] == 12
    assert {row["account"]: row["cost_nano"] for row in found["usage"]} == {me: 7, "bea": 5}


async def test_what_a_dead_process_left_is_in_no_usage(mesh, me):
    await record(mesh, event(9, account_id=me, budget_id="b", outcome="lost"))
    assert (await mesh.call("GET", "/api/v1/usage")).json["total"]["calls"] == 0


async def test_without_limits_nothing_is_said_to_be_left(mesh):
    assert (await mesh.call("GET", "/api/v1/budget")).json == {"success": True, "left_usd": None, "budgets": []}


async def test_a_callers_limits_are_shown_and_nobody_elses(mesh, me):
    who = await account_of(mesh)
    budgets = Budgets(mesh.services.database)
    given = {"unit": "usd", "period": "month"}
    for amount, more in [
        (5 * DOLLAR, {"scope": "account", "subject_id": me}),
        (4 * DOLLAR, {"scope": "token", "subject_id": who.token_id}),
        (3 * DOLLAR, {"scope": "key", "subject_id": me, "key_name": "openai_key"}),
        (1 * DOLLAR, {"hard": False}),
        (2 * DOLLAR, {"scope": "account", "subject_id": "somebody"}),
        (2 * DOLLAR, {"scope": "key", "subject_id": "somebody", "key_name": "openai_key"}),
    ]:
        await budgets.set(new_budget("default", amount, **given, **more))
    await budgets.set(new_budget("default", 600, "requests", "minute"))
    await budgets.set(new_budget("other", 1, **given))
    found = (await mesh.call("GET", "/api/v1/budget")).json
    assert found["left_usd"] == 3.0
    shown = {(b["scope"], b["subject"], b["unit"], b["period"], b["hard"]): b for b in found["budgets"]}
    assert set(shown) == {
        ("account", None, "usd", "month", True), ("token", "test", "usd", "month", True),
        ("key", "openai_key", "usd", "month", True), ("tenant", None, "usd", "month", False),
        ("tenant", None, "requests", "minute", True),
    }  # fmt: skip
    one = shown["account", None, "usd", "month", True]
    assert (one["limit"], one["used"], one["held"], one["left"]) == (5.0, 0.0, 0.0, 5.0)
    assert one["resets_at"].endswith("-01T00:00:00Z")
    calls = shown["tenant", None, "requests", "minute", True]
    assert (calls["limit"], calls["left"]) == (600, 600)
    assert isinstance(calls["limit"], int)


async def test_a_parameter_is_refused(mesh):
    assert (await mesh.call("GET", "/api/v1/budget?x=1")).status == 400
