"""Streams: events, cancelling, waiting for the end."""

import json

import pytest

import mesh
from mesh._stream_state import State


def test_events_are_typed(client, fake):
    fake.answer("Hi you", thinking="hm", tool_calls=[("f", {"a": 1})])
    events = client.items(client.chat("?", stream=True).events())
    assert [type(event) for event in events] == [
        mesh.ThinkingEvent,
        mesh.TextEvent,
        mesh.TextEvent,
        mesh.ToolCallEvent,
        mesh.UsageEvent,
        mesh.EndEvent,
    ]
    assert "".join(event.text for event in events if event.type == "text") == "Hi you"
    assert (events[3].index, events[3].id, events[3].name, events[3].arguments) == (0, "call_0", "f", '{"a":1}')
    assert events[4].usage == events[5].response.usage


def test_events_of_the_original_pieces_are_the_same(client, fake):
    fake.answer("Hi you")
    events = client.items(client.chat("?", stream=True, original_response=True).events())
    assert [event.type for event in events] == ["text", "text", "usage", "end"]


def test_cancelling_ends_it_and_keeps_what_had_come(fake):
    fake.stream("a", "b", "c")
    stream = fake.client().chat("?", stream=True)
    got = []
    for piece in stream:
        got.append(piece.text)
        if len(got) == 2:
            stream.cancel()
    assert got == ["a", "b"]
    answer = stream.response
    assert (answer.content, answer.finish_reason, answer.success) == ("ab", "cancelled", True)
    assert "cancelled" in answer.warnings[-1]
    assert list(stream) == []


async def test_so_does_cancelling_an_asynchronous_one(fake):
    fake.stream("a", "b", "c")
    stream = await fake.async_client().chat("?", stream=True)
    got = []
    async for piece in stream:
        got.append(piece.text)
        await stream.cancel()
    assert got == ["a"]
    assert stream.response.finish_reason == "cancelled"


def test_until_done_returns_the_result(client, fake):
    fake.answer("Hi you")
    stream = client.chat("?", stream=True)
    assert str(client.now(stream.until_done())) == "Hi you"
    assert client.items(stream) == []


def test_until_done_returns_a_failure(client, fake):
    fake.stream("a", truncated=True)
    assert client.now(client.chat("?", stream=True).until_done()).code == "stream_truncated"
    fake.fail("provider_key_missing")
    assert client.now(client.chat("?", stream=True).until_done()).code == "provider_key_missing"


def test_until_done_raises_where_the_client_does(make, fake):
    client = make(raise_on_error=True)
    fake.stream("a", truncated=True)
    with pytest.raises(mesh.StreamTruncated):
        client.now(client.chat("?", stream=True).until_done())


def test_a_result_before_the_end_is_refused(client, fake):
    fake.stream("a")
    with pytest.raises(RuntimeError, match="end"):
        client.chat("?", stream=True).response  # noqa: B018 - asking is what is refused


def test_what_a_provider_signed_goes_back_whole():
    """Anthropic's thinking blocks come each in a piece of its own, and must be handed back in the next round."""
    state = State(None, None, original=False)
    for delta in (
        {"reasoning_content": "hm"},
        {"thinking_blocks": [{"type": "thinking", "signature": "a"}]},
        {"content": "Hi"},
        {"thinking_blocks": [{"type": "thinking", "signature": "b"}]},
        {"refusal": "No"},
        {"refusal": " way"},
    ):
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        state.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    assert state.answer().raw["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Hi",
        "reasoning_content": "hm",
        "thinking_blocks": [{"type": "thinking", "signature": "a"}, {"type": "thinking", "signature": "b"}],
        "refusal": "No way",
    }


def test_pieces_that_are_none_are_told_as_that():
    for wrong in (
        b'data: {"choices": 5}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [5]}}]}\n\n',
        b"data: []\n\n",
    ):
        state = State(None, None, original=False)
        with pytest.raises(mesh.ConnectionFailed) as caught:
            state.feed(wrong)
        assert caught.value.code == "answer_invalid"
