"""What Mesh writes is what the official clients' own types say, strictly: no member of another type, none missing."""

import json

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from mesh_protocol.events import EventReader
from mesh_server.chat.formats.common import CHAT, MESSAGES, RESPONSES

from .test_answers import ANTHROPIC as ANTHROPIC_USAGE
from .test_answers import OPENAI, OPENAI_RESPONSES, completion, message, response
from .test_round_trips import answers
from .test_streams import ANTHROPIC
from .test_streams import OPENAI as CHUNKS
from .ways import answer, stream, way

WHOLE = {CHAT: TypeAdapter(ChatCompletion), RESPONSES: TypeAdapter(Response), MESSAGES: TypeAdapter(Message)}
PIECES = {
    CHAT: TypeAdapter(ChatCompletionChunk),
    RESPONSES: TypeAdapter(ResponseStreamEvent),
    MESSAGES: TypeAdapter(RawMessageStreamEvent),
}
FORMATS = [CHAT, RESPONSES, MESSAGES]

BLOCKS = [
    {"type": "thinking", "thinking": "hm", "signature": "sig"},
    {"type": "redacted_thinking", "data": "x"},
    {"type": "text", "text": "hi"},
    {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
]
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
ITEMS = [
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "e"},
    {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
    {"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": "{}"},
]
REFUSED = {"type": "refusal", "category": None, "explanation": "no"}
ANSWERS = {
    MESSAGES: [
        message(*BLOCKS, stop="tool_use") | {"usage": ANTHROPIC_USAGE},
        message(stop="refusal", stop_details=REFUSED),
        message(BLOCKS[2], stop="max_tokens"),
    ],
    CHAT: [
        completion("tool_calls", usage=OPENAI, content="hi", reasoning_content="hm", tool_calls=[CALL]),
        completion(refusal="no"),
        completion("length", content="hi"),
    ],
    RESPONSES: [
        response(*ITEMS) | {"usage": OPENAI_RESPONSES},
        response(ITEMS[1], status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
    ],
}


@pytest.mark.parametrize("surface", FORMATS)
@pytest.mark.parametrize("provider", FORMATS)
def test_a_translated_answer_is_of_the_clients_type(surface, provider):
    if surface == provider:
        return  # it is the provider's own
    fields = {"tools": [{"type": "function", "name": "f", "parameters": {}, "strict": False}], "metadata": {"a": "b"}}
    for content in ANSWERS[provider]:
        found, _ = answer(surface, provider, content, fields if surface == RESPONSES else None)
        WHOLE[surface].validate_json(json.dumps(found), strict=True)


@pytest.mark.parametrize("surface", FORMATS)
@pytest.mark.parametrize("provider", FORMATS)
def test_every_event_of_a_translated_stream_is_of_the_clients_type(surface, provider):
    events = {CHAT: CHUNKS, MESSAGES: ANTHROPIC, RESPONSES: [d for _, d in stream(RESPONSES, MESSAGES, ANTHROPIC)[0]]}
    for name, data in stream(surface, provider, events[provider])[0]:
        if surface != provider:
            PIECES[surface].validate_json(json.dumps(data), strict=True)
            assert name == (None if surface == CHAT else data["type"])


@pytest.mark.parametrize("surface", FORMATS)
@settings(max_examples=40, deadline=None)
@given(events=answers())
def test_whatever_is_streamed_is_of_the_clients_type(surface, events):
    writer = way(surface, CHAT if surface != CHAT else MESSAGES, stream=True)._writer()
    parser = EventReader()
    for event in events:
        for piece in writer.write(event):
            for data in parser.feed(piece):
                PIECES[surface].validate_json(data, strict=True)


def test_thinking_survives_a_client_that_hands_the_message_back():
    found, _ = answer(CHAT, MESSAGES, message(*BLOCKS, stop="tool_use"))
    held = ChatCompletionMessage.model_validate(found["choices"][0]["message"])
    assert held.model_dump(exclude_unset=True)["thinking_blocks"] == BLOCKS[:2]
