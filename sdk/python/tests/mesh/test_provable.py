"""store_key(provable=True): a value and its verifier, or a failure that says what there is of the two."""

import pytest

from .proving import ProofServer

SECRET = "the-secret-value"
START, FINISH = "zkp/enroll/start", "zkp/enroll/finish"


@pytest.fixture
def proofs(server):
    made = ProofServer()
    server.script(made)
    return made


def test_a_key_is_stored_with_its_verifier(client, proofs):
    stored = client.store_key("k", SECRET, provable=True, note="n")
    assert (stored.success, stored.version, stored.provable, stored.record_version) == (True, 1, True, 1)
    assert proofs.paths() == ["auth/profile", START, "keys/k", FINISH]
    (body,) = proofs.stored
    assert body.keys() == {"value", "note", "provable"}
    assert len(body["provable"]) == 22
    assert client.verify_key("k", SECRET).verified


def test_nothing_is_stored_where_nothing_can_be_enrolled(client, proofs):
    proofs.fail[START] = [lambda exchange: exchange.refuse("rate_limited", 429)]
    assert client.store_key("k", SECRET, provable=True).code == "rate_limited"
    assert proofs.stored == []


def test_where_storing_is_refused_nothing_is_enrolled(client, proofs):
    proofs.fail["keys/k"] = [lambda exchange: exchange.refuse("revision_conflict", 412)]
    assert client.store_key("k", SECRET, provable=True, if_rev=5).code == "revision_conflict"
    assert proofs.records == {}


@pytest.mark.parametrize("code", ["challenge_unusable", "record_superseded", "database_unavailable"])
def test_a_second_half_that_fails_is_a_failure_that_says_what_is_stored(client, proofs, code):
    proofs.fail[FINISH] = [lambda exchange: exchange.refuse(code, 409)]
    failed = client.store_key("k", SECRET, provable=True)
    assert (failed.success, failed.code) == (False, code)
    assert {"stored": True, "version": 1, "rev": 1}.items() <= failed.details.items()
    assert "stored as version 1" in failed.error
    assert "store_key_zkp" in failed.troubleshooting[0]


def test_a_wrong_call_is_raised_before_anything_is_sent(client, proofs):
    with pytest.raises(ValueError, match="exclude"):
        client.store_key("k", SECRET, provable=True, if_rev=1, if_absent=True)
    assert proofs.asked == []
