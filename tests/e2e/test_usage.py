"""Usage, budgets and chats that are asked for again: the client and the commands against a real server."""

import csv
import io
import json
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

import mesh

from .conftest import MODEL
from .gateway import ANTHROPIC, OPENAI

MESH = "import sys; from mesh.cli.mesh import main; main()"


class Spender:
    """An account of its own at the shared server: its client, and its commands."""

    def __init__(self, gateway, scopes):
        self.server = gateway.mesh
        self.url = gateway.url
        self.name = f"spender-{uuid.uuid4().hex[:8]}"
        made = self.server.command("token", "create", "--user", self.name, "--scopes", scopes)
        assert made.returncode == 0, made.stderr
        self.token = made.stdout.splitlines()[-1]

    def client(self, **arguments):
        return mesh.MeshClient(self.url, self.token, **{"timeout": 30, "max_retries": 0, **arguments})

    def limit(self, *arguments):
        """Set a limit, and wait until the server knows it."""
        done = self.server.command("budget", "set", "--user", self.name, *arguments)
        assert done.returncode == 0, done.stderr
        with self.client() as client:
            return until(client.get_budget, lambda found: found.budgets)

    def run(self, *arguments):
        environment = self.server.environment | {"MESH_API_URL": self.url, "MESH_AUTH_TOKEN": self.token}
        command = [sys.executable, "-c", MESH, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr


def until(ask, good):
    """Ask until the answer is good: usage without a budget is written within seconds."""
    deadline = time.monotonic() + 20
    while True:
        found = ask()
        if good(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.fixture
def spender(gateway):
    return Spender(gateway, "chat,keys:read,keys:write")


@pytest.fixture
def client(spender):
    with spender.client() as made:
        yield made


def counted(client, calls, **arguments):
    return until(lambda: client.get_usage(**arguments), lambda found: found.total.calls >= calls)


# --- usage ---


def test_what_was_answered_is_what_was_counted(client):
    whole = client.chat("Say hello.", model=OPENAI)
    stream = client.chat("Say hello.", model=ANTHROPIC, stream=True)
    streamed = stream.until_done()
    assert (whole.success, streamed.success) == (True, True), (whole, streamed)
    report = counted(client, 2)
    total = report.total
    assert (total.calls, total.failed, total.estimated, total.unpriced) == (2, 0, 0, 0)
    assert total.input_tokens == whole.usage.input_tokens + streamed.usage.input_tokens
    assert total.output_tokens == whole.usage.output_tokens + streamed.usage.output_tokens
    assert total.cost_usd == pytest.approx(whole.usage.cost_usd + streamed.usage.cost_usd, abs=1e-9)
    assert {row.provider for row in report.usage} == {"openai", "anthropic"}
    assert {row.model for row in report.usage} == {whole.model, streamed.model}
    assert {row.day for row in report.usage} == {f"{datetime.now(UTC):%Y-%m-%d}"}
    assert sum(row.cost_nano for row in report.usage) == total.cost_nano


def test_rows_have_what_was_asked_for(client):
    assert client.chat("hi", model=OPENAI).success
    counted(client, 1)
    for name in ("day", "provider", "model", "key", "surface", "outcome"):
        (row,) = client.get_usage(by=name).usage
        assert name in row
        assert not ({"day", "model", "key", "surface", "outcome"} - {name}) & row.keys()
    assert client.get_usage(by="outcome").usage[0].outcome == "ok"
    assert client.get_usage("2020-01-01", "2020-01-02").total.calls == 0


def test_a_stream_that_was_left_is_counted_by_the_server(client):
    stream = client.chat("Tell me a story.", model=MODEL, max_tokens=1000, stream=True)  # it takes its time
    for _ in stream:
        stream.cancel()
    assert stream.response.finish_reason == "cancelled"
    report = counted(client, 1, by="outcome")
    assert [(row.outcome, row.calls) for row in report.usage] == [("cancelled", 1)]
    assert report.total.input_tokens > 0


def test_calls_with_a_key_of_ones_own_are_told_by_its_name(client):
    assert client.store_key("openai_key", "openai-key").success
    assert client.chat("hi", model=OPENAI).success
    report = counted(client, 1, by="key")
    assert [row.key for row in report.usage] == ["openai_key"]


def test_nobody_sees_what_another_one_spent(client, gateway):
    assert client.chat("hi", model=OPENAI).success
    counted(client, 1)
    with Spender(gateway, "chat").client() as other:
        assert other.get_usage().total.calls == 0
        assert other.get_budget().budgets == []


async def test_the_asynchronous_client_is_told_the_same(spender):
    async with mesh.AsyncMeshClient(spender.url, spender.token) as client:
        assert (await client.get_usage(by=["day"])).total.calls == 0
        assert (await client.get_budget()).left_usd is None


def test_a_token_without_the_scope_is_refused(gateway):
    spender = Spender(gateway, "keys:read")
    with spender.client() as client:
        assert client.get_usage().code == client.get_budget().code == "scope_missing"
    assert spender.run("usage")[0] == spender.run("budget")[0] == 3


# --- budgets ---


def test_a_budget_is_told_with_answers_and_refuses_what_it_does_not_admit(client, spender):
    budget = spender.limit("--usd", "0.50")
    assert budget.left_usd == 0.5
    assert [(one.scope, one.unit, one.period, one.hard, one.limit) for one in budget.budgets] == [
        ("account", "usd", "month", True, 0.5)
    ]
    answer = client.chat("Say hello.", model=OPENAI, max_tokens=50)
    assert answer.budget_left_usd == pytest.approx(0.5 - answer.usage.cost_usd, abs=1e-6)
    stream = client.chat("Say hello.", model=OPENAI, max_tokens=50, stream=True)
    assert stream.until_done().budget_left_usd < answer.budget_left_usd
    assert client.get_budget().budgets[0].used > 0
    spender.server.command("budget", "set", "--user", spender.name, "--usd", "0.000001")
    refused = until(lambda: client.chat("hi", model=OPENAI), lambda found: not found.success)
    assert (refused.code, refused.status) == ("budget_exceeded", 402)
    assert {"scope", "unit", "period", "limit", "used", "held", "left", "resets_at"} <= refused.details.keys()
    with spender.client(raise_on_error=True, max_retries=3) as loud, pytest.raises(mesh.BudgetExceeded):
        loud.chat("hi", model=OPENAI)


def test_a_quota_names_its_time(client, spender):
    spender.limit("--requests", "1", "--per", "day")
    assert client.chat("hi", model=OPENAI).success
    refused = client.chat("hi", model=OPENAI)
    assert (refused.code, refused.status, refused.details["unit"]) == ("quota_exceeded", 429, "requests")
    assert refused.details["retry_after"] > 0
    (limit,) = client.get_budget().budgets
    assert (limit.used, limit.left, limit.limit) == (1, 0, 1)


# --- asked again ---


def test_a_chat_with_the_same_key_is_answered_once_and_counted_once(client, spender):
    spender.limit("--usd", "5")  # the second answer comes after the first one was settled
    key = uuid.uuid4().hex
    first, again = (client.chat("Say hello.", model=OPENAI, max_tokens=20, idempotency_key=key) for _ in range(2))
    assert (first.id, first.content, first.usage) == (again.id, again.content, again.usage)
    assert (first.replayed, again.replayed) == (False, True)
    other = client.chat("Say goodbye.", model=OPENAI, max_tokens=20, idempotency_key=key)
    assert other.code == "idempotency_mismatch"
    assert counted(client, 1).total.calls == 1


def test_a_stream_that_is_asked_for_again_is_the_same(client, spender):
    spender.limit("--usd", "5")
    key = uuid.uuid4().hex
    streams = [client.chat("Hi", model=OPENAI, max_tokens=20, stream=True, idempotency_key=key) for _ in range(2)]
    first, again = (stream.until_done() for stream in streams)
    assert (first.content, first.usage, first.budget_left_usd) == (again.content, again.usage, again.budget_left_usd)
    assert (first.replayed, again.replayed) == (False, True)
    assert counted(client, 1).total.calls == 1


def test_two_that_ask_at_once_get_one_answer(spender):
    spender.limit("--usd", "5")
    key = uuid.uuid4().hex

    def ask(_number):
        with spender.client() as client:
            return client.chat("Say hello.", model=MODEL, max_tokens=30, idempotency_key=key)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
    assert {(answer.success, answer.id, answer.content) for answer in answers} == {
        (True, answers[0].id, answers[0].content)
    }
    assert sorted(answer.replayed for answer in answers) == [False, True, True, True]
    with spender.client() as client:
        assert counted(client, 1).total.calls == 1


def test_after_a_crash_in_the_middle_nobody_knows_and_nothing_is_done_again(machine):
    machine.start()
    port = int(machine.url.rsplit(":", 1)[1])
    asked = {"model": MODEL, "max_tokens": 1000, "stream": True, "idempotency_key": uuid.uuid4().hex}
    with mesh.MeshClient(machine.url, machine.token, max_retries=0) as client:
        stream = client.chat("Tell me a story.", **asked)
        next(stream)
        machine.stop(signal.SIGKILL)
        broken = stream.until_done()
        assert (broken.success, broken.code) == (False, "stream_truncated")
        machine.start(port=port)
        again = client.chat("Tell me a story.", **asked).until_done()
        assert (again.success, again.code, again.status) == (False, "outcome_unknown", 409)
    with (
        mesh.MeshClient(machine.url, machine.token, max_retries=3, raise_on_error=True) as loud,
        pytest.raises(mesh.OutcomeUnknown),
    ):
        loud.chat("Tell me a story.", **asked)


# --- the commands ---


def test_mesh_usage_and_mesh_budget(client, spender):
    spender.limit("--usd", "5", "--per", "day")
    answer = client.chat("Say hello.", model=OPENAI, max_tokens=20)
    counted(client, 1)
    status, out, err = spender.run("usage")
    assert (status, err) == (0, "")
    model, calls, taken, given, cost = out.rstrip("\n").split("\t")
    assert (model, calls, int(taken), int(given)) == (
        answer.model,
        "1",
        answer.usage.input_tokens,
        answer.usage.output_tokens,
    )
    assert float(cost) == pytest.approx(answer.usage.cost_usd, abs=1e-9)
    report = json.loads(spender.run("usage", "--since", "24h", "--by", "day,surface", "--json")[1])
    assert (report["total"]["calls"], report["usage"][0]["surface"]) == (1, "mesh")
    (row,) = csv.DictReader(io.StringIO(spender.run("usage", "--csv", "--by", "outcome")[1]))
    assert (row["outcome"], row["calls"]) == ("ok", "1")
    assert spender.run("usage", "--since", "1969-01-01")[0] == 1
    status, out, _ = spender.run("budget")
    assert status == 0
    assert out.split("\t")[:6] == ["account", "", "usd", "day", "hard", "5.000000000"]
    assert json.loads(spender.run("budget", "--json")[1])["left_usd"] < 5
