"""Proofs in the audit trail: what was enrolled, proved, refused and removed, each in the transaction that did it."""

import pytest

from mesh_protocol.messages import to_text
from mesh_server.errors import MeshError


async def trail(prover):
    answer = await prover.call("GET", "/api/v1/audit", token=prover.token)
    events = [event for event in answer.json["events"] if event["action"].startswith("proof.")]
    return [(event["action"], event["object"], event["outcome"]) for event in reversed(events)]


async def test_the_trail_tells_what_was_enrolled_proved_and_removed(ann):
    await ann.enrol("k")
    assert await ann.verify()
    await ann.call("DELETE", "/api/v1/zkp/records/k", token=ann.token)
    assert await trail(ann) == [
        ("proof.enrolled", "k", "ok"),
        ("proof.verified", "k", "ok"),
        ("proof.removed", "k", "ok"),
    ]


async def test_a_wrong_proof_is_told_as_denied(ann):
    await ann.enrol("k")
    _, asked = await ann.ask("k")
    answered = await ann.post("verify", {"challengeId": asked.json["challengeId"], "proof": to_text(bytes(65))})
    assert answered.json["verified"] is False
    assert (await trail(ann))[-1] == ("proof.refused", "k", "denied")


async def test_of_what_was_never_enrolled_the_trail_keeps_no_name(ann):
    _, asked = await ann.ask("never")
    await ann.post("verify", {"challengeId": asked.json["challengeId"], "proof": to_text(bytes(65))})
    ((action, what, outcome),) = await trail(ann)
    assert (action, outcome) == ("proof.refused", "denied")
    assert "never" not in what


@pytest.mark.parametrize("what", ["enrol", "verify", "remove"])
async def test_what_can_not_be_told_does_not_happen(mesh, ann, monkeypatch, what):
    await ann.enrol("k")
    real = mesh.services.audit.record

    async def broken(*_, **__):
        raise MeshError("no")

    monkeypatch.setattr(mesh.services.audit, "record", broken)
    if what == "enrol":
        assert (await ann.enrol("other")).status == 500
    elif what == "verify":
        _, asked = await ann.ask("k")
        body = {"challengeId": asked.json["challengeId"], "proof": to_text(bytes(65))}
        assert (await ann.post("verify", body)).status == 500
    else:
        assert (await ann.call("DELETE", "/api/v1/zkp/records/k", token=ann.token)).status == 500
    monkeypatch.setattr(mesh.services.audit, "record", real)
    assert await ann.verify()
    assert not await ann.verify("other")
