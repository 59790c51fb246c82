"""Registration and credential retrieval: RFC 9807's vectors for P-256, real and fake."""

import pytest

from mesh_protocol import group, opaque, oprf

from . import published
from .published import h


def vectors(fake):
    found = published.load("rfc9807/vectors.json")
    return [v for v in found if v["config"]["OPRF"] == "P256-SHA256" and v["config"]["Fake"] == fake]


def decoded(vector):
    return {name: h(value) for part in ("inputs", "intermediates", "outputs") for name, value in vector[part].items()}


def test_registration_is_that_of_rfc_9807():
    assert len(vectors("False")) == 2
    for vector in map(decoded, vectors("False")):
        made = oprf.blind(vector["password"], vector["blind_registration"])
        assert made.element == vector["registration_request"]
        key = opaque.oprf_key(vector["oprf_seed"], vector["credential_identifier"])
        assert key == vector["oprf_key"]
        evaluated = oprf.evaluate(key, made.element)
        assert evaluated + vector["server_public_key"] == vector["registration_response"]
        output = oprf.finalize(vector["password"], made.scalar, evaluated)
        secret = opaque.randomized_password(output, output)
        assert secret == vector["randomized_password"]
        record, credential = opaque.store(secret, vector["envelope_nonce"], *identities(vector))
        assert record.encode() == vector["registration_upload"]
        assert opaque.Record.decode(record.encode()) == record
        assert credential.export_key == vector["export_key"]
        assert credential.public_key == vector["client_public_key"]


def identities(vector):
    """Return the server's key and both identities; a public key stands for an identity that is not named."""
    server_key = vector["server_public_key"]
    return (
        server_key,
        vector.get("server_identity", server_key),
        vector.get("client_identity", vector["client_public_key"]),
    )


def test_retrieval_is_that_of_rfc_9807():
    for vector in map(decoded, vectors("False")):
        made = oprf.blind(vector["password"], vector["blind_login"])
        key = opaque.oprf_key(vector["oprf_seed"], vector["credential_identifier"])
        record = opaque.Record.decode(vector["registration_upload"])
        response = opaque.respond(
            record, vector["server_public_key"], oprf.evaluate(key, made.element), vector["masking_nonce"]
        )
        assert vector["KE1"].startswith(made.element)
        assert vector["KE2"].startswith(response)
        output = oprf.finalize(vector["password"], made.scalar, response[:33])
        _, server_identity, client_identity = identities(vector)
        found = opaque.recover(opaque.randomized_password(output, output), response, server_identity, client_identity)
        assert found is not None
        assert found.export_key == vector["export_key"]


def test_a_fake_answer_is_that_of_rfc_9807():
    (vector,) = vectors("True")
    vector = decoded(vector)
    record = opaque.Record(vector["client_public_key"], vector["masking_key"], bytes(opaque.ENVELOPE_BYTES))
    key = opaque.oprf_key(vector["oprf_seed"], vector["credential_identifier"])
    evaluated = oprf.evaluate(key, vector["KE1"][:33])
    response = opaque.respond(record, vector["server_public_key"], evaluated, vector["masking_nonce"])
    assert len(response) == opaque.RESPONSE_BYTES
    assert vector["KE2"].startswith(response)


@pytest.mark.parametrize("change", [lambda r: r[:-1], lambda r: r + b"\0", lambda r: b"\5" + r[1:], lambda r: b""])
def test_a_record_of_another_form_is_refused(change):
    record, _ = opaque.store(bytes(32), bytes(32), group.encode_element(group.GENERATOR), b"s", b"c")
    with pytest.raises(group.DecodingError):
        opaque.Record.decode(change(record.encode()))


def test_nothing_secret_shows():
    record, credential = opaque.store(bytes(32), bytes(32), group.encode_element(group.GENERATOR), b"s", b"c")
    assert (repr(record), repr(credential)) == ("Record()", "Credential()")
