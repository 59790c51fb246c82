"""The messages: one text for each byte string, known members only, nothing of them in a repr."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_protocol import messages
from mesh_protocol.group import DecodingError

REQUESTS = {
    messages.StartEnrollment: {"suite": "s", "serverId": "i", "keyName": "k", "blinded": "A" * 44},
    messages.FinishEnrollment: {
        "enrollmentId": "A" * 22,
        "ksf": "A" * 14,
        "record": "A" * 172,
        "proof": "A" * 87,
    },
    messages.AskChallenge: {"suite": "s", "serverId": "i", "keyName": "k", "blinded": "A" * 44},
    messages.SubmitProof: {"challengeId": "A" * 22, "proof": "A" * 87},
}


@given(st.binary(max_size=200))
def test_bytes_come_back(data):
    assert messages.from_text(messages.to_text(data), len(data)) == data
    assert "=" not in messages.to_text(data)


@given(st.binary(min_size=1, max_size=40), st.data())
def test_no_other_text_is_read(data, more):
    text = messages.to_text(data)
    at = more.draw(st.integers(0, len(text) - 1))
    other = more.draw(st.sampled_from(["=", " ", "\n", "+", "/", "é", "\0", ""]))
    for wrong in (text + "=", text + "\n", " " + text, text[:at] + other + text[at:] if other else text[:-1]):
        with pytest.raises(DecodingError):
            messages.from_text(wrong, len(data))


def test_trailing_bits_must_be_zero():
    """Two bytes need three characters, whose last two bits say nothing: only zeros are canonical."""
    assert messages.from_text("AAA", 2) == b"\0\0"
    assert base64.urlsafe_b64decode("AAB=") == b"\0\0"
    for text in ("AAB", "AAC", "AAD"):
        with pytest.raises(DecodingError):
            messages.from_text(text, 2)


@pytest.mark.parametrize("length", [1, 3])
def test_another_length_is_refused(length):
    with pytest.raises(DecodingError):
        messages.from_text("AAA", length)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_a_server_refuses_what_it_does_not_know(kind):
    body = REQUESTS[kind]
    assert msgspec.json.decode(msgspec.json.encode(body), type=kind)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode({**body, "commitment": "A" * 44}), type=kind)
    for name in body:
        missing = {other: value for other, value in body.items() if other != name}
        for wrong in (missing, {**body, name: 5}, {**body, name: None}):
            with pytest.raises(msgspec.ValidationError):
                msgspec.json.decode(msgspec.json.encode(wrong), type=kind)


def test_a_client_ignores_what_it_does_not_know():
    body = {"verified": True, "success": True, "tomorrow": 1}
    assert msgspec.json.decode(msgspec.json.encode(body), type=messages.Verified).verified


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_a_request_shows_nothing_of_itself(kind):
    made = msgspec.convert(REQUESTS[kind], kind)
    assert repr(made) == f"<{kind.__name__}>"


def test_an_answer_says_that_it_is_a_success():
    assert msgspec.json.decode(msgspec.json.encode(messages.Verified(verified=False))) == {
        "verified": False,
        "success": True,
    }
