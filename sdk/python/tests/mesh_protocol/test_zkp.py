"""MESH-ZKP-V01 itself: its frozen vectors, and what a single changed bit or byte does."""

import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh_protocol import group, opaque, oprf, proof, zkp
from mesh_protocol.ksf import NONE, Ksf
from mesh_protocol.transcript import session_of

from . import published
from .published import h

VECTORS = published.frozen()
BIND, CHALLENGE = os.urandom(32), os.urandom(32)
SUBJECT = zkp.Subject("mesh:a.example", "t", "u", "k")
SEEDS = zkp.Seeds.derive(os.urandom(32), "t")


def subject_of(v):
    return zkp.Subject(v["server_identity"], v["tenant"], v["user_id"], v["key_name"])


def begun_of(v, phase):
    """Return a flow with the blind of the vector, which the product would draw."""
    oprf_input = subject_of(v).oprf_input(v["value_utf8"].encode())
    made = oprf.blind(oprf_input, h(v[f"blind_{phase}"]))
    return zkp.Begun(subject_of(v), made.element, oprf_input, made.scalar)


@pytest.mark.parametrize("v", VECTORS, ids=["identity", "argon2id"])
class TestFrozenVectors:
    def test_names(self, v):
        subject = subject_of(v)
        assert subject.client_identity == h(v["client_identity"])
        assert subject.credential_identifier(v["version"]) == h(v["credential_identifier"])
        assert subject.oprf_input(v["value_utf8"].encode()) == h(v["oprf_input"])

    def test_enrolment(self, v):
        begun = begun_of(v, "enroll")
        assert begun.blinded == h(v["blinded_enroll"])
        seeds = replace(SEEDS, oprf_seed=h(v["oprf_seed"]), server_public_key=h(v["server_public_key"]))
        assert group.multiply_base(h(v["server_private_key"])) == seeds.server_public_key
        evaluated = seeds.evaluate(begun.subject, v["version"], begun.blinded)
        assert evaluated == h(v["evaluated_enroll"])
        ksf = Ksf.decode(h(v["ksf"]))
        secret = begun.secret(evaluated, ksf)
        assert secret == h(v["randomized_password"])
        subject = begun.subject
        record, credential = opaque.store(
            secret,
            h(v["envelope_nonce"]),
            seeds.server_public_key,
            subject.server_identity,
            subject.client_identity,
        )
        assert record.encode() == h(v["record"])
        assert credential.private_key == h(v["client_private_key"])
        assert credential.export_key == h(v["export_key"])
        answered = evaluated + seeds.server_public_key
        digest = zkp.enroll_digest(
            subject, ksf.encode(), begun.blinded, answered, record.encode(), h(v["enroll_challenge"]), b""
        )
        self.check_proof(v, "enroll", digest, record.public_key, credential.private_key)

    def test_verification(self, v):
        begun = begun_of(v, "verify")
        assert begun.blinded == h(v["blinded_verify"])
        seeds = replace(SEEDS, oprf_seed=h(v["oprf_seed"]), server_public_key=h(v["server_public_key"]))
        record = opaque.Record.decode(h(v["record"]))
        response = seeds.respond(record, begun.subject, v["version"], begun.blinded, h(v["masking_nonce"]))
        assert response == h(v["credential_response"])
        ksf = Ksf.decode(h(v["ksf"]))
        challenge = h(v["verify_challenge"])
        digest = zkp.verify_digest(begun.subject, ksf.encode(), begun.blinded, response, challenge, b"")
        self.check_proof(v, "verify", digest, record.public_key, h(v["client_private_key"]))
        made = zkp.answer(begun, ksf, response, challenge, b"", os.urandom(32))
        assert made is not None
        assert proof.verify(record.public_key, zkp.tag_of(digest), made)

    def check_proof(self, v, phase, digest, public_key, private_key):
        tag = zkp.tag_of(digest)
        assert tag.decode() == v[f"{phase}_tag"]
        session, instance = session_of(tag), proof.instance_of(public_key)
        assert session == h(v[f"{phase}_session_id"])
        assert instance == h(v["instance"])
        made = proof.prove_with(private_key, session, instance, h(v[f"{phase}_nonce"]))
        assert made == h(v[f"{phase}_proof"])
        assert proof.verify(public_key, tag, made)


# --- a flow of our own, and what becomes of it when one thing is different ---


def enrol(value=b"value", subject=SUBJECT, version=1):
    begun = zkp.begin(subject, value, os.urandom(48))
    evaluated = SEEDS.evaluate(subject, version, begun.blinded)
    record, made = zkp.enroll(begun, NONE, evaluated, SEEDS.server_public_key, CHALLENGE, BIND, os.urandom(64))
    answered = evaluated + SEEDS.server_public_key
    digest = zkp.enroll_digest(subject, NONE.encode(), begun.blinded, answered, record, CHALLENGE, BIND)
    assert proof.verify(record[:33], zkp.tag_of(digest), made)
    return opaque.Record.decode(record)


RECORD = enrol()


def challenged(value=b"value", subject=SUBJECT, version=1, record=RECORD):
    begun = zkp.begin(subject, value, os.urandom(48))
    return begun, SEEDS.respond(record, subject, version, begun.blinded, os.urandom(32))


BEGUN, RESPONSE = challenged()
PROOF = zkp.answer(BEGUN, NONE, RESPONSE, CHALLENGE, BIND, os.urandom(32))
DIGEST = zkp.verify_digest(SUBJECT, NONE.encode(), BEGUN.blinded, RESPONSE, CHALLENGE, BIND)


def test_the_right_value_is_proven():
    assert proof.verify(RECORD.public_key, zkp.tag_of(DIGEST), PROOF)


@pytest.mark.parametrize("value", [b"valuf", b"value ", b"Value", b"v", b"value\0"])
def test_of_another_value_there_is_no_proof(value):
    begun, response = challenged(value)
    assert zkp.answer(begun, NONE, response, CHALLENGE, BIND, os.urandom(32)) is None


def test_of_what_is_not_enrolled_there_is_no_proof():
    begun, response = challenged(record=SEEDS.fake)
    assert len(response) == len(RESPONSE)
    assert zkp.answer(begun, NONE, response, CHALLENGE, BIND, os.urandom(32)) is None


@pytest.mark.parametrize("other", [Ksf(1, 8192, 1, 1)])
def test_another_ksf_makes_the_envelope_fail(other):
    assert zkp.answer(BEGUN, other, RESPONSE, CHALLENGE, BIND, os.urandom(32)) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(SUBJECT, server_id="mesh:b.example"),
        replace(SUBJECT, tenant="t2"),
        replace(SUBJECT, user="u2"),
        replace(SUBJECT, user=zkp.user_of("u", "n")),
        replace(SUBJECT, key_name="k2"),
    ],
)
def test_another_server_tenant_user_or_key_has_another_record(other):
    begun, response = challenged(subject=other)
    assert zkp.answer(begun, NONE, response, CHALLENGE, BIND, os.urandom(32)) is None


def test_another_version_has_another_key():
    begun, response = challenged(version=2)
    assert zkp.answer(begun, NONE, response, CHALLENGE, BIND, os.urandom(32)) is None


def test_a_server_that_lacks_the_seed_gets_no_proof():
    """An impostor with a copy of the database has the record, and not the seed: the client stops at the envelope."""
    impostor = zkp.Seeds.derive(os.urandom(32), "t")
    begun = zkp.begin(SUBJECT, b"value", os.urandom(48))
    for server_key in (impostor.server_public_key, SEEDS.server_public_key):
        evaluated = impostor.evaluate(SUBJECT, 1, begun.blinded)
        response = opaque.respond(RECORD, server_key, evaluated, os.urandom(32))
        assert zkp.answer(begun, NONE, response, CHALLENGE, BIND, os.urandom(32)) is None


def test_a_proof_holds_for_its_own_context_only():
    tag_of = zkp.tag_of
    contexts = {
        "ksf": zkp.verify_digest(SUBJECT, Ksf().encode(), BEGUN.blinded, RESPONSE, CHALLENGE, BIND),
        "blinded": zkp.verify_digest(SUBJECT, NONE.encode(), PROOF[:33], RESPONSE, CHALLENGE, BIND),
        "response": zkp.verify_digest(SUBJECT, NONE.encode(), BEGUN.blinded, bytes(162), CHALLENGE, BIND),
        "challenge": zkp.verify_digest(SUBJECT, NONE.encode(), BEGUN.blinded, RESPONSE, bytes(32), BIND),
        "bind": zkp.verify_digest(SUBJECT, NONE.encode(), BEGUN.blinded, RESPONSE, CHALLENGE, bytes(32)),
        "purpose": zkp.enroll_digest(SUBJECT, NONE.encode(), BEGUN.blinded, RESPONSE, b"", CHALLENGE, BIND),
    }
    for part in ("server_id", "tenant", "user", "key_name"):
        other = replace(SUBJECT, **{part: "another"})
        contexts[part] = zkp.verify_digest(other, NONE.encode(), BEGUN.blinded, RESPONSE, CHALLENGE, BIND)
    assert len({*contexts.values(), DIGEST}) == len(contexts) + 1
    for name, digest in contexts.items():
        assert not proof.verify(RECORD.public_key, tag_of(digest), PROOF), name


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@settings(max_examples=520, deadline=None)
@given(st.integers(0, 65 * 8 - 1))
def test_any_changed_bit_of_a_proof_is_refused(bit):
    assert proof.verify(RECORD.public_key, zkp.tag_of(DIGEST), flipped(PROOF, bit)) is False


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 162 * 8 - 1))
def test_any_changed_bit_of_a_response_is_refused(bit):
    try:
        assert zkp.answer(BEGUN, NONE, flipped(RESPONSE, bit), CHALLENGE, BIND, os.urandom(32)) is None
    except group.DecodingError:
        assert bit < 33 * 8


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 129 * 8 - 1))
def test_any_changed_bit_of_a_record_is_refused(bit):
    """In X the proof fails; in masking key and envelope the client finds nothing to prove with."""
    try:
        record = opaque.Record.decode(flipped(RECORD.encode(), bit))
    except group.DecodingError:
        assert bit < 33 * 8
        return
    begun, response = challenged(record=record)
    made = zkp.answer(begun, NONE, response, CHALLENGE, BIND, os.urandom(32))
    if made is not None:
        digest = zkp.verify_digest(SUBJECT, NONE.encode(), begun.blinded, response, CHALLENGE, BIND)
        assert bit < 33 * 8
        assert proof.verify(record.public_key, zkp.tag_of(digest), made) is False


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 129 * 8 - 1))
def test_any_changed_bit_of_an_enrolment_s_record_breaks_its_proof(bit):
    begun = zkp.begin(SUBJECT, b"value", os.urandom(48))
    evaluated = SEEDS.evaluate(SUBJECT, 1, begun.blinded)
    record, made = zkp.enroll(begun, NONE, evaluated, SEEDS.server_public_key, CHALLENGE, BIND, os.urandom(64))
    changed = flipped(record, bit)
    answered = evaluated + SEEDS.server_public_key
    digest = zkp.enroll_digest(SUBJECT, NONE.encode(), begun.blinded, answered, changed, CHALLENGE, BIND)
    assert not proof.verify(changed[:33], zkp.tag_of(digest), made)


# --- arguments ---


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("server_id", ""),
        ("server_id", "x" * 256),
        ("tenant", ""),
        ("tenant", "x" * 129),
        ("user", ""),
        ("user", "x" * 257),
        ("key_name", ""),
        ("key_name", "é" * 129),
        ("key_name", "\ud800"),
    ],
)
def test_a_name_beyond_its_limits_is_refused(part, wrong):
    with pytest.raises(ValueError, match=r"must have|Unicode"):
        replace(SUBJECT, **{part: wrong})


def test_names_can_t_run_into_each_other():
    one = zkp.Subject("s", "ab", "c", "d")
    other = zkp.Subject("s", "a", "bc", "d")
    assert one.client_identity != other.client_identity
    assert one.record_id != other.record_id


@pytest.mark.parametrize(
    ("response", "challenge", "entropy"),
    [
        (RESPONSE[:-1], CHALLENGE, bytes(32)),
        (RESPONSE + b"\0", CHALLENGE, bytes(32)),
        (b"", CHALLENGE, bytes(32)),
        (RESPONSE, CHALLENGE[:-1], bytes(32)),
        (RESPONSE, b"", bytes(32)),
        (RESPONSE, CHALLENGE, bytes(31)),
        (bytes(33) + RESPONSE[33:], CHALLENGE, bytes(32)),
        (b"\2" + b"\xff" * 32 + RESPONSE[33:], CHALLENGE, bytes(32)),
    ],
)
def test_what_a_server_sends_must_have_its_form(response, challenge, entropy):
    with pytest.raises(group.DecodingError):
        zkp.answer(BEGUN, NONE, response, challenge, BIND, entropy)


@pytest.mark.parametrize("server_key", [b"", bytes(33), b"\2" + b"\xff" * 32])
def test_a_server_key_that_is_no_element_is_refused_at_enrolment(server_key):
    evaluated = SEEDS.evaluate(SUBJECT, 1, BEGUN.blinded)
    with pytest.raises(group.DecodingError):
        zkp.enroll(BEGUN, NONE, evaluated, server_key, CHALLENGE, BIND, bytes(64))


def test_seeds_follow_from_root_and_tenant_alone():
    root = os.urandom(32)
    assert zkp.Seeds.derive(root, "t") == zkp.Seeds.derive(root, "t")
    assert zkp.Seeds.derive(root, "t") != zkp.Seeds.derive(root, "t2")
    assert zkp.root_id(root) != zkp.root_id(os.urandom(32))
    assert root.hex() not in zkp.root_id(root) * 4


def test_nothing_secret_shows():
    assert repr(SEEDS) == "Seeds()"
    assert "value" not in repr(BEGUN)
    assert repr(BEGUN) == f"Begun(subject={SUBJECT!r})"
