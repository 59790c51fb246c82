"""Whole answers between the formats: content, reasons to end, tokens."""

import msgspec
import pytest

from mesh_server.chat.formats.bridge import ProviderSaidError
from mesh_server.chat.formats.common import CHAT, MESSAGES, RESPONSES, Usage

from .ways import answer


def message(*content, stop="end_turn", **more):
    usage = {"input_tokens": 1, "output_tokens": 2}
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": list(content),
        "stop_reason": stop, "stop_sequence": None, "usage": usage, **more,
    }  # fmt: skip


def completion(finish="stop", usage=None, **said):
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **said}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt", "choices": [choice],
            "usage": usage or {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}  # fmt: skip


def response(*output, status="completed", **more):
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    return {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "gpt",
            "output": list(output), "usage": usage, **more}  # fmt: skip


TEXT = {"type": "text", "text": "hi"}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}


@pytest.mark.parametrize(
    ("stop", "finish", "status", "why"),
    [
        ("end_turn", "stop", "completed", None),
        ("stop_sequence", "stop", "completed", None),
        ("max_tokens", "length", "incomplete", "max_output_tokens"),
        ("model_context_window_exceeded", "length", "incomplete", "max_output_tokens"),
        ("tool_use", "tool_calls", "completed", None),
        ("refusal", "content_filter", "incomplete", "content_filter"),
        ("pause_turn", "stop", "incomplete", None),
    ],
)
def test_anthropics_reasons_to_end(stop, finish, status, why):
    found, _ = answer(CHAT, MESSAGES, message(TEXT, stop=stop))
    assert found["choices"][0]["finish_reason"] == finish
    found, _ = answer(RESPONSES, MESSAGES, message(TEXT, stop=stop))
    assert found["status"] == status
    assert (found["incomplete_details"] or {}).get("reason") == why


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("function_call", "tool_use"),
        ("content_filter", "refusal"),
        ("something_new", "end_turn"),
        (None, "end_turn"),
    ],
)
def test_openais_reasons_to_end(finish, stop):
    found, _ = answer(MESSAGES, CHAT, completion(finish, content="hi"))
    assert found["stop_reason"] == stop


@pytest.mark.parametrize(
    ("status", "why", "stop"),
    [
        ("completed", None, "end_turn"),
        ("incomplete", "max_output_tokens", "max_tokens"),
        ("incomplete", "content_filter", "refusal"),
    ],
)
def test_the_states_of_a_response(status, why, stop):
    said = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
    found, _ = answer(
        MESSAGES, RESPONSES, response(said, status=status, incomplete_details={"reason": why} if why else None)
    )
    assert (found["stop_reason"], found["content"][0]["text"]) == (stop, "hi")


def test_a_server_that_says_stop_though_it_calls_tools():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    found, _ = answer(MESSAGES, CHAT, completion("stop", tool_calls=[call]))
    assert found["stop_reason"] == "tool_use"
    assert found["content"] == [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}]


def test_anthropics_blocks_as_a_chat_completion():
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "one "},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "text", "text": "two"},
        USE,
        {**USE, "id": "t2", "input": {}},
    ]
    found, _ = answer(CHAT, MESSAGES, message(*blocks, stop="tool_use"))
    said = found["choices"][0]["message"]
    assert (said["content"], said["reasoning_content"]) == ("one two", "hm")
    assert said["thinking_blocks"] == blocks[:2]
    assert [call["function"]["arguments"] for call in said["tool_calls"]] == ['{"a": 1}', "{}"]
    assert [call["id"] for call in said["tool_calls"]] == ["t1", "t2"]


def test_content_is_null_beside_calls_and_text_elsewhere():
    found, _ = answer(CHAT, MESSAGES, message(USE, stop="tool_use"))
    assert found["choices"][0]["message"]["content"] is None
    found, _ = answer(CHAT, MESSAGES, message())
    assert found["choices"][0]["message"]["content"] == ""


def test_anthropics_blocks_as_a_response():
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "x"},
        TEXT,
        USE,
    ]
    fields = {"metadata": {"a": "b"}, "tools": [{"type": "function", "name": "f"}], "temperature": 0.5}
    found, _ = answer(RESPONSES, MESSAGES, message(*blocks, stop="tool_use"), fields)
    assert [item["type"] for item in found["output"]] == ["reasoning", "reasoning", "message", "function_call"]
    assert [item.get("encrypted_content") for item in found["output"][:2]] == [
        "anthropic_messages:sig",
        "anthropic_messages.redacted:x",
    ]
    assert found["output"][3]["call_id"] == "t1"
    assert {name: found[name] for name in fields} == fields
    assert found["store"] is False


def test_a_refusal_is_told_in_every_format():
    refused = message(stop="refusal", stop_details={"type": "refusal", "category": "bio", "explanation": "I won't"})
    assert answer(CHAT, MESSAGES, refused)[0]["choices"][0]["message"]["refusal"] == "I won't"
    assert answer(RESPONSES, MESSAGES, refused)[0]["output"][0]["content"] == [
        {"type": "refusal", "refusal": "I won't"}
    ]
    found, _ = answer(MESSAGES, CHAT, completion(refusal="I won't"))
    assert (found["stop_reason"], found["stop_details"]["explanation"]) == ("refusal", "I won't")
    said = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "refusal", "refusal": "I won't"}]}
    assert answer(MESSAGES, RESPONSES, response(said))[0]["stop_details"]["explanation"] == "I won't"


def test_openais_sealed_reasoning_reaches_an_anthropic_client():
    item = {
        "type": "reasoning",
        "id": "rs_1",
        "encrypted_content": "sealed",
        "summary": [{"type": "summary_text", "text": "s"}],
    }
    found, _ = answer(MESSAGES, RESPONSES, response(item))
    assert found["content"] == [{"type": "thinking", "thinking": "s", "signature": "openai_responses:rs_1:sealed"}]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_a_plain_servers_thinking_reaches_every_format(name):
    found, _ = answer(MESSAGES, CHAT, completion(content="hi", **{name: "hm"}))
    assert found["content"][0] == {"type": "thinking", "thinking": "hm", "signature": ""}
    found, _ = answer(RESPONSES, CHAT, completion(content="hi", **{name: "hm"}))
    assert found["output"][0]["summary"][0]["text"] == "hm"


def test_arguments_that_are_no_json_can_not_be_an_object():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{broken"}}
    with pytest.raises(ValueError, match="Expecting"):
        answer(MESSAGES, CHAT, completion("tool_calls", tool_calls=[call]))
    found, _ = answer(RESPONSES, CHAT, completion("tool_calls", tool_calls=[call]))
    assert found["output"][0]["arguments"] == "{broken"


# --- tokens ----------------------------------------------------------------------------------------------

INNER = Usage(input=100, cached=60, cache_write=30, cache_write_long=10, output=50, thinking=20)
ANTHROPIC = {
    "input_tokens": 10, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
    "output_tokens": 50, "output_tokens_details": {"thinking_tokens": 20},
}  # fmt: skip
OPENAI = {
    "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 20},
}  # fmt: skip
OPENAI_RESPONSES = {
    "input_tokens": 100, "output_tokens": 50, "total_tokens": 150,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    "output_tokens_details": {"reasoning_tokens": 20},
}  # fmt: skip


def test_anthropics_tokens_in_openais_words():
    found, outcome = answer(CHAT, MESSAGES, message(TEXT) | {"usage": ANTHROPIC})
    assert found["usage"] == OPENAI
    assert outcome.usage == INNER
    found, _ = answer(RESPONSES, MESSAGES, message(TEXT) | {"usage": ANTHROPIC})
    assert found["usage"] == OPENAI_RESPONSES


def test_openais_tokens_in_anthropics_words():
    short = {**ANTHROPIC, "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 0}}
    assert answer(MESSAGES, CHAT, completion(content="hi", usage=OPENAI))[0]["usage"] == short
    assert answer(MESSAGES, RESPONSES, response() | {"usage": OPENAI_RESPONSES})[0]["usage"] == short


@pytest.mark.parametrize(
    ("format_", "content", "tier"),
    [
        (CHAT, completion(content="hi") | {"service_tier": "flex"}, "flex"),
        (RESPONSES, response() | {"service_tier": "priority"}, "priority"),
        (MESSAGES, message(TEXT) | {"usage": {"input_tokens": 1, "output_tokens": 1, "speed": "fast"}}, "fast"),
        (MESSAGES, message(TEXT), None),
    ],
)
def test_the_tier_of_service_is_known_for_its_price(format_, content, tier):
    assert answer(format_, format_, content)[1].tier == tier


def test_more_cached_than_sent_does_not_become_less_than_nothing():
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}}
    assert answer(MESSAGES, CHAT, completion(content="hi", usage=usage))[0]["usage"]["input_tokens"] == 0


@pytest.mark.parametrize(
    ("format_", "content"),
    [(MESSAGES, message(TEXT) | {"usage": ANTHROPIC}), (CHAT, completion(content="hi", usage=OPENAI)),
     (RESPONSES, response() | {"usage": OPENAI_RESPONSES})],
)  # fmt: skip
def test_an_answer_of_the_same_format_is_not_touched_but_its_tokens_are_known(format_, content):
    raw = msgspec.json.format(msgspec.json.encode(content), indent=3)
    found, outcome = answer(format_, format_, raw)
    assert found == content
    assert (outcome.usage.input, outcome.usage.cached, outcome.usage.cache_write, outcome.usage.output) == (
        100,
        60,
        30,
        50,
    )
    assert outcome.finished


# --- nonsense --------------------------------------------------------------------------------------------

NONSENSE = [b"", b"<html>", b"[]", b"null", b'"text"', b"{", b"\xff", b"{}", b'{"choices": []}', b'{"content": 5}']


@pytest.mark.parametrize("content", NONSENSE)
@pytest.mark.parametrize("provider", [CHAT, RESPONSES, MESSAGES])
@pytest.mark.parametrize("surface", [CHAT, RESPONSES, MESSAGES])
def test_what_is_no_answer_is_never_taken_for_one(surface, provider, content):
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        answer(surface, provider, content)


def test_a_failed_response_is_a_failure():
    failed = response(status="failed", error={"code": "server_error", "message": "sorry"})
    for surface in (CHAT, RESPONSES, MESSAGES):
        with pytest.raises(ProviderSaidError) as caught:
            answer(surface, RESPONSES, failed)
        assert b"sorry" in caught.value.error
