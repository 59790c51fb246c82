"""`mesh.testing`: the real code path on a fake transport."""

import asyncio

import pytest

import mesh
from mesh.testing import FakeMesh


@pytest.fixture
def fake():
    return FakeMesh()


def test_it_answers_in_order_and_records_what_was_asked(fake):
    fake.answer("One", cost_usd=0.5)
    fake.answer("Two", warnings=["w"])
    client = fake.client()
    assert [str(client.chat("a", model="m")), str(client.chat("b"))] == ["One", "Two"]
    assert [call.json["messages"][-1]["content"] for call in fake.calls] == ["a", "b"]
    assert fake.calls[0].path == "/api/v1/chat/completions"
    assert fake.pending == 0


def test_nothing_of_a_call_is_in_its_repr(fake):
    fake.client().store_key("k", "sk-secret")
    assert "sk-secret" not in repr(fake.calls)
    assert "authorization" not in fake.calls[0].headers


def test_what_is_not_scripted_repeats_what_was_said(fake):
    assert str(fake.client().chat("Hello")) == "You said: Hello"
    fake.on_chat(lambda call: call.json["messages"][0]["content"].upper())
    assert str(fake.client().chat("Hello")) == "HELLO"


def test_streams_come_word_by_word(fake):
    fake.answer("Hello big world", thinking="hm")
    with fake.client().chat("a", stream=True) as stream:
        pieces = list(stream)
    assert [piece.text for piece in pieces] == ["", "Hello ", "big ", "world"]
    assert stream.response.thinking == "hm"
    assert stream.response.usage.total_tokens == 5


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (lambda fake: fake.stream("a", truncated=True), "stream_truncated"),
        (lambda fake: fake.stream("a", fault="broken"), "stream_truncated"),
        (lambda fake: fake.stream("a", fault="timeout"), "timeout"),
    ],
)
def test_a_stream_can_break(fake, script, code):
    script(fake)
    stream = fake.client().chat("a", stream=True)
    assert next(stream).text == "a"
    with pytest.raises(mesh.MeshError) as caught:
        next(stream)
    assert caught.value.code == code
    assert stream.response.code == code


def test_failures_and_faults_take_the_real_way(fake):
    fake.fail("provider_key_missing", "No key.")
    client = fake.client(max_retries=1)
    answer = client.chat("a")
    assert (answer.code, answer.status, answer.request_id) == ("provider_key_missing", 400, "req_fake")
    fake.fault("broken")
    assert client.chat("a").code == "connection_failed"
    assert len(fake.calls) == 2, "what may have been executed is not sent again"
    fake.fault("connect")
    fake.answer("back")
    assert str(client.chat("a")) == "back"
    assert len({call.headers["idempotency-key"] for call in fake.calls[2:]}) == 1


def test_keys_are_kept_in_memory(fake):
    client = fake.client()
    assert client.get_key("a") is None
    stored = client.store_key("a", "1", tags={"env": "x"})
    assert (stored.version, stored.rev) == (1, 1)
    client.store_key("b", b"\0")
    assert client.store_key("a", "2", if_rev=7).code == "revision_conflict"
    assert client.store_key("a", "2", if_absent=True).code == "key_exists"
    assert client.store_key("a", "2", if_rev=1).version == 2
    assert (client.get_key("a"), client.get_key("b")) == ("2", b"\0")
    assert client.list_keys() == ["a", "b"]
    assert client.list_keys(prefix="b") == ["b"]
    assert client.list_keys(tag=("env", "x")) == ["a"]
    assert client.list_keys(user_id="other") == []
    assert client.delete_key("a").success
    assert client.delete_key("a").code == "key_not_found"
    assert client.restore_key("a").success
    assert client.get_key("a") == "2"


def test_an_asynchronous_client_sees_the_same(fake):
    async def run():
        fake.answer("Hi there")
        fake.stream("a", "b")
        async with fake.async_client() as client:
            assert str(await client.chat("x")) == "Hi there"
            return [piece.text async for piece in await client.chat("y", stream=True)]

    assert asyncio.run(run()) == ["a", "b"]
    assert len(fake.calls) == 2


def test_the_fixture_reaches_every_client_and_the_functions(fake_mesh):
    fake_mesh.answer("module")
    assert str(mesh.chat("a")) == "module"
    assert str(mesh.MeshClient().chat("b")) == "You said: b"
    mesh.store_key("k", "v")
    assert mesh.get_key("k") == "v"
    assert [call.method for call in fake_mesh.calls] == ["POST", "POST", "PUT", "GET"]


def test_after_it_nothing_is_left(monkeypatch):
    from mesh import _module, client

    before = client.HTTPTransport, _module._client
    with FakeMesh().installed():
        assert client.HTTPTransport is not before[0]
    assert (client.HTTPTransport, _module._client) == before


def test_an_answer_waits_for_a_chat(fake):
    fake.answer("for the chat")
    client = fake.client()
    assert client.get_models().success
    assert client.get_key("a") is None
    assert str(client.chat("a")) == "for the chat"


# --- usage and budgets ---


def test_what_was_answered_is_counted(fake):
    client = fake.client()
    fake.answer("Hi", cost_usd=0.25, model="m", provider="acme", input_tokens=10, output_tokens=5)
    client.chat("a")
    fake.answer("Hi", cost_usd=None, model="m", provider="acme")
    client.chat("a", stream=True).until_done()
    fake.stream("a", fault="broken")
    client.chat("a", model="n", provider="other", stream=True).until_done()
    fake.fail("provider_key_missing")
    client.chat("a")
    report = client.get_usage(by=["provider", "model"])
    assert [(row.provider, row.service, row.model, row.calls) for row in report.usage] == [
        ("acme", "acme", "m", 2),
        ("fake", "fake", "n", 1),
    ]
    total = report.total
    assert (total.calls, total.failed, total.unpriced, total.estimated) == (3, 1, 2, 1)
    assert (total.input_tokens, total.total_tokens, total.cost_usd, total.cost_nano) == (13, 20, 0.25, 250_000_000)


def test_usage_can_be_scripted(fake):
    fake.usage(day="2026-11-01", model="a", calls=3, cost_usd=0.5, key="openai_key")
    fake.usage(day="2026-11-02", model="b", cost_usd=None, outcome="failed", failed=1)
    fake.usage(day="2026-10-01", model="a")
    client = fake.client()
    report = client.get_usage("2026-11-01", "2026-12-01", by=["day", "key"])
    assert [(row.day, row.key, row.calls, row.cost_usd) for row in report.usage] == [
        ("2026-11-02", None, 1, 0),
        ("2026-11-01", "openai_key", 3, 0.5),
    ]
    assert (report.total.unpriced, report.total.failed) == (1, 1)
    with pytest.raises(TypeError, match="tokens_in"):
        fake.usage(tokens_in=5)


def test_a_budget_is_told_and_counts_what_is_answered(fake):
    client = fake.client()
    assert client.get_budget() == {"success": True, "left_usd": None, "budgets": []}
    assert client.chat("a").budget_left_usd is None
    fake.budget(5.0, used=0.8, held=0.2, resets_at="2026-12-01T00:00:00Z")
    fake.budget(2, unit="requests", period="minute", scope="key", subject="openai_key")
    fake.budget(1.0, hard=False)
    fake.answer("Hi", cost_usd=0.5)
    assert client.chat("a").budget_left_usd == 3.5
    budget = client.get_budget()
    assert budget.left_usd == 3.5
    assert [(one.scope, one.subject, one.used, one.left, one.hard) for one in budget.budgets] == [
        ("account", None, 1.3, 3.5, True),
        ("key", "openai_key", 1, 1, True),
        ("account", None, 0.5, 0.5, False),
    ]


def test_a_limit_that_is_reached_is_scripted_with_its_details(fake):
    fake.fail("quota_exceeded", "No more.", retry_after=60, details={"unit": "requests", "left": 0})
    answer = fake.client().chat("a")
    assert (answer.code, answer.status) == ("quota_exceeded", 429)
    assert answer.details == {"unit": "requests", "left": 0, "retry_after": 60.0}
