"""OpenAI's requests as Anthropic gets them: every row of the table of fields."""

import pytest

from mesh_server.chat.formats.common import CHAT, MESSAGES
from mesh_server.errors import InvalidRequest, UnsupportedFeature

from .ways import NEW_CLAUDE, OLD_CLAUDE, body

USER = {"role": "user", "content": "hi"}
HI = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
PNG = "data:image/png;base64,aGk="
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
BIG = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"model": "m", "messages": [HI], "max_tokens": 32_000}),
        ({"messages": [{"role": "system", "content": "s"}, USER]}, {"system": "s", "messages": [HI]}),
        ({"messages": [{"role": "developer", "content": "s"}, USER]}, {"system": "s"}),
        (
            {"messages": [{"role": "system", "content": "s"}, {"role": "developer", "content": "t"}, USER]},
            {"system": [{"type": "text", "text": "s"}, {"type": "text", "text": "t"}]},
        ),
        ({"messages": [USER, USER]}, {"messages": [{"role": "user", "content": HI["content"] * 2}]}),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}]},
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://x/y"}}]}
                ]
            },
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}]},
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
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "file",
                                "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
                            }
                        ],
                    }
                ]
            },
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "document",
                                "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
                                "title": "a.pdf",
                            }
                        ],
                    }
                ]
            },
        ),
        ({"max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"max_tokens": 7}, {"max_tokens": 7}),
        ({"stop": "x"}, {"stop_sequences": ["x"]}),
        ({"stop": ["x", "y"]}, {"stop_sequences": ["x", "y"]}),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}),
        ({"safety_identifier": "s", "user": "u"}, {"metadata": {"user_id": "s"}}),
        ({"tools": [TOOL]}, {"tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}]}),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]},
            {"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}, "strict": True}]},
        ),
        ({"tools": [TOOL], "tool_choice": "none"}, {"tool_choice": {"type": "none"}}),
        ({"tools": [TOOL], "tool_choice": "auto"}, {"tool_choice": {"type": "auto"}}),
        ({"tools": [TOOL], "tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tool_choice": {"type": "tool", "name": "f"}},
        ),
        (
            {
                "tools": [TOOL, {"type": "function", "function": {"name": "g"}}],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
                },
            },
            {
                "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
                "tool_choice": {"type": "any"},
            },
        ),
        (
            {"tools": [TOOL], "parallel_tool_calls": False},
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": BIG}}},
            {"output_config": {"format": {"type": "json_schema", "schema": BIG}}},
        ),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ({"reasoning_effort": "minimal"}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        ({"reasoning_effort": "xhigh"}, {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "hi", "prompt_cache_breakpoint": {"mode": "explicit"}}],
                    }
                ]
            },
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}],
                    }
                ]
            },
        ),
        (
            {"prompt_cache_options": {"mode": "implicit", "ttl": "30m"}},
            {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ),
    ],
)
def test_a_chat_completion_request_becomes_a_messages_request(fields, expected):
    found, warnings = body(CHAT, MESSAGES, fields, abilities=NEW_CLAUDE)
    assert {name: found.get(name) for name in expected} == expected
    assert not warnings


def test_a_tool_turn_keeps_its_order_and_its_results_come_first():
    messages = [
        USER,
        {"role": "assistant", "content": "let me see", "tool_calls": [CALL, {**CALL, "id": "call_2"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "two"}]},
        {"role": "user", "content": "and?"},
    ]
    found, _ = body(CHAT, MESSAGES, {"messages": messages, "tools": [TOOL]}, abilities=NEW_CLAUDE)
    use = {"type": "tool_use", "name": "f", "input": {"a": 1}}
    assert found["messages"][1:] == [
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "let me see"}, {**use, "id": "call_1"}, {**use, "id": "call_2"}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "one"}]},
                {"type": "tool_result", "tool_use_id": "call_2", "content": [{"type": "text", "text": "two"}]},
                {"type": "text", "text": "and?"},
            ],
        },
    ]


@pytest.mark.parametrize("arguments", ["", "{}", "  "])
def test_a_call_without_arguments_has_an_empty_object(arguments):
    call = {**CALL, "function": {"name": "f", "arguments": arguments}}
    messages = [USER, {"role": "assistant", "tool_calls": [call]}]
    found, _ = body(CHAT, MESSAGES, {"messages": messages}, abilities=NEW_CLAUDE)
    assert found["messages"][1]["content"][0]["input"] == {}


@pytest.mark.parametrize("arguments", ["{", "[1]", '"text"', "null", "[" * 100_000])
def test_arguments_that_are_no_object_are_refused_and_not_guessed(arguments):
    call = {**CALL, "function": {"name": "f", "arguments": arguments}}
    with pytest.raises(InvalidRequest, match="messages"):
        body(CHAT, MESSAGES, {"messages": [USER, {"role": "assistant", "tool_calls": [call]}]})


def test_another_makers_ids_are_written_as_anthropic_takes_them():
    call = {**CALL, "id": "functions.f:0"}
    messages = [USER, {"role": "assistant", "tool_calls": [call]}]
    messages.append({"role": "tool", "tool_call_id": "functions.f:0", "content": "1"})
    found, _ = body(CHAT, MESSAGES, {"messages": messages}, abilities=NEW_CLAUDE)
    used, result = found["messages"][1]["content"][0], found["messages"][2]["content"][0]
    assert used["id"] == result["tool_use_id"] == "functions_f_0"


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_empty_text_is_no_block(text):
    messages = [USER, {"role": "assistant", "content": text, "tool_calls": [CALL]}]
    found, _ = body(CHAT, MESSAGES, {"messages": messages}, abilities=NEW_CLAUDE)
    assert [block["type"] for block in found["messages"][1]["content"]] == ["tool_use"]


def test_thinking_blocks_go_back_unchanged_and_in_front():
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
    ]
    said = {"role": "assistant", "content": None, "tool_calls": [CALL], "thinking_blocks": blocks}
    messages = [USER, said, {"role": "tool", "tool_call_id": "call_1", "content": "1"}]
    found, warnings = body(CHAT, MESSAGES, {"messages": messages, "reasoning_effort": "high"}, abilities=NEW_CLAUDE)
    assert found["messages"][1]["content"][:2] == blocks
    assert not warnings


def test_thinking_without_its_signature_is_left_out_and_said():
    said = {"role": "assistant", "content": "yes", "reasoning_content": "hm"}
    found, warnings = body(CHAT, MESSAGES, {"messages": [USER, said, USER]}, abilities=NEW_CLAUDE)
    assert found["messages"][1]["content"] == [{"type": "text", "text": "yes"}]
    assert "thinking" in warnings[0]


# --- generations of models -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effort", "asked", "budget", "limit"),
    [
        ("low", 100, 1024, 5120),
        ("medium", None, 4096, 32_000),
        ("high", 20_000, 16_384, 20_000),
        ("max", None, 59_904, 64_000),
    ],
)
def test_older_models_get_a_budget_and_room_for_the_answer(effort, asked, budget, limit):
    found, _ = body(CHAT, MESSAGES, {"reasoning_effort": effort, "max_tokens": asked}, abilities=OLD_CLAUDE)
    assert found["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert found["max_tokens"] == limit
    assert "output_config" not in found


def test_thinking_is_left_out_of_a_turn_whose_blocks_were_lost():
    messages = [
        USER,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
    ]
    found, warnings = body(CHAT, MESSAGES, {"messages": messages, "reasoning_effort": "high"}, abilities=OLD_CLAUDE)
    assert "thinking" not in found
    assert "thinking_blocks" in warnings[0]


def test_a_forced_tool_leaves_no_thinking():
    fields = {"tools": [TOOL], "tool_choice": "required", "reasoning_effort": "high"}
    found, warnings = body(CHAT, MESSAGES, fields, abilities=NEW_CLAUDE)
    assert "thinking" not in found
    assert "forced" in warnings[0]


@pytest.mark.parametrize(
    ("fields", "abilities", "expected", "warned"),
    [
        ({"temperature": 0.5}, OLD_CLAUDE, {"temperature": 0.5}, []),
        ({"temperature": 1.5}, OLD_CLAUDE, {"temperature": 1.0}, ["temperature"]),
        ({"temperature": 0.5, "top_p": 0.9}, OLD_CLAUDE, {"temperature": 0.5, "top_p": None}, ["top_p"]),
        ({"top_p": 0.9}, OLD_CLAUDE, {"top_p": 0.9}, []),
        ({"temperature": 0.5}, NEW_CLAUDE, {"temperature": None}, ["temperature"]),
        ({"temperature": 0.5, "reasoning_effort": "low"}, OLD_CLAUDE, {"temperature": None}, ["temperature"]),
        ({"max_tokens": 99_999}, OLD_CLAUDE, {"max_tokens": 64_000}, ["99999"]),
    ],
)
def test_sampling_and_limits_fit_the_model(fields, abilities, expected, warned):
    found, warnings = body(CHAT, MESSAGES, fields, abilities=abilities)
    assert {name: found.get(name) for name in expected} == expected
    assert len(warnings) == len(warned)
    assert all(word in warning for word, warning in zip(warned, warnings, strict=True))


def test_json_without_a_schema_is_asked_for_in_words_and_said():
    found, warnings = body(CHAT, MESSAGES, {"response_format": {"type": "json_object"}}, abilities=NEW_CLAUDE)
    assert "JSON" in found["system"]
    assert "json_object" in warnings[0]


def test_a_later_message_of_the_system_becomes_the_users_and_is_said():
    messages = [USER, {"role": "assistant", "content": "yes"}, {"role": "system", "content": "be brief"}]
    found, warnings = body(CHAT, MESSAGES, {"messages": messages}, abilities=NEW_CLAUDE)
    assert found["messages"][-1] == {"role": "user", "content": [{"type": "text", "text": "be brief"}]}
    assert "messages[2]" in warnings[0]


# --- what can't be had -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"logprobs": True},
        {"top_logprobs": 3},
        {"logit_bias": {"1": 5}},
        {"modalities": ["text", "audio"]},
        {"audio": {"voice": "alloy", "format": "mp3"}},
        {"web_search_options": {"search_context_size": "low"}},
        {"moderation": {"model": "x"}},
        {"functions": [{"name": "f"}]},
        {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}]}
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
    ],
)
def test_what_has_no_place_is_refused(fields):
    with pytest.raises(UnsupportedFeature):
        body(CHAT, MESSAGES, fields, abilities=NEW_CLAUDE)


@pytest.mark.parametrize(
    "fields",
    [{"n": 1}, {"logprobs": False}, {"logit_bias": {}}, {"modalities": ["text"]}, {"top_logprobs": 0}],
)
def test_what_says_nothing_is_not_refused(fields):
    found, _ = body(CHAT, MESSAGES, fields, abilities=NEW_CLAUDE)
    assert not set(fields) & set(found)


@pytest.mark.parametrize(
    "name",
    ["seed", "presence_penalty", "frequency_penalty", "prediction", "service_tier", "metadata", "store",
     "prompt_cache_key", "prompt_cache_retention", "verbosity", "something_new"],
)  # fmt: skip
def test_a_hint_is_left_out_and_named(name):
    value = "high" if name == "verbosity" else 1
    found, warnings = body(CHAT, MESSAGES, {name: value}, abilities=NEW_CLAUDE)
    assert name not in found
    assert [f"`{name}`" in warning for warning in warnings] == [True]


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:broken"}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "x", "type": "function"}]}]},
        {"tools": [{"type": "function"}]},
        {"tool_choice": "maybe"},
        {"tool_choice": {"type": "function"}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "xml"}},
        {"max_tokens": "many"},
        {"stop": 5},
    ],
)
def test_what_is_not_of_the_format_is_refused(fields):
    with pytest.raises(InvalidRequest):
        body(CHAT, MESSAGES, fields)
