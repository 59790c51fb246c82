"""Thousands of corrupted messages, every member of every message: each ends in a clean refusal, and changes nothing."""

import asyncio
import base64
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh_server.proofs import challenges

from ..conftest import open_mesh
from .prover import Prover

#: Refusals that a corrupted message may end in; anything else is a defect.
CLEAN = {
    "invalid_request",
    "invalid_json",
    "server_identity_mismatch",
    "challenge_unusable",
    "record_exists",
    "rate_limited",
    "body_too_large",
}
MANY = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

texts = st.text(max_size=300)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def changed(draw, text):
    """Return a text that is not the given one: a flipped bit, another length, or anything."""
    way = draw(st.integers(0, 4))
    if way == 0:
        raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        bit = draw(st.integers(0, len(raw) * 8 - 1))
        raw[bit // 8] ^= 1 << bit % 8
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")
    if way == 1:
        return text[: draw(st.integers(0, len(text) - 1))]
    if way == 2:
        return text + draw(st.sampled_from(["=", "A", "\n", " ", "AAAA"]))
    if way == 3:
        at = draw(st.integers(0, len(text) - 1))
        return text[:at] + draw(st.sampled_from("+/=é\0 ")) + text[at + 1 :]
    return draw(anything.filter(lambda value: value != text))


class World:
    """A server with one enrolled key, on a loop of its own."""

    def __init__(self, folder):
        self.runner = asyncio.Runner()
        self.mesh = self.run(
            open_mesh(folder, MESH_ZKP_RECORD_LIMIT="1000000/1000000", MESH_ZKP_USER_LIMIT="9999999/9999999")
        )
        account = self.run(self.mesh.services.accounts.ensure_local_account())
        self.ann = Prover(self.mesh.call, self.mesh.token, account.account_id)
        assert self.run(self.ann.enrol()).status == 200

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def close(self):
        self.run(self.mesh.services.close())
        self.runner.close()

    def challenged(self):
        begun, asked = self.run(self.ann.ask())
        return asked.json, self.ann.answer(begun, asked.json)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(challenges, "MOST_LIVE", 10**6)  # most of what follows is never answered
        yield from _world(tmp_path_factory)


def _world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("world"))
    yield made
    made.close()


def clean(answer):
    assert answer.status in {400, 409, 413, 429}, answer.body
    body = answer.json
    assert body["success"] is False
    assert body["error"]["code"] in CLEAN
    assert body["request_id"]


@MANY
@given(data=st.data())
def test_a_corrupted_answer_is_never_verified(world, data):
    challenge, proof = world.challenged()
    body = {"challengeId": challenge["challengeId"], "proof": proof}
    member = data.draw(st.sampled_from(sorted(body)))
    body[member] = data.draw(changed(body[member]))
    answer = world.run(world.ann.post("verify", body))
    if answer.status == 200:
        assert answer.json["verified"] is False
    else:
        clean(answer)


@MANY
@given(data=st.data())
def test_a_corrupted_opening_is_refused_or_answered_as_any_other_element(world, data):
    begun = world.ann.begin("k", "v")
    body = world.ann.opening(begun, "k")
    member = data.draw(st.sampled_from(sorted(body)))
    body[member] = data.draw(
        changed(body[member]) if member == "blinded" else anything.filter(lambda v: v != body[member])
    )
    path = data.draw(st.sampled_from(["challenge", "enroll/start"]))
    answer = world.run(world.ann.post(path, body))
    if answer.status == 200:
        # Another point, or another name, is as good a question; of neither can the old blind make a proof.
        assert member in {"blinded", "keyName"}
        if path == "challenge":
            assert world.ann.answer(begun, answer.json) is None
    else:
        clean(answer)


@MANY
@given(data=st.data())
def test_a_corrupted_ending_stores_nothing(world, data):
    begun, started = world.run(world.ann.start("k", "v", overwrite=True))
    body = world.ann.ending(begun, started.json)
    member = data.draw(st.sampled_from(sorted(body)))
    body[member] = data.draw(changed(body[member]))
    clean(world.run(world.ann.post("enroll/finish", body)))


@MANY
@given(data=st.data())
def test_any_bytes_are_refused(world, data):
    body = data.draw(st.binary(max_size=300) | anything.map(lambda value: json.dumps(value).encode()))
    for path in ("challenge", "verify", "enroll/start", "enroll/finish"):
        clean(world.run(world.ann.post(path, body)))


def test_the_record_is_still_the_first_one(world):
    """After all of the above nothing was changed."""
    assert world.run(world.ann.verify())
    listed = world.run(world.ann.call("GET", "/api/v1/zkp/records", token=world.ann.token)).json
    assert [r["record_version"] for r in listed["records"] if r["name"] == "k"] == [1]
