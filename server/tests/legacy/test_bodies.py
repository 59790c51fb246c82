"""Whatever a body or an answer holds, it is read, or refused as what it is: nothing else is raised."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh_server.chat.formats.common import Outcome
from mesh_server.errors import MeshError
from mesh_server.legacy import bodies

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=6), x, max_size=3), max_leaves=8
)  # fmt: skip
WORDS = st.sampled_from(
    ["type", "text", "image", "source", "parts", "content", "role", "media_type", "data", "inline_data"]
)
PARTS = st.dictionaries(WORDS, VALUES | st.dictionaries(WORDS, VALUES, max_size=3), max_size=4)
MESSAGES = st.lists(PARTS | st.dictionaries(WORDS, st.lists(PARTS, max_size=2), max_size=3) | VALUES, max_size=3)
MEMBERS = [
    "messages",
    "message",
    "prompt",
    "model",
    "provider",
    "thinking",
    "thinking_budget",
    "stream",
    "response_format",
]
BODIES = st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=5), VALUES | MESSAGES, max_size=6)
CHOICES = st.lists(
    st.fixed_dictionaries({}, optional={"message": VALUES | PARTS, "delta": VALUES | PARTS}) | VALUES, max_size=3
)


def refused(read, *arguments):
    """Return what is read; None where it is refused, for which there is one status."""
    found, problem = None, None
    try:
        found = read(*arguments)
    except MeshError as refusal:
        problem = refusal
    assert problem is None or problem.status == 400
    return found


def outcome():
    return Outcome(provider="p", model="m")


@settings(max_examples=300)
@given(BODIES)
def test_a_body_is_read_or_refused(body):
    content = json.dumps(body).encode()
    asked = refused(bodies.read, content, {})
    if asked is None:
        return
    assert asked.provider_is_a_guess
    assert bodies.canonical(content) == bodies.canonical(json.dumps(dict(reversed(body.items()))).encode())


@settings(max_examples=300)
@given(st.binary(max_size=40))
def test_bytes_are_read_or_refused(content):
    refused(bodies.read, content, {})
    refused(bodies.canonical, content)


@settings(max_examples=300)
@given(VALUES | st.fixed_dictionaries({"choices": VALUES | CHOICES}))
def test_an_answer_has_text_or_is_none(answered):
    try:
        found = json.loads(bodies.answer(json.dumps(answered).encode(), outcome(), "req_1"))
    except msgspec.DecodeError:
        return
    assert all(isinstance(choice["message"]["content"], str) for choice in found["choices"])


@settings(max_examples=300)
@given(
    st.binary(max_size=40) | st.fixed_dictionaries({"choices": VALUES | CHOICES}).map(lambda v: json.dumps(v).encode())
)
def test_an_event_has_text_or_nothing(data):
    line = bodies.plain_event(data)
    assert line.startswith(b"data: ")
    assert line.endswith(b"\n\n")
    try:
        found = json.loads(line[6:])
    except ValueError:
        return
    if isinstance(found, dict) and isinstance(found.get("choices"), list):
        deltas = [choice.get("delta") for choice in found["choices"] if isinstance(choice, dict)]
        assert all(delta.get("content", "text") for delta in deltas if isinstance(delta, dict))


@pytest.mark.parametrize("depth", [50, 500, 5000])
def test_an_event_of_any_depth_passes(depth):
    data = b'{"choices":' + b"[" * depth + b"]" * depth + b"}"
    assert bodies.plain_event(data).startswith(b"data: ")
