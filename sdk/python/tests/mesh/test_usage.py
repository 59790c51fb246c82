"""`get_usage` and `get_budget`: what is asked, what is read, and what is refused before anything is sent."""

import json
from datetime import date, datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

import pytest

import mesh

COUNTS = {
    "calls": 3,
    "failed": 1,
    "estimated": 1,
    "unpriced": 0,
    "input_tokens": 1000,
    "cached_tokens": 4,
    "cache_write_tokens": 2,
    "output_tokens": 20,
    "thinking_tokens": 5,
    "total_tokens": 1020,
    "cost_usd": 0.000012,
    "cost_nano": 12000,
}
ROW = {"day": "2026-11-25", "provider": "openai", "service": "openai", "model": "<gpt>", **COUNTS}
USAGE = {
    "success": True,
    "since": "2026-10-26T00:00:00Z",
    "until": "2026-11-26T00:00:00Z",
    "by": ["day", "provider", "model"],
    "total": COUNTS,
    "usage": [ROW],
    "truncated": False,
}
LIMIT = {
    "id": "b1",
    "scope": "key",
    "subject": "openai_key",
    "unit": "usd",
    "period": "month",
    "hard": True,
    "limit": 5.0,
    "used": 0.8,
    "held": 0.01,
    "left": 4.19,
    "resets_at": "2026-12-01T00:00:00Z",
}
CALLS = {**LIMIT, "id": "b2", "unit": "requests", "period": "total", "limit": 10_000, "resets_at": None}
BUDGET = {"success": True, "left_usd": 4.19, "budgets": [LIMIT, CALLS]}


def gives(body, status=200):
    return lambda exchange: exchange.answer(status, body)


def query(server):
    return {name: values[0] for name, values in parse_qs(urlsplit(server.asked[-1].path).query).items()}


# --- what is asked ---


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ({}, {}),
        ({"since": date(2026, 11, 1)}, {"since": "2026-11-01T00:00:00Z"}),
        ({"since": "2026-11-01"}, {"since": "2026-11-01T00:00:00Z"}),
        ({"since": "2026-11-01T12:00:00+02:00"}, {"since": "2026-11-01T10:00:00Z"}),
        ({"until": datetime(2026, 11, 1, 12, tzinfo=timezone(timedelta(hours=-1)))}, {"until": "2026-11-01T13:00:00Z"}),
        ({"by": "model"}, {"by": "model"}),
        ({"by": ["key", "day", "key"]}, {"by": "key,day"}),
        (
            {"since": date(2026, 1, 1), "until": "2026-01-02", "by": ("surface", "outcome", "provider")},
            {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z", "by": "surface,outcome,provider"},
        ),
    ],
)
def test_times_and_rows_are_asked_for(client, server, arguments, asked):
    server.script(gives(USAGE))
    assert client.get_usage(**arguments).success
    assert query(server) == asked
    assert urlsplit(server.asked[-1].path).path == "/api/v1/usage"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"since": "yesterday"}, ValueError),
        ({"since": ""}, ValueError),
        ({"since": "2026-13-01"}, ValueError),
        ({"since": "2026-11-01T12:00:00"}, ValueError),
        ({"until": datetime(2026, 11, 1)}, ValueError),  # noqa: DTZ001 - the lack is what is refused
        ({"since": 5}, TypeError),
        ({"since": "2026-11-02", "until": "2026-11-01"}, ValueError),
        ({"since": "2026-11-01", "until": date(2026, 11, 1)}, ValueError),
        ({"by": "hour"}, ValueError),
        ({"by": "day,model"}, ValueError),
        ({"by": ["day", "hour"]}, ValueError),
        ({"by": []}, ValueError),
        ({"by": 5}, TypeError),
    ],
)
def test_a_wrong_call_raises_and_asks_nobody(client, server, arguments, error):
    with pytest.raises(error):
        client.get_usage(**arguments)
    assert not server.asked


def test_a_wrong_name_is_told_with_the_right_ones(client):
    with pytest.raises(ValueError, match=r"day, provider, model, key, surface, outcome, not 'hour'"):
        client.get_usage(by="hour")


# --- what is read ---


def test_usage_is_a_mapping_and_an_object(client, server):
    server.script(gives(USAGE))
    report = client.get_usage()
    assert (report.since, report.by, report.truncated) == (USAGE["since"], USAGE["by"], False)
    assert report.total.cost_usd == report["total"]["cost_usd"] == 0.000012
    assert [(row.day, row.model, row.service, row.calls) for row in report.usage] == [
        ("2026-11-25", "<gpt>", "openai", 3)
    ]
    assert json.loads(json.dumps(report)) == USAGE
    assert isinstance(report, mesh.UsageReport)
    assert isinstance(report.usage[0], mesh.UsageRow)
    with pytest.raises(AttributeError):
        report.usage[0].key  # noqa: B018 - it was not asked for


def test_a_budget_is_a_mapping_and_an_object(client, server):
    server.script(gives(BUDGET))
    budget = client.get_budget()
    assert server.asked[-1].path == "/api/v1/budget"
    assert (budget.left_usd, budget["left_usd"]) == (4.19, 4.19)
    assert [(one.scope, one.subject, one.unit, one.left, one.resets_at) for one in budget.budgets] == [
        ("key", "openai_key", "usd", 4.19, "2026-12-01T00:00:00Z"),
        ("key", "openai_key", "requests", 4.19, None),
    ]
    assert json.loads(json.dumps(budget)) == BUDGET


def test_without_a_limit_nothing_is_left_to_tell(client, server):
    server.script(gives({"success": True, "left_usd": None, "budgets": []}))
    budget = client.get_budget()
    assert (budget.success, budget.left_usd, budget.budgets) == (True, None, [])


def test_what_a_newer_server_adds_is_kept(client, server):
    server.script(gives({**USAGE, "currency": "USD", "usage": [{**ROW, "region": "eu"}]}))
    report = client.get_usage()
    assert (report["currency"], report.usage[0]["region"]) == ("USD", "eu")


@pytest.mark.parametrize(
    "body",
    [
        {"success": True},
        {**USAGE, "usage": None},
        {**USAGE, "usage": ["x"]},
        {**USAGE, "usage": {"day": 1}},
        {**USAGE, "total": None},
        {**USAGE, "total": 5},
        [],
        b"<html>",
    ],
)
def test_what_is_no_usage_is_told_as_that(client, server, body):
    server.script(gives(body))
    report = client.get_usage()
    assert (report.success, report.code) == (False, "answer_invalid")


@pytest.mark.parametrize("body", [{"success": True}, {"budgets": {}}, {"budgets": [5]}, b""])
def test_what_is_no_budget_is_told_as_that(client, server, body):
    server.script(gives(body))
    assert client.get_budget().code == "answer_invalid"


@pytest.mark.parametrize("method", ["get_usage", "get_budget"])
def test_failures_are_in_the_result_or_raised(make, server, method):
    server.script(lambda exchange: exchange.refuse("scope_missing", 403))
    assert getattr(make(), method)().code == "scope_missing"
    with pytest.raises(mesh.PermissionDenied):
        getattr(make(raise_on_error=True), method)()


@pytest.mark.parametrize("method", ["get_usage", "get_budget"])
def test_a_read_that_broke_is_made_again(make, server, method):
    body = USAGE if method == "get_usage" else BUDGET
    server.script(lambda exchange: exchange.reset(), gives(body))
    assert getattr(make(max_retries=1), method)().success


def test_a_server_without_usage_is_told(client, server):
    server.script(gives(b"Not Found", 404))
    report = client.get_usage(by="model")
    assert report.code == "all_endpoints_failed"
    assert report.details["tried"] == ["GET /api/v1/usage: 404", "GET /v1/mesh/usage: 404"]


# --- notebooks ---


def test_a_notebook_shows_tables_in_which_nothing_runs(client, server):
    server.script(gives(USAGE))
    shown = client.get_usage()._repr_html_()
    assert "<td>&lt;gpt&gt;</td><td>3</td><td>1,000</td><td>20</td><td>$0.000012</td>" in shown
    assert "<tr><td>total</td><td></td><td></td><td>3</td>" in shown
    server.script(gives(BUDGET))
    shown = client.get_budget()._repr_html_()
    assert "<td>key openai_key</td><td>usd a month</td><td>$5.00</td><td>$0.80</td><td>$0.01</td>" in shown
    assert "<td>requests in all</td><td>10,000</td>" in shown


def test_a_notebook_shows_the_beginning_of_what_is_long(client, server):
    server.script(gives({**USAGE, "usage": [ROW] * 500}))
    shown = client.get_usage()._repr_html_()
    assert shown.count("<tr>") < 50
    assert "…" in shown


def test_a_notebook_shows_a_failure_with_its_advice(client, server):
    server.script(lambda exchange: exchange.refuse("scope_missing", 403))
    for failed in (client.get_usage(), client.get_budget()):
        assert failed._repr_html_() is None
        assert failed._repr_markdown_().startswith("**Error:**")


def test_a_report_without_some_members_is_still_shown(client, server):
    server.script(gives({"success": True, "total": {}, "usage": [{"cost_usd": None}]}))
    assert "unknown" in client.get_usage()._repr_html_()


# --- what a call may not spend ---

EXCEEDED = {
    "scope": "account",
    "unit": "usd",
    "period": "month",
    "limit": 5.0,
    "used": 5.0,
    "held": 0.0,
    "left": 0.0,
    "resets_at": "2026-12-01T00:00:00Z",
}


def refuses(code, status, **headers):
    def script(exchange):
        error = {"code": code, "message": "The budget is spent.", "type": "x", "details": EXCEEDED}
        exchange.answer(status, {"success": False, "error": error, "request_id": "req_1"}, **headers)

    return script


@pytest.mark.parametrize(
    ("code", "status", "headers", "kind"),
    [
        ("budget_exceeded", 402, {}, mesh.BudgetExceeded),
        ("budget_exceeded", 402, {"retry_after": 0}, mesh.BudgetExceeded),
        ("quota_exceeded", 429, {}, mesh.QuotaExceeded),
        ("request_in_progress", 409, {}, mesh.RequestInProgress),
        ("request_in_progress", 409, {"retry_after": 0}, mesh.RequestInProgress),
        ("outcome_unknown", 409, {"retry_after": 0}, mesh.OutcomeUnknown),
        ("idempotency_mismatch", 422, {"retry_after": 0}, mesh.InvalidRequest),
    ],
)
def test_what_waiting_does_not_mend_is_not_asked_again(make, server, code, status, headers, kind):
    server.script(refuses(code, status, **headers))
    answer = make(max_retries=3).chat("hi")
    assert (answer.success, answer.code, answer.status) == (False, code, status)
    assert answer.details["limit"] == 5.0
    assert answer.troubleshooting
    assert len(server.asked) == 1
    with pytest.raises(kind) as caught:
        make(max_retries=3, raise_on_error=True).chat("hi")
    assert caught.value.to_dict() == dict(answer)
    assert len(server.asked) == 2


def test_a_quota_that_resets_soon_is_waited_for_with_the_same_idempotency_key(make, server):
    from .server import completion

    server.script(
        refuses("quota_exceeded", 429, retry_after=0),
        refuses("quota_exceeded", 429, retry_after=0),
        gives(completion()),
    )
    assert make(max_retries=2).chat("hi").success
    assert len({exchange.headers["idempotency-key"] for exchange in server.asked}) == 1
    assert len(server.asked) == 3


def test_a_quota_that_resets_after_the_deadline_is_told_at_once(make, server):
    server.script(refuses("quota_exceeded", 429, retry_after=40_000))
    answer = make(max_retries=3).chat("hi")
    assert (answer.code, answer.details["retry_after"], answer.details["unit"]) == ("quota_exceeded", 40_000, "usd")
    assert len(server.asked) == 1


def test_what_a_budget_leaves_is_told_with_an_answer(client, server):
    from .server import completion

    server.script(
        gives(completion(budget_left_usd=4.2)), gives(completion(budget_left_usd="much")), gives(completion())
    )
    assert [client.chat("hi").budget_left_usd for _ in range(3)] == [4.2, None, None]


def test_an_original_response_has_nothing_of_a_budget(client, server):
    from .server import completion

    server.script(gives(completion(budget_left_usd=4.2)))
    assert "budget_left_usd" not in client.chat("hi", original_response=True)


def test_a_stream_tells_it_at_its_end(client, server):
    from .server import LAST, chunk

    server.script(lambda exchange: exchange.stream(chunk("a"), chunk(finish="stop"), {**LAST, "budget_left_usd": 1.5}))
    stream = client.chat("hi", stream=True)
    client.pieces(stream)
    assert stream.response.budget_left_usd == 1.5


def test_an_answer_that_was_kept_says_so(client, server):
    from .server import LAST, chunk, completion

    server.script(gives(completion()), lambda exchange: exchange.answer(200, completion(), idempotency_replayed="true"))
    first, again = (client.chat("hi", idempotency_key="mine") for _ in range(2))
    assert (first.replayed, again.replayed) == (False, True)
    assert [exchange.headers["idempotency-key"] for exchange in server.asked] == ["mine", "mine"]
    server.script(lambda exchange: exchange.stream(chunk("a"), LAST, idempotency_replayed="true"))
    stream = client.chat("hi", stream=True, idempotency_key="mine")
    client.pieces(stream)
    assert stream.response.replayed is True
