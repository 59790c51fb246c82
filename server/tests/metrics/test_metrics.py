"""`GET /metrics`: who may read it, in which formats, and that it says nothing of anybody."""

import asyncio
import re
from pathlib import Path

import pytest
import yaml  # comes with schemathesis
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from mesh_server.accounts.models import SCOPES
from mesh_server.app import Services

from ..billing.conftest import event
from ..chat.conftest import CONFIG
from ..chat.upstream import ASK, LAST, MESH, OPENAI, SECRET, Upstream, chunk, completion
from ..conftest import caller, open_mesh, settings_in

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)  # fmt: skip


def samples(text):
    return {(s.name, *sorted(s.labels.values())): s.value for family in read_text(text) for s in family.samples}


async def scrape(mesh):
    answer = await mesh.call("GET", "/metrics", token=None)
    assert answer.status == 200
    return samples(answer.body.decode())


@pytest.fixture
async def upstream():
    async def script(exchange):
        if exchange.json["messages"][0]["content"] == "fail":
            await exchange.answer(500, {"error": {"message": "no"}})
        elif exchange.json.get("stream"):
            await exchange.stream(chunk("Hel"), chunk("lo"), chunk(finish="stop"), LAST)
        else:
            await exchange.answer(200, completion(model=exchange.json["model"]))

    made = await Upstream(script).start()
    yield made
    await made.stop()


@pytest.fixture
async def mesh(tmp_path, monkeypatch, upstream):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mesh-server.toml").write_text(CONFIG.format(url=upstream.url))
    made = await open_mesh(tmp_path, MESH_CONFIG=str(tmp_path / "mesh-server.toml"))
    await made.call("PUT", "/api/v1/keys/acme_key", {"value": SECRET})
    yield made
    await made.services.close()


async def test_it_tells_what_was_called(mesh):
    assert (await mesh.call("POST", MESH, ASK)).status == 200
    assert (await mesh.call("POST", OPENAI, {**ASK, "stream": True})).status == 200
    bad = {"model": "m-1", "messages": [{"role": "user", "content": "fail"}]}
    assert (await mesh.call("POST", MESH, bad)).status == 502
    found = await scrape(mesh)
    assert found["mesh_calls_total", "acme", "m-1", "mesh", "ok"] == 1
    assert found["mesh_calls_total", "acme", "m-1", "ok", "openai_chat"] == 1
    assert found["mesh_calls_total", "acme", "failed", "m-1", "mesh"] == 1
    assert found["mesh_call_failures_total", "acme", "provider_failed"] >= 1
    assert found["mesh_tokens_total", "acme", "input", "m-1"] >= 6
    assert found["mesh_tokens_total", "acme", "m-1", "output"] >= 4
    assert found["mesh_calls_unpriced_total", "acme", "m-1"] >= 2
    assert found["mesh_call_seconds_count", "acme", "m-1", "openai_chat"] == 1
    assert found["mesh_first_piece_seconds_count", "acme", "m-1", "openai_chat"] == 1
    assert ("mesh_first_piece_seconds_count", "acme", "m-1", "mesh") not in found
    assert found["mesh_http_requests_total", "/api/v1/chat/completions", "200", "POST"] == 1
    assert found["mesh_http_requests_total", "/api/v1/chat/completions", "502", "POST"] == 1
    assert found["mesh_http_request_seconds_count", "/api/v1/chat/completions", "POST"] == 2


async def test_it_tells_how_the_parts_stand(mesh):
    await mesh.call("POST", MESH, ASK)
    found = await scrape(mesh)
    assert found["mesh_http_requests_running",] == 1  # the scrape itself
    assert found["mesh_workers",] == 1
    assert found["mesh_provider_connections", "acme", "idle"] == 1
    assert found["mesh_provider_connections", "acme", "open"] == 1
    assert found["mesh_provider_waiting", "acme"] == 0
    assert found["mesh_breakers_open", "acme"] == 0
    assert found["mesh_usage_waiting",] == 1  # nothing writes it in this test
    assert found["mesh_database_waiting",] == 0
    assert found["mesh_database_writes_total", "0"] >= found["mesh_database_commits_total", "0"] > 0
    assert found["process_cpu_seconds_total", "0"] > 0


async def test_a_provider_that_is_left_alone_is_seen(mesh):
    bad = {"model": "m-1", "messages": [{"role": "user", "content": "fail"}]}
    for _ in range(mesh.services.chat._attempts.patience.failures):
        await mesh.call("POST", MESH, bad)
    found = await scrape(mesh)
    assert found["mesh_breakers_open", "acme"] == 1
    assert found["mesh_breakers_open", "openai"] == 0


async def test_what_is_reserved_of_budgets_is_seen_and_is_nothing_afterwards(mesh, upstream):
    from mesh_server.billing.budgets import Budgets, new_budget

    await Budgets(mesh.services.database).set(new_budget("default", 10, "requests", "day"))
    mesh.services.billing.recorder.start()
    seen, answered = asyncio.Event(), asyncio.Event()

    async def slowly(exchange):
        seen.set()
        await answered.wait()
        await exchange.answer(200, completion())

    upstream.script = slowly
    call = asyncio.create_task(mesh.call("POST", MESH, ASK))
    await seen.wait()
    assert (await scrape(mesh))["mesh_budget_reserved", "requests"] == 1
    answered.set()
    assert (await call).status == 200
    assert (await scrape(mesh))["mesh_budget_reserved", "requests"] == 0


async def test_no_label_says_whose_it_was_or_what_was_said(mesh):
    said = {"model": "m-1", "messages": [{"role": "user", "content": "a-secret-question"}]}
    await mesh.call("POST", MESH, said, headers={"idempotency-key": "a-retry-key"})
    await mesh.call("POST", MESH, {**said, "model": "a-made-up-model", "provider": "acme"})
    await mesh.call("GET", "/api/v1/keys/a-name-of-a-key")
    await mesh.call("GET", "/nothing/at/this-path")
    who = (await mesh.call("GET", "/api/v1/auth/profile")).json
    text = (await mesh.call("GET", "/metrics")).body.decode()
    for secret in (
        "a-secret-question", "a-retry-key", "a-made-up-model", "a-name-of-a-key", "this-path", SECRET, mesh.token,
        who["id"], "acme_key", "default",
    ):  # fmt: skip
        assert secret not in text
    found = samples(text)
    assert found["mesh_calls_total", "acme", "mesh", "ok", "other"] == 1
    assert found["mesh_http_requests_total", "404", "GET", "other"] == 1
    names = {label for family in read_text(text) for s in family.samples for label in s.labels}
    assert names == {
        "surface", "provider", "model", "outcome", "kind", "method", "route", "status", "state", "worker", "version",
        "le",
    }  # fmt: skip


async def test_dated_names_and_other_spellings_count_under_the_models_name(mesh):
    name = mesh.services.chat.model_name
    assert name(event(provider="acme", model="m-2", model_asked="")) == "m-2"
    assert name(event(provider="acme", model="m-1-2026-01-31", model_asked="")) == "m-1"
    assert name(event(provider="acme", model="quite-different", model_asked="acme/m-1")) == "m-1"
    assert name(event(provider="acme", model="quite-different", model_asked="never-heard-of")) is None


@pytest.mark.parametrize(
    "accept", [PROMETHEUS, "application/openmetrics-text; version=1.0.0", "application/openmetrics-text"]
)
async def test_prometheus_gets_the_format_that_it_prefers(mesh, accept):
    await mesh.call("POST", MESH, ASK)
    answer = await mesh.call("GET", "/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = list(read_openmetrics(answer.body.decode()))  # which checks names, order, buckets and the end
    assert {"mesh_calls", "mesh_call_seconds", "mesh_workers"} <= {family.name for family in families}


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=one",
        "application/openmetrics-text; version=",
        "application/openmetrics-text; version=1.0.0 ; escaping=\x00",
        "application/openmetrics-text; version=" + "9" * 5000,
        "text/plain; version=1..0",
        "text/plain; version=\xff",
        ";;;,,,===",
        "image/png",
    ],
)
async def test_a_nonsensical_accept_is_answered_all_the_same(mesh, accept):
    answer = await mesh.call("GET", "/metrics", headers={"accept": accept})
    assert answer.status == 200
    assert re.fullmatch(r"[\w/+.-]+(; (version|charset|escaping)=[\w.-]+)+", answer.headers["content-type"])


async def test_behind_a_proxy_only_admins_read_it(tmp_path):
    mesh = await open_mesh(tmp_path, behind_proxy=True)
    try:
        assert (await mesh.call("GET", "/metrics", token=None)).status == 401
        everything_else = await mesh.user("bob", scopes=SCOPES - {"admin"})
        refused = await everything_else("GET", "/metrics")
        assert (refused.status, refused.code) == (403, "scope_missing")
        admin = await mesh.user("ann", scopes={"admin"})
        assert (await admin("GET", "/metrics")).status == 200
    finally:
        await mesh.services.close()


@pytest.mark.parametrize(
    "environment",
    [
        {"MESH_HOST": "0.0.0.0"},
        {"MESH_HOST": "localhost.example.com"},
        {"MESH_PUBLIC_URL": "https://mesh.example.com"},
        {"MESH_ALLOWED_HOSTS": "mesh.example.com"},
        {"MESH_ALLOWED_HOSTS": "*"},
        {"MESH_TRUSTED_PROXIES": "127.0.0.1"},
    ],
)
async def test_what_others_may_reach_is_not_open(tmp_path, environment):
    services = await Services.open(settings_in(tmp_path, **environment))
    try:
        answer = await caller(services.application(), None)("GET", "/metrics")
        assert (answer.status, answer.code) == (401, "token_missing")
    finally:
        await services.close()


async def test_the_operators_guide_names_what_there_is_and_nothing_else(mesh):
    guide = (Path(__file__).parents[3] / "docs/guides/operator.md").read_text("utf-8")
    _, table, alerts = re.split(r"## Metrics|Alerts to begin with", guide.partition("## Traces")[0])
    await mesh.call("POST", OPENAI, {**ASK, "stream": True})
    await mesh.call("POST", MESH, {"model": "m-1", "messages": [{"role": "user", "content": "fail"}]})
    text = (await mesh.call("GET", "/metrics")).body.decode()
    served = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    told = set(re.findall(r"`(mesh_\w+)`", table))
    assert told == {name for name in served if name.startswith("mesh_")}
    rules = yaml.safe_load(re.search(r"```yaml\n(.*?)```", alerts, re.DOTALL)[1])["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    for rule in rules:
        used = re.findall(r"\b((?:mesh|process)_\w+?)(?:_bucket)?\b(?!\s*=)", rule["expr"])
        assert used or "up{" in rule["expr"]
        assert set(used) <= served, rule["alert"]


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"])
async def test_a_proxy_that_nobody_told_of_gets_nothing(mesh, header):
    answer = await mesh.call("GET", "/metrics", headers={header: "198.51.100.1"}, token=None)
    assert (answer.status, answer.code) == (401, "token_missing")


async def test_a_page_in_a_browser_reaches_it_under_no_name_of_its_own(mesh):
    answer = await mesh.call("GET", "/metrics", headers={"host": "rebound.example.com"}, token=None)
    assert answer.status in {400, 403, 421}
    assert b"mesh_calls" not in answer.body
