"""The Sigma proof: the drafts' vectors byte for byte, and every way in which a proof can be wrong."""

import os

import pytest

from mesh_protocol import group, proof
from mesh_protocol.transcript import lp, session_of, squeeze

from . import published, sigma
from .published import h, number

FOLDER = "cfrg-sigma"


def named(file):
    return {one["Id"]: one for one in published.load(f"{FOLDER}/{file}.json")}


def test_every_valid_proof_of_the_draft_is_accepted():
    vectors = named("sigma-proofs_Shake128_P256")
    assert len(vectors) == 14
    for name, one in vectors.items():
        tag, instance = one["Tag"].encode(), h(one["Instance"])
        assert session_of(tag) == h(one["SessionId"]), name
        assert sigma.verifies(tag, instance, h(one["NargString"]), compact=one["Flavor"] == "compact"), name


def test_every_invalid_proof_of_the_draft_is_refused():
    vectors = named("sigma-proofs-invalid_Shake128_P256")
    assert len(vectors) == 33
    for name, one in vectors.items():
        found = sigma.verifies(
            one["Tag"].encode(), h(one["Instance"]), h(one["NargString"]), compact=one["Flavor"] == "compact"
        )
        assert found is (one["Expected"] == "accept"), (name, one.get("Comment"))


def test_our_own_verifier_agrees_with_the_draft_on_its_relation():
    """The proofs of "X = x · G" in the form that Mesh uses, valid and invalid, through the product's own function."""
    instance = proof.instance_of(group.encode_element(group.GENERATOR))[:-33]
    vectors = named("sigma-proofs_Shake128_P256") | named("sigma-proofs-invalid_Shake128_P256")
    ours = [v for v in vectors.values() if v["Flavor"] == "batchable" and h(v["Instance"])[:-33] == instance]
    outcomes = [proof.verify(h(v["Instance"])[-33:], v["Tag"].encode(), h(v["NargString"])) for v in ours]
    assert outcomes == [v["Expected"] == "accept" for v in ours]
    assert len(ours) > 12
    assert True in outcomes
    assert False in outcomes


def test_our_own_prover_makes_the_draft_s_proof_byte_for_byte():
    """The vector's nonce follows from its proof, s = k + c · x; with it the prover makes the same bytes."""
    one = named("sigma-proofs_Shake128_P256")["sigma-protocols/p256/discrete_logarithm/batchable"]
    instance, narg, x = h(one["Instance"]), h(one["NargString"]), h(one["Witness"])
    session = session_of(one["Tag"].encode())
    challenge = proof.challenge_of(session, instance, narg[:33])
    minus_x = (group.ORDER - int.from_bytes(x)).to_bytes(32)
    nonce = group.multiply_add(challenge, minus_x, narg[33:])
    assert proof.prove_with(x, session, instance, nonce) == narg


def test_the_codec_is_that_of_the_draft():
    vectors = named("fiatShamirCodecVectors")
    assert vectors
    for name in ("serialize_varlen", "varlen_empty"):
        one = vectors[f"fiat-shamir/codec/{name}"]
        assert lp(h(one["Input"])) == h(one["Output"])
    wrapped = vectors["fiat-shamir/codec/decode_uint_wraparound"]
    assert int.from_bytes(group.reduce(h(wrapped["Input"])[::-1])) == number(wrapped["Challenge"])
    written = vectors["fiat-shamir/codec/serialize_field_be"]
    assert group.reduce(number(written["Value"]).to_bytes(8)) == h(written["Output"])


def test_the_sponge_is_that_of_the_draft():
    """Those of the draft's vectors that absorb first and squeeze last, as the proof does."""
    tried = 0
    for one in published.load(f"{FOLDER}/fiatShamirShake128Vectors.json"):
        operations = one.get("Operations") or []
        kinds = [operation["type"] for operation in operations]
        if one["Function"] != "DuplexSponge" or kinds != sorted(kinds) or "squeeze" not in kinds:
            continue
        absorbed = b"".join(h(o["data"]) for o in operations if o["type"] == "absorb")
        length = sum(o["length"] for o in operations if o["type"] == "squeeze")
        assert squeeze(h(one["SessionId"]), absorbed, length) == h(one["Output"]), one["Id"]
        tried += 1
    assert tried >= 4


# --- refusals ---

KEY = group.reduce(os.urandom(48))
PUBLIC = group.multiply_base(KEY)
TAG = b"tag"


@pytest.fixture(scope="module")
def made():
    found = proof.prove(KEY, PUBLIC, TAG, os.urandom(32))
    assert proof.verify(PUBLIC, TAG, found)
    return found


def test_another_tag_is_refused(made):
    assert not proof.verify(PUBLIC, b"tah", made)


def test_another_key_is_refused(made):
    assert not proof.verify(group.multiply_base(group.reduce(os.urandom(48))), TAG, made)


@pytest.mark.parametrize("data", [b"", bytes(33), b"\4" + PUBLIC[1:], b"\2" + b"\xff" * 32, PUBLIC + b"\0"])
def test_a_stored_key_that_is_no_element_is_refused_and_raises_nothing(made, data):
    assert proof.verify(data, TAG, made) is False


def test_nothing_may_follow_a_proof(made):
    assert not proof.verify(PUBLIC, TAG, made + b"\0")


def test_the_second_form_of_a_response_is_refused(monkeypatch):
    """s and s + n are one number to the equation: were both read, every proof with a small s had two forms."""
    challenge = group.reduce(b"fixed, so that a small s can be had")
    monkeypatch.setattr(proof, "challenge_of", lambda *_: challenge)
    small = (7).to_bytes(32)
    minus_c = (group.ORDER - int.from_bytes(challenge)).to_bytes(32)
    commitment = group.multiply(group.GENERATOR, small) + group.multiply(group.decode_element(PUBLIC), minus_c)
    encoded = group.encode_element(commitment)
    assert proof.verify(PUBLIC, TAG, encoded + small)
    assert not proof.verify(PUBLIC, TAG, encoded + (group.ORDER + 7).to_bytes(32))


def test_a_response_of_zero_is_a_response():
    """k = -c · x can't be arranged, but zero must neither fail nor be accepted by itself."""
    assert proof.verify(PUBLIC, TAG, PUBLIC + bytes(32)) is False


def test_the_commitment_must_not_be_the_identity(made):
    for data in (bytes(33), b"\2" + bytes(32)):
        assert proof.verify(PUBLIC, TAG, data + made[33:]) is False


def test_nonces_differ_between_sessions_even_if_the_random_bytes_repeat():
    session, other = session_of(b"one"), session_of(b"two")
    instance = proof.instance_of(PUBLIC)
    entropy = bytes(32)
    nonces = {proof.nonce_of(KEY, entropy, s, instance) for s in (session, other)}
    nonces.add(proof.nonce_of(KEY, b"\1" * 32, session, instance))
    assert len(nonces) == 3
