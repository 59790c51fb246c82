"""Anthropic's requests as OpenAI's formats have them, and OpenAI's two formats in each other."""

import pytest

from mesh_server.chat.formats.common import CHAT, MESSAGES, RESPONSES, Abilities
from mesh_server.errors import InvalidRequest, UnsupportedFeature

from .ways import NEW_GPT, PLAIN, body

HI = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
TOOL = {"name": "f", "description": "d", "input_schema": SCHEMA}
FUNCTION = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
SHOWN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}


def user(*blocks):
    return {"messages": [{"role": "user", "content": list(blocks)}]}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"model": "m", "messages": [HI], "max_tokens": 100}),
        ({"system": "s"}, {"messages": [{"role": "system", "content": "s"}, HI]}),
        ({"system": [{"type": "text", "text": "s"}]}, {"messages": [{"role": "system", "content": "s"}, HI]}),
        (
            {"messages": [{"role": "user", "content": "hi"}, {"role": "system", "content": "s"}]},
            {"messages": [HI, {"role": "system", "content": "s"}]},
        ),
        (user(PNG), {"messages": [{"role": "user", "content": [SHOWN]}]}),
        (
            user({"type": "image", "source": {"type": "url", "url": "https://x/y"}}),
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y"}}]}]},
        ),
        (
            user({"type": "document", "title": "a.pdf", "source": {"type": "base64", "data": "aGk="}}),
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
        ),
        (
            user(
                {"type": "document", "title": "t", "source": {"type": "text", "data": "words"}},
                {"type": "text", "text": "?"},
            ),
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "t\n\nwords"}, {"type": "text", "text": "?"}]}
                ]
            },
        ),
        ({"stop_sequences": ["x"]}, {"stop": ["x"]}),
        ({"temperature": 0.3, "top_p": 0.9, "top_k": 5}, {"temperature": 0.3, "top_p": 0.9, "top_k": 5}),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}),
        ({"tools": [TOOL]}, {"tools": [FUNCTION]}),
        ({"tools": [TOOL], "tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
        ({"tools": [TOOL], "tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
        (
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}},
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}},
        ),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "max"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 8000}}, {"reasoning_effort": "medium"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 9000}}, {"reasoning_effort": "high"}),
        ({"thinking": {"type": "adaptive"}}, {"reasoning_effort": None}),
        ({"thinking": {"type": "disabled"}}, {"reasoning_effort": None}),
    ],
)
def test_a_messages_request_becomes_a_chat_completion_request(fields, expected):
    found, warnings = body(MESSAGES, CHAT, fields)
    found["messages"] = [
        {**m, "content": [{**p, "text": p["text"]} if "text" in p else p for p in m["content"]]}
        if isinstance(m["content"], list)
        else m
        for m in found["messages"]
    ]
    assert {name: found.get(name) for name in expected if name != "messages"} == {
        name: value for name, value in expected.items() if name != "messages"
    }
    if "messages" in expected:
        assert _joined(found["messages"]) == _joined(expected["messages"])
    assert not warnings


def _joined(messages):
    """Plain servers get text alone as one string."""
    return [
        {**m, "content": "\n\n".join(p["text"] for p in m["content"])}
        if isinstance(m["content"], list) and all(p["type"] == "text" for p in m["content"])
        else m
        for m in messages
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"max_completion_tokens": 100, "max_tokens": None}),
        ({"metadata": {"user_id": "u"}}, {"safety_identifier": "u"}),
        ({"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}),
        (
            user({"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "5m"}}),
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "text",
                                "text": "hi",
                                "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"},
                            }
                        ],
                    }
                ]
            },
        ),
    ],
)
def test_openai_itself_gets_its_newest_fields(fields, expected):
    found, warnings = body(MESSAGES, CHAT, fields, abilities=NEW_GPT)
    assert {name: found.get(name) for name in expected} == expected
    assert not warnings


TURN = [
    {"role": "user", "content": "hi"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "wait"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": "é"}},
            {"type": "tool_use", "id": "t2", "name": "f", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
            {
                "type": "tool_result",
                "tool_use_id": "t2",
                "is_error": True,
                "content": [{"type": "text", "text": "no"}, PNG],
            },
            {"type": "text", "text": "and?"},
        ],
    },
]


def test_a_tool_turn_becomes_messages_of_the_tools_with_what_they_showed_behind():
    found, warnings = body(MESSAGES, CHAT, {"messages": TURN, "tools": [TOOL]})
    said = found["messages"][1]
    assert (said["content"], [call["function"]["arguments"] for call in said["tool_calls"]]) == (
        "wait",
        ['{"a": "é"}', "{}"],
    )
    assert found["messages"][2:] == [
        {"role": "tool", "tool_call_id": "t1", "content": "one"},
        {"role": "tool", "tool_call_id": "t2", "content": "Error: no"},
        {"role": "user", "content": [SHOWN, {"type": "text", "text": "and?"}]},
    ]
    assert [w for w in warnings if "thinking" in w] == warnings


def test_a_tool_turn_becomes_items():
    found, warnings = body(MESSAGES, RESPONSES, {"messages": TURN, "tools": [TOOL], "system": "s"}, abilities=NEW_GPT)
    assert found["instructions"] == "s"
    assert found["store"] is False
    assert found["include"] == ["reasoning.encrypted_content"]
    assert found["max_output_tokens"] == 100
    assert found["tools"] == [
        {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": False}
    ]
    kinds = ["message", "message", *["function_call"] * 2, *["function_call_output"] * 2, "message"]
    assert [item["type"] for item in found["input"]] == kinds
    assert found["input"][5]["output"][1] == {
        "type": "input_image",
        "image_url": SHOWN["image_url"]["url"],
        "detail": "auto",
    }
    assert "thinking" in warnings[0]


def test_openais_sealed_reasoning_comes_back_from_an_anthropic_client():
    said = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "sum", "signature": "openai_responses:rs_1:sealed:x"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
        ],
    }
    found, warnings = body(MESSAGES, RESPONSES, {"messages": [TURN[0], said, TURN[0]]}, abilities=NEW_GPT)
    assert found["input"][1] == {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "sum"}],
        "encrypted_content": "sealed:x",
    }
    assert not warnings


def test_a_plain_servers_own_thinking_goes_back_to_it():
    said = {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "a"}],
    }
    found, warnings = body(MESSAGES, CHAT, {"messages": [TURN[0], said, TURN[0]]})
    assert found["messages"][1] == {"role": "assistant", "content": "a", "reasoning_content": "hm"}
    assert not warnings


@pytest.mark.parametrize(
    ("provider", "fields"),
    [
        (CHAT, {"container": "c"}),
        (CHAT, {"mcp_servers": [{"url": "x"}]}),
        (CHAT, {"tools": [{"type": "web_search_20260318", "name": "web_search"}]}),
        (CHAT, user({"type": "document", "source": {"type": "file", "file_id": "f"}})),
        (CHAT, user({"type": "image", "source": {"type": "file", "file_id": "f"}})),
        (CHAT, user({"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}})),
        (CHAT, user({"type": "search_result", "source": {"type": "text"}})),
        (RESPONSES, {"stop_sequences": ["x"]}),
    ],
)
def test_what_has_no_place_is_refused(provider, fields):
    with pytest.raises(UnsupportedFeature):
        body(MESSAGES, provider, fields)


def test_an_image_for_a_model_that_reads_none_is_refused():
    with pytest.raises(UnsupportedFeature, match="images"):
        body(MESSAGES, CHAT, user(PNG), abilities=Abilities(images=False))


def test_more_stop_sequences_than_openai_takes_are_refused_and_not_cut():
    with pytest.raises(UnsupportedFeature, match="4"):
        body(MESSAGES, CHAT, {"stop_sequences": list("abcde")}, abilities=NEW_GPT)
    assert body(MESSAGES, CHAT, {"stop_sequences": list("abcde")})[0]["stop"] == list("abcde")


@pytest.mark.parametrize(
    "name", ["context_management", "diagnostics", "inference_geo", "service_tier", "speed", "new_thing"]
)
def test_a_hint_is_left_out_and_named(name):
    _, warnings = body(MESSAGES, CHAT, {name: "x"})
    assert [f"`{name}`" in warning for warning in warnings] == [True]


@pytest.mark.parametrize(
    ("fields", "abilities", "word"),
    [
        ({"temperature": 0.5}, NEW_GPT, "temperature"),
        ({"top_k": 5}, NEW_GPT, "top_k"),
        (user({"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}), PLAIN, "cache"),
        ({"cache_control": {"type": "ephemeral"}}, PLAIN, "cache"),
        ({"messages": [TURN[0], {"role": "assistant", "content": "I would"}]}, PLAIN, "last message"),
    ],
)
def test_what_is_left_out_by_the_model_is_named(fields, abilities, word):
    _, warnings = body(MESSAGES, CHAT, fields, abilities=abilities)
    assert len(warnings) == 1
    assert word in warnings[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
        {"thinking": {"type": "sometimes"}},
        {"tool_choice": {"type": "tool"}},
        {"tool_choice": "auto"},
        {"tools": [{"input_schema": {}}]},
        {"max_tokens": "many"},
    ],
)
def test_what_is_not_of_the_format_is_refused(fields):
    with pytest.raises(InvalidRequest):
        body(MESSAGES, CHAT, fields)


# --- OpenAI's two formats --------------------------------------------------------------------------------

CUSTOM = {"type": "custom", "custom": {"name": "c", "description": "d", "format": {"type": "text"}}}
FLAT_CUSTOM = {"type": "custom", "name": "c", "description": "d", "format": {"type": "text"}}


def test_custom_tools_go_between_openais_formats():
    called = {
        "role": "assistant",
        "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "c", "input": "raw"}}],
    }
    messages = [HI, called, {"role": "tool", "tool_call_id": "c1", "content": "done"}]
    fields = {"messages": messages, "tools": [CUSTOM], "tool_choice": {"type": "custom", "custom": {"name": "c"}}}
    there, _ = body(CHAT, RESPONSES, fields, abilities=NEW_GPT)
    assert there["tools"] == [FLAT_CUSTOM]
    assert there["tool_choice"] == {"type": "custom", "name": "c"}
    assert there["input"][1:] == [
        {"type": "custom_tool_call", "call_id": "c1", "name": "c", "input": "raw"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
    ]
    back, _ = body(RESPONSES, CHAT, {name: there[name] for name in ("input", "tools", "tool_choice")})
    assert {name: back[name] for name in fields} == {
        **fields,
        "messages": [HI, {**called, "content": None}, messages[2]],
    }


def test_settings_go_between_openais_formats():
    fields = {"max_completion_tokens": 5, "reasoning_effort": "low", "verbosity": "high", "parallel_tool_calls": False,
              "tools": [FUNCTION]}  # fmt: skip
    found, _ = body(CHAT, RESPONSES, fields, abilities=NEW_GPT)
    assert found["max_output_tokens"] == 5
    assert found["reasoning"] == {"effort": "low"}
    assert found["text"] == {"verbosity": "high"}
    assert found["parallel_tool_calls"] is False
    back, _ = body(RESPONSES, CHAT, {"max_output_tokens": 5, "reasoning": {"effort": "low"}}, abilities=NEW_GPT)
    assert (back["max_completion_tokens"], back["reasoning_effort"]) == (5, "low")


def test_what_both_of_openais_formats_have_is_kept_for_openai_and_named_for_others():
    fields = {"metadata": {"a": "b"}, "service_tier": "flex", "prompt_cache_key": "k", "prompt_cache_retention": "24h"}
    found, warnings = body(CHAT, RESPONSES, fields, abilities=NEW_GPT)
    assert ({name: found[name] for name in fields}, warnings) == (fields, [])
    found, warnings = body(RESPONSES, CHAT, fields)
    assert not set(fields) & set(found)
    assert len(warnings) == 3  # metadata is told back


def test_a_refusal_goes_between_openais_formats():
    said = {"role": "assistant", "content": None, "refusal": "no"}
    there, _ = body(CHAT, RESPONSES, {"messages": [HI, said, HI]})
    assert there["input"][1]["content"] == [{"type": "refusal", "refusal": "no"}]
    back, _ = body(RESPONSES, CHAT, {"input": there["input"]})
    assert back["messages"][1] == said
