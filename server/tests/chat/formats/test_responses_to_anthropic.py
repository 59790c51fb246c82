"""OpenAI's Responses requests as Anthropic gets them."""

import pytest

from mesh_server.chat.formats.common import CHAT, MESSAGES, RESPONSES
from mesh_server.errors import UnsupportedFeature

from .ways import NEW_CLAUDE, body

HI = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
PNG = "data:image/png;base64,aGk="
BIG = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"instructions": "s"}, {"system": "s", "messages": [HI]}),
        (
            {"input": [{"role": "developer", "content": "s"}, {"role": "user", "content": "hi"}]},
            {"system": "s", "messages": [HI]},
        ),
        ({"max_output_tokens": 9}, {"max_tokens": 9}),
        ({"reasoning": {"effort": "low"}}, {"output_config": {"effort": "low"}, "thinking": {"type": "adaptive"}}),
        (
            {"reasoning": {"effort": "high", "summary": "auto"}},
            {"thinking": {"type": "adaptive", "display": "summarized"}},
        ),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": BIG}}},
            {"output_config": {"format": {"type": "json_schema", "schema": BIG}}},
        ),
        (
            {
                "tools": [{"type": "function", "name": "f", "parameters": BIG}],
                "tool_choice": {"type": "function", "name": "f"},
            },
            {"tools": [{"name": "f", "input_schema": BIG}], "tool_choice": {"type": "tool", "name": "f"}},
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": PNG, "detail": "auto"}]}]},
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
                        ],
                    }
                ]
            },
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://x/a.pdf"}]}]},
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}}],
                    }
                ]
            },
        ),
    ],
)
def test_a_responses_request_becomes_a_messages_request(fields, expected):
    found, warnings = body(RESPONSES, MESSAGES, fields, abilities=NEW_CLAUDE)
    assert {name: found.get(name) for name in expected} == expected
    assert not warnings


def test_items_of_a_tool_turn_become_two_messages():
    items = [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}],
         "encrypted_content": "anthropic_messages:sig"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "wait"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": '{"a": 2}'},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
    ]  # fmt: skip
    found, warnings = body(RESPONSES, MESSAGES, {"input": items}, abilities=NEW_CLAUDE)
    assert [message["role"] for message in found["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in found["messages"][1]["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert found["messages"][1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "sig"}
    assert [block["tool_use_id"] for block in found["messages"][2]["content"]] == ["c1", "c2"]
    assert not warnings


@pytest.mark.parametrize(
    "fields",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"background": True},
        {"prompt": {"id": "p"}},
        {"top_logprobs": 2},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "custom", "name": "f"}]},
        {"input": [{"type": "item_reference", "id": "x"}]},
        {"input": [{"type": "computer_call", "id": "x"}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        {"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "file_search"}},
    ],
)
def test_what_only_openai_keeps_or_runs_is_refused(fields):
    with pytest.raises(UnsupportedFeature):
        body(RESPONSES, MESSAGES, fields, abilities=NEW_CLAUDE)


def test_what_is_told_back_is_not_warned_of():
    _, warnings = body(
        RESPONSES, MESSAGES, {"metadata": {"a": "b"}, "store": False, "include": []}, abilities=NEW_CLAUDE
    )
    assert not warnings


def test_the_least_requests_agree():
    found = [body(surface, MESSAGES, abilities=NEW_CLAUDE)[0] for surface in (CHAT, RESPONSES)]
    assert found[0] == found[1]
