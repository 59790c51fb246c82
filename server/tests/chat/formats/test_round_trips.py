"""Whatever is said goes through any format and back, wherever its stream is cut."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh_protocol.events import EventReader
from mesh_server.chat.formats import bridge
from mesh_server.chat.formats.common import (
    CHAT,
    MESSAGES,
    RESPONSES,
    Began,
    BlockBegan,
    BlockEnded,
    BlockGrew,
    Closed,
    Conversation,
    Counted,
    Ended,
    Message,
    Outcome,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)

from .test_streams import ANTHROPIC, OPENAI
from .ways import NEW_CLAUDE, NEW_GPT, body, stream, way

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip)
NAME = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
JSON = st.dictionaries(NAME, st.integers() | TEXT | st.lists(st.booleans(), max_size=2), max_size=3)
ABILITIES = {CHAT: NEW_GPT, RESPONSES: NEW_GPT, MESSAGES: NEW_CLAUDE}
FORMATS = [CHAT, RESPONSES, MESSAGES]


@st.composite
def conversations(draw):
    """A conversation that every format can hold: text, calls, results, tools."""
    messages, number = [Message("user", [Text(draw(TEXT))])], 0
    for _ in range(draw(st.integers(0, 3))):
        said = [Text(draw(TEXT))] if draw(st.booleans()) else []
        calls = []
        for _ in range(draw(st.integers(0 if said else 1, 3))):
            calls.append(ToolCall(f"call_{number}", draw(NAME), json.dumps(draw(JSON), ensure_ascii=False)))
            number += 1
        messages.append(Message("assistant", [*said, *calls]))
        messages.append(
            Message("user", [ToolResult(c.id, [Text(draw(TEXT))]) for c in calls] if calls else [Text(draw(TEXT))])
        )
    system = [Message("system", [Text(draw(TEXT))])] if draw(st.booleans()) else []
    tools = [
        Tool(name, draw(TEXT), {"type": "object", "properties": {}}, strict=True)
        for name in draw(st.sets(NAME, max_size=3))
    ]
    return Conversation(messages=[*system, *messages], tools=tools, max_tokens=draw(st.integers(1, 9999)))


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=60, deadline=None)
@given(asked=conversations())
def test_a_conversation_goes_through_any_format_and_back(format_, asked):
    written, warnings = bridge._BUILD[format_](
        asked, model="m", stream=False, abilities=ABILITIES[format_], target="acme"
    )
    fields = {name: bridge.msgspec.Raw(json.dumps(value).encode()) for name, value in written.items()}
    back = bridge._PARSE[format_](fields, target="acme")
    assert back.messages == asked.messages
    assert back.tools == asked.tools
    assert back.max_tokens == asked.max_tokens
    assert not warnings


@st.composite
def answers(draw):
    """An answer as events: thinking, text, calls, each in pieces."""
    events = [Began("id_1", "m")]
    kinds = draw(st.lists(st.sampled_from(["thinking", "text", "call"]), min_size=1, max_size=4))
    kinds = [kind for place, kind in enumerate(kinds) if place == 0 or kind == "call" or kind != kinds[place - 1]]
    for index, kind in enumerate(kinds):
        part = {
            "thinking": Thinking("", maker=MESSAGES),
            "text": Text(""),
            "call": ToolCall(f"call_{index}", draw(NAME), ""),
        }[kind]
        pieces = [json.dumps(draw(JSON))] if kind == "call" else draw(st.lists(TEXT, min_size=1, max_size=3))
        events.append(BlockBegan(index, part))
        events += [BlockGrew(index, piece) for piece in pieces]
        events.append(BlockEnded(index, "sig" if kind == "thinking" else None))
    usage = Usage(input=draw(st.integers(0, 99)), output=draw(st.integers(0, 99)))
    reason = "tools" if "call" in kinds else draw(st.sampled_from(["stop", "length"]))
    return [*events, Counted(usage), Ended(reason), Closed()]


def content(events):
    """Return what events say, in whatever pieces."""
    blocks, order = {}, []
    for event in events:
        if isinstance(event, BlockBegan):
            order.append(event.index)
            part = event.part
            name = part.name if isinstance(part, ToolCall) else None
            blocks[event.index] = [
                type(part).__name__,
                name,
                getattr(part, "text", "") or getattr(part, "arguments", ""),
            ]
        elif isinstance(event, BlockGrew):
            blocks[event.index][2] += event.text
    said = [blocks[index] for index in order]
    reason = next(event.reason for event in events if isinstance(event, Ended))
    usage = [event.usage for event in events if isinstance(event, Counted)][-1]
    return said, reason, usage


def copy(events):
    return [type(e)(**{f: getattr(e, f) for f in e.__struct_fields__}) for e in events]


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=60, deadline=None)
@given(events=answers(), cuts=st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_a_stream_goes_through_any_format_and_back_wherever_it_is_cut(format_, events, cuts):
    expected = content(copy(events))
    writer = way(format_, MESSAGES if format_ != MESSAGES else CHAT, stream=True)._writer()
    raw = b"".join(piece for event in events for piece in writer.write(event))
    reader, parser, found = bridge._READERS[format_](), EventReader(), []
    place = turn = 0
    while place < len(raw):
        size = cuts[turn % len(cuts)]
        for data in parser.feed(raw[place : place + size]):
            found += reader.feed(data)
        place, turn = place + size, turn + 1
    if format_ == CHAT:
        found += reader.feed(b"[DONE]")
        expected = (_as_chat(expected[0]), *expected[1:])
        found_said, *rest = content(found)
        assert (_as_chat(found_said), *rest) == expected
    else:
        assert content(found) == expected
    assert isinstance(found[-1], Closed)


def _as_chat(said):
    """A chat completion has one text and one thinking; neighbours that were apart are one there."""
    joined = {kind: "".join(text for k, _, text in said if k == kind) for kind in ("Text", "Thinking")}
    return joined, [entry for entry in said if entry[0] == "ToolCall"]


MEMBERS = ["type", "choices", "delta", "content", "index", "usage", "message", "response", "item", "error"]
LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
JUNK = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=8,
)
EVENTS = {
    CHAT: OPENAI[:-1],
    MESSAGES: ANTHROPIC,
    RESPONSES: [data for _, data in stream(RESPONSES, MESSAGES, ANTHROPIC)[0]],
}


@pytest.mark.parametrize("surface", FORMATS)
@pytest.mark.parametrize("provider", FORMATS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_events_in_any_order_are_an_answer_or_a_failure_of_the_provider(surface, provider, data):
    relay = way(surface, provider, stream=True).relay(Outcome(provider="acme", model="m"))
    for value in data.draw(st.lists(st.sampled_from(EVENTS[provider]), max_size=12)):
        try:
            relay.feed(json.dumps(value).encode())
        except (bridge.ProviderSaidError, *bridge.NONSENSE):
            return


@pytest.mark.parametrize("surface", FORMATS)
@pytest.mark.parametrize("provider", FORMATS)
@settings(max_examples=150, deadline=None)
@given(junk=st.lists(JUNK, max_size=4))
def test_no_json_at_all_breaks_a_reader(surface, provider, junk):
    relay = way(surface, provider, stream=True).relay(Outcome(provider="acme", model="m"))
    for value in junk:
        try:
            relay.feed(json.dumps(value).encode())
        except (bridge.ProviderSaidError, *bridge.NONSENSE):
            return


def test_the_least_of_every_format_can_be_had_from_every_other():
    for surface in FORMATS:
        for provider in FORMATS:
            found, _ = body(surface, provider, abilities=ABILITIES[provider])
            assert found["model"] == "m"
