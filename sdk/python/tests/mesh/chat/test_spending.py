"""What was spent by streams that broke or were left, and by rounds before a failure: as far as it is known."""

import pytest

import mesh
from mesh._stream_state import State
from mesh_protocol.events import event


def weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


CALL = {"tool_calls": [("weather", {"city": "Rome"})], "input_tokens": 10, "output_tokens": 5, "cost_usd": 1.0}


def test_a_stream_that_broke_tells_what_the_rounds_before_it_spent(client, fake):
    fake.answer(**CALL)
    fake.stream("half an", truncated=True)
    stream = client.chat("?", tools=[weather], stream=True)
    failed = client.now(stream.until_done())
    assert (failed.success, failed.code) == (False, "stream_truncated")
    assert failed.usage == {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "cost_usd": None}
    assert any("mesh usage" in step for step in failed.troubleshooting)


def test_so_does_one_whose_next_round_was_refused(client, fake):
    fake.answer(**CALL)
    fake.fail("budget_exceeded", "Spent.")
    failed = client.now(client.chat("?", tools=[weather], stream=True).until_done())
    assert (failed.code, failed.usage.total_tokens, failed.usage.cost_usd) == ("budget_exceeded", 15, 1.0)


def test_a_stream_that_was_left_in_a_later_round_counts_all_of_them(fake):
    fake.answer(**CALL)
    fake.stream("a", "b")
    stream = fake.client().chat("?", tools=[weather], stream=True)
    for piece in stream:
        if piece.text == "a":
            stream.cancel()
    assert stream.response.finish_reason == "cancelled"
    assert stream.response.usage.total_tokens == 15
    assert "get_usage()" in stream.response.warnings[-1]


def test_a_stream_that_never_began_spent_nothing(client, fake):
    fake.fail("budget_exceeded", "Spent.")
    stream = client.chat("?", stream=True)
    assert "usage" not in client.now(stream.until_done())


@pytest.mark.parametrize("last", [b'{"error": {"code": "provider_failed"}, %s}', b'{"choices": [{"delta": {}}], %s}'])
def test_what_an_error_or_an_earlier_piece_tells_counts(last):
    told = b'"usage": {"prompt_tokens": 7, "completion_tokens": 2}, "cost_usd": 0.5'
    reply = type("Reply", (), {"span": None, "status": 200, "headers": {}, "stream": None})()
    state = State(reply, None, original=False)
    state.feed(event(b'{"model": "m", "choices": [{"delta": {"content": "a"}}]}'))
    try:
        state.feed(event(last % told))
        state.check()
    except mesh.MeshError as problem:
        state.failed(problem)
    failed = state.response()
    assert failed.success is False
    assert failed.usage == {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9, "cost_usd": 0.5}


def test_a_failure_in_a_later_round_tells_what_was_spent_before(make, fake):
    fake.answer(**CALL)
    fake.fail("provider_key_missing")
    answer = make().chat("?", tools=[weather])
    assert (answer.success, answer.usage.total_tokens, answer.usage.cost_usd) == (False, 15, 1.0)
    fake.answer(**CALL)
    fake.fail("provider_key_missing")
    with pytest.raises(mesh.InvalidRequest) as caught:
        make(raise_on_error=True).chat("?", tools=[weather])
    assert caught.value.details["usage"].total_tokens == 15


def test_a_failure_in_the_first_round_has_no_usage(client, fake):
    fake.fail("provider_key_missing")
    assert "usage" not in client.chat("?", tools=[weather])


def test_a_conversation_counts_streams_that_were_left_or_broke(client, fake, wrap):
    talk = wrap(client.conversation())
    fake.answer("Hello", cost_usd=1.0)
    client.items(talk.chat("a", stream=True))
    assert (talk.usage.total_tokens, talk.usage.cost_usd) == (5, 1.0)
    fake.stream("half", truncated=True)
    with pytest.raises(mesh.StreamTruncated):
        client.items(talk.chat("b", stream=True))
    assert (talk.usage.total_tokens, talk.usage.cost_usd) == (5, None)
    fake.fail("provider_key_missing")
    client.now(talk.chat("c", stream=True).until_done())
    assert talk.usage.total_tokens == 5
    fork = talk.fork()
    assert fork.usage.total_tokens == 0
    assert fork.usage.cost_usd == 0
