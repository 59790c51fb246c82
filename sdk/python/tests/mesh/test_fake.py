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
