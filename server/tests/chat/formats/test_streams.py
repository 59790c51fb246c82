"""Streams between the formats: every event of the table, in the order that each format's clients expect."""

import json

import pytest

from mesh_server.chat.formats.bridge import ProviderSaidError
from mesh_server.chat.formats.common import CHAT, MESSAGES, RESPONSES, Usage

from .ways import stream


def chunk(finish=None, usage=None, **delta):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    made = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt", "choices": [choice]}
    return {**made, "choices": [], "usage": usage} if usage else made


def call(index, arguments=None, **more):
    return {"index": index, "function": {"arguments": arguments} if arguments is not None else {}, **more}


def begin_call(index, name="f"):
    return {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}


COUNT = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 5}}
OPENAI = [
    chunk(role="assistant", content=""),
    chunk(reasoning_content="h"),
    chunk(reasoning_content="m"),
    chunk(content="He"),
    chunk(content="llo"),
    chunk(tool_calls=[begin_call(0)]),
    chunk(tool_calls=[call(0, '{"a":')]),
    chunk(tool_calls=[call(0, "1}")]),
    chunk(tool_calls=[begin_call(1, "g")]),
    chunk("tool_calls"),
    chunk(usage=COUNT),
    b"[DONE]",
]
INPUT = {"input_tokens": 2, "cache_read_input_tokens": 5, "output_tokens": 1}
START = {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": INPUT}}


def block(index, kind, *deltas, **begin):
    return [
        {"type": "content_block_start", "index": index, "content_block": {"type": kind, **begin}},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def end(reason="end_turn", **more):
    return [
        {"type": "message_delta", "delta": {"stop_reason": reason, **more}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]


def pieces(kind, name, *texts):
    return [{"type": kind, name: text} for text in texts]


ANTHROPIC = [
    START,
    {"type": "ping"},
    *block(
        0,
        "thinking",
        *pieces("thinking_delta", "thinking", "hm"),
        *pieces("signature_delta", "signature", "sig"),
        thinking="",
    ),
    *block(1, "text", *pieces("text_delta", "text", "He", "llo"), text=""),
    *block(
        2,
        "tool_use",
        *pieces("input_json_delta", "partial_json", '{"a":', "1}"),
        id="call_0",
        name="f",
        input={},
    ),
    *block(3, "tool_use", id="call_1", name="g", input={}),
    *end("tool_use"),
]


def deltas(sent):
    return [data["choices"][0]["delta"] for _, data in sent if data["choices"]]


def test_anthropics_events_as_chunks():
    sent, outcome = stream(CHAT, MESSAGES, ANTHROPIC)
    assert {name for name, _ in sent} == {None}
    assert deltas(sent) == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "sig"}]},
        {"content": "He"},
        {"content": "llo"},
        {"tool_calls": [begin_call(0)]},
        {"tool_calls": [call(0, '{"a":')]},
        {"tool_calls": [call(0, "1}")]},
        {"tool_calls": [begin_call(1, "g")]},
        {"tool_calls": [call(1, "{}")]},  # a call without arguments ends as an empty object
        {},
    ]
    assert sent[-2][1]["choices"][0]["finish_reason"] == "tool_calls"
    assert sent[-1][1]["usage"]["prompt_tokens"] == 7  # what the last event leaves out keeps its first value
    assert outcome.usage == Usage(input=7, cached=5, output=3)
    assert (outcome.model, outcome.finished) == ("claude", True)


def kinds(sent):
    return [name for name, _ in sent]


def test_openais_chunks_as_anthropics_events():
    sent, outcome = stream(MESSAGES, CHAT, OPENAI)
    assert all(name == data["type"] for name, data in sent)
    assert kinds(sent) == [
        "message_start",
        "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    starts = [data["content_block"]["type"] for name, data in sent if name == "content_block_start"]
    assert starts == ["thinking", "text", "tool_use", "tool_use"]
    last = sent[-2][1]
    assert last["delta"]["stop_reason"] == "tool_use"
    assert (
        last["usage"]["input_tokens"],
        last["usage"]["cache_read_input_tokens"],
        last["usage"]["output_tokens"],
    ) == (2, 5, 3)
    assert outcome.finished


def test_calls_that_interleave_never_overlap():
    pieces = [
        chunk(tool_calls=[begin_call(0)]),
        chunk(tool_calls=[call(0, '{"a"')]),
        chunk(tool_calls=[begin_call(1, "g")]),
        chunk(tool_calls=[call(1, '{"b"')]),
        chunk(tool_calls=[call(0, ":1}"), call(1, ":2}")]),
        chunk(content="after"),
        chunk("tool_calls"),
        b"[DONE]",
    ]
    sent, _ = stream(MESSAGES, CHAT, pieces)
    open_now, arguments = None, {}
    for name, data in sent:
        if name == "content_block_start":
            assert open_now is None
            open_now = data["index"]
        elif name == "content_block_delta":
            assert open_now == data["index"]
            arguments[open_now] = arguments.get(open_now, "") + (
                data["delta"].get("partial_json") or data["delta"].get("text")
            )
        elif name == "content_block_stop":
            assert open_now == data["index"]
            open_now = None
    assert arguments == {0: '{"a":1}', 1: '{"b":2}', 2: "after"}


def test_a_stream_of_responses_has_its_events_in_order():
    sent, _ = stream(RESPONSES, MESSAGES, ANTHROPIC)
    assert all(name == data["type"] for name, data in sent)
    assert [data["sequence_number"] for _, data in sent] == list(range(len(sent)))
    short = [name.removeprefix("response.") for name in kinds(sent)]
    assert short == [
        "created", "in_progress",
        "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
        "output_item.added", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    done = sent[-1][1]["response"]
    assert [item["type"] for item in done["output"]] == ["reasoning", "message", "function_call", "function_call"]
    assert done["output"][0]["encrypted_content"] == "anthropic_messages:sig"
    assert done["output"][1]["content"][0]["text"] == "Hello"
    assert [item["arguments"] for item in done["output"][2:]] == ['{"a":1}', "{}"]
    assert done["usage"]["input_tokens"] == 7


@pytest.mark.parametrize("surface", [CHAT, MESSAGES])
def test_a_stream_of_responses_is_read_back(surface):
    events, _ = stream(RESPONSES, MESSAGES, ANTHROPIC)
    direct, _ = stream(surface, MESSAGES, ANTHROPIC)
    through, outcome = stream(surface, RESPONSES, [data for _, data in events])
    if surface == CHAT:
        assert [d for d in deltas(through) if "thinking_blocks" not in d] == [
            d for d in deltas(direct) if "thinking_blocks" not in d
        ]
    else:
        frames = [
            [kind for kind in kinds(sent) if kind not in {"content_block_delta", "ping"}] for sent in (through, direct)
        ]
        assert frames[0] == frames[1]
    assert outcome.usage.input == 7


def test_a_server_that_sends_whole_items_without_pieces():
    texts = [{"type": "output_text", "text": text} for text in ("a", "b")]
    item = {"type": "message", "id": "m", "role": "assistant", "content": texts}
    tool = {"type": "function_call", "id": "x", "call_id": "c", "name": "f", "arguments": "{}"}
    done = {
        "id": "r",
        "status": "completed",
        "model": "gpt",
        "output": [item, tool],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    events = [
        {"type": "response.created", "response": {"id": "r", "model": "gpt", "status": "in_progress"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.output_item.done", "output_index": 1, "item": tool},
        {"type": "response.completed", "response": done},
    ]
    sent, _ = stream(CHAT, RESPONSES, events)
    assert "".join(d.get("content") or "" for d in deltas(sent)) == "ab"
    assert sent[-2][1]["choices"][0]["finish_reason"] == "tool_calls"


def test_a_refusal_is_told_at_the_end_of_anthropics_stream():
    sent, _ = stream(MESSAGES, CHAT, [chunk(refusal="I "), chunk(refusal="won't"), chunk("stop"), b"[DONE]"])
    assert kinds(sent) == ["message_start", "message_delta", "message_stop"]
    assert sent[1][1]["delta"]["stop_details"]["explanation"] == "I won't"
    back, _ = stream(CHAT, MESSAGES, [data for _, data in sent])
    assert deltas(back)[-1] == {"refusal": "I won't"}
    assert back[-2][1]["choices"][0]["finish_reason"] == "content_filter"


def test_redacted_thinking_goes_through():
    sent, _ = stream(CHAT, MESSAGES, [START, *block(0, "redacted_thinking", data="x"), *end()])
    assert deltas(sent)[1] == {"thinking_blocks": [{"type": "redacted_thinking", "data": "x"}]}
    sent, _ = stream(RESPONSES, MESSAGES, [START, *block(0, "redacted_thinking", data="x"), *end()])
    assert sent[-1][1]["response"]["output"][0]["encrypted_content"] == "anthropic_messages.redacted:x"


def test_a_stop_sequence_is_told():
    sent, _ = stream(MESSAGES, MESSAGES, [START, *end("stop_sequence", stop_sequence="x")])
    assert sent[-2][1]["delta"]["stop_sequence"] == "x"


def test_what_other_formats_have_no_place_for_leaves_no_trace():
    search = block(0, "server_tool_use", *pieces("input_json_delta", "partial_json", "{}"), id="s", name="w", input={})
    events = [START, *search, *block(1, "text", *pieces("text_delta", "text", "hi"), text=""), *end()]
    sent, _ = stream(CHAT, MESSAGES, events)
    assert "".join(d.get("content") or "" for d in deltas(sent)) == "hi"
    assert not any("tool_calls" in d for d in deltas(sent))


@pytest.mark.parametrize("format_", [CHAT, RESPONSES, MESSAGES])
def test_a_stream_of_the_same_format_goes_on_byte_for_byte(format_):
    events = {
        CHAT: OPENAI,
        MESSAGES: ANTHROPIC,
        RESPONSES: [data for _, data in stream(RESPONSES, MESSAGES, ANTHROPIC)[0]],
    }[format_]
    sent, outcome = stream(format_, format_, events)
    assert [data for _, data in sent] == [json.loads(json.dumps(e)) for e in events if e != b"[DONE]"]
    assert (outcome.usage.input, outcome.usage.output) == (7, 3)


def test_several_answers_are_complete_when_each_of_them_is():
    def part(index, finish=None):
        made = chunk(finish, content="a")
        return {**made, "obfuscation": "xyz", "choices": [{**made["choices"][0], "index": index}]}

    for pieces_, complete in [([part(0), part(1), part(0, "stop")], False), ([part(0, "stop"), part(1, "stop")], True)]:
        sent, outcome = stream(CHAT, CHAT, pieces_)
        assert [data for _, data in sent] == pieces_
        assert outcome.finished == complete


@pytest.mark.parametrize(
    ("provider", "failure"),
    [
        (CHAT, {"error": {"message": "sorry", "type": "server_error"}}),
        (MESSAGES, {"type": "error", "error": {"type": "overloaded_error", "message": "sorry"}}),
        (RESPONSES, {"type": "error", "code": "server_error", "message": "sorry"}),
        (
            RESPONSES,
            {"type": "response.failed", "response": {"id": "r", "status": "failed", "error": {"message": "sorry"}}},
        ),
    ],
)
@pytest.mark.parametrize("surface", [CHAT, RESPONSES, MESSAGES])
def test_a_failure_in_the_middle_is_noticed(surface, provider, failure):
    with pytest.raises(ProviderSaidError) as caught:
        stream(surface, provider, [failure])
    assert b"sorry" in caught.value.error
