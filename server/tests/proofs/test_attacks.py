"""The attacks of docs/security/proofs.md, each under its name there."""

import asyncio
import os
import threading
from dataclasses import replace

import pytest

from mesh_protocol import opaque, oprf, proof, zkp
from mesh_protocol.ksf import NONE
from mesh_protocol.messages import from_text, to_text
from mesh_server.ids import now_us
from mesh_server.proofs import challenges, service
from mesh_server.proofs.challenges import PendingChallenge

from .prover import ZKP, change, dump, junk


async def captured(prover, name="k", value="v"):
    """Return a challenge and its right answer, as somebody on the line sees them, not yet sent."""
    begun, asked = await prover.ask(name, value)
    made = prover.answer(begun, asked.json)
    assert made is not None
    return asked.json, made


async def test_a_proof_is_good_once(ann):
    await ann.enrol()
    challenge, made = await captured(ann)
    assert (await ann.submit(challenge, made)).json["verified"]
    again = await ann.submit(challenge, made)
    assert (again.status, again.code) == (409, "challenge_unusable")


async def test_a_failed_attempt_uses_its_challenge_up(ann):
    await ann.enrol()
    challenge, made = await captured(ann)
    assert not (await ann.submit(challenge, junk(65))).json["verified"]
    assert (await ann.submit(challenge, made)).code == "challenge_unusable"


async def test_a_proof_does_not_answer_another_challenge(ann):
    await ann.enrol()
    _, made = await captured(ann)
    _, other = await ann.ask()
    assert not (await ann.submit(other.json, made)).json["verified"]


async def test_another_user_can_t_use_a_proof_and_does_not_use_it_up(ann, login):
    await ann.enrol()
    challenge, made = await captured(ann)
    bob = await login("bob")
    await bob.enrol()
    stolen = await bob.submit(challenge, made)
    assert (stolen.status, stolen.code) == (409, "challenge_unusable")
    _, own = await bob.ask()
    assert not (await bob.submit(own.json, made)).json["verified"]
    assert (await ann.submit(challenge, made)).json["verified"]


async def test_the_same_value_of_two_users_are_two_secrets(ann, login):
    await ann.enrol()
    bob = await login("bob")
    assert not await bob.verify()
    as_ann = replace(bob, account=ann.account)  # a client that claims to be another account
    assert not await as_ann.verify()


async def test_a_proof_of_one_key_is_none_of_another(ann):
    await ann.enrol("k")
    await ann.enrol("l")
    _, made = await captured(ann, "k")
    _, other = await ann.ask("l")
    assert not (await ann.submit(other.json, made)).json["verified"]


async def test_a_proof_for_one_server_is_none_for_another(ann):
    """Two servers with the same root and database, but two identities: a record of the one is none of the other."""
    await ann.enrol()
    elsewhere = replace(ann, server_id="mesh:other.example")
    begun = elsewhere.begin("k", "v")
    asked = await ann.post("challenge", {**ann.opening(begun, "k")})
    assert elsewhere.answer(begun, asked.json) is None
    _, ours = await ann.ask()
    digest = zkp.verify_digest(
        elsewhere.subject("k"),
        NONE.encode(),
        begun.blinded,
        bytes(162),
        from_text(ours.json["challenge"], 32),
        ann.bind,
    )
    key = os.urandom(48)
    forged = proof.prove(oprf.random_scalar(key), bytes(33), zkp.tag_of(digest), os.urandom(32))
    assert not (await ann.submit(ours.json, to_text(forged))).json["verified"]


async def test_a_challenge_ends_after_120_seconds(ann, monkeypatch):
    await ann.enrol()
    challenge, made = await captured(ann)
    begun, started = await ann.start("l", "v")
    later = now_us() + 120 * 1_000_000
    monkeypatch.setattr(service, "now_us", lambda: later)
    for late in (await ann.submit(challenge, made), await ann.post("enroll/finish", ann.ending(begun, started.json))):
        assert (late.status, late.code) == (409, "challenge_unusable")


async def test_a_challenge_lives_for_nearly_120_seconds(ann, monkeypatch):
    await ann.enrol()
    asked_at = now_us()
    monkeypatch.setattr(service, "now_us", lambda: asked_at)
    challenge, made = await captured(ann)
    monkeypatch.setattr(service, "now_us", lambda: asked_at + 120 * 1_000_000 - 1)
    assert (await ann.submit(challenge, made)).json["verified"]


async def test_another_login_of_the_same_user_can_t_use_a_proof(ann, login):
    await ann.enrol()
    challenge, made = await captured(ann)
    second = await login("ann")
    assert second.account == ann.account
    stolen = await second.submit(challenge, made)
    assert (stolen.status, stolen.code) == (409, "challenge_unusable")
    begun, started = await ann.start("l", "v")
    assert (await second.post("enroll/finish", ann.ending(begun, started.json))).code == "challenge_unusable"


async def test_a_proof_made_for_another_login_is_refused(ann, login):
    """A relay asks for a challenge with its own login and lets the victim answer: the victim binds its own."""
    await ann.enrol()
    second = await login("ann")
    begun, asked = await second.ask()
    made = ann.answer(begun, asked.json)  # bound to ann's login
    assert not (await second.submit(asked.json, made)).json["verified"]


async def test_an_enrolment_s_proof_is_no_verification(ann):
    begun, started = await ann.start("k", "v")
    ending = ann.ending(begun, started.json)
    await ann.post("enroll/finish", ending)
    _, asked = await ann.ask()
    assert not (await ann.submit(asked.json, ending["proof"])).json["verified"]
    fake = {"challengeId": started.json["enrollmentId"], "proof": ending["proof"]}
    assert (await ann.post("verify", fake)).code == "challenge_unusable"


async def test_a_record_that_changed_meanwhile_fails_the_proof(ann):
    await ann.enrol()
    challenge, made = await captured(ann)
    await ann.enrol(value="w", overwrite=True)
    assert not (await ann.submit(challenge, made)).json["verified"]
    challenge, made = await captured(ann, value="w")
    await ann.call("DELETE", f"{ZKP}/records/k", token=ann.token)
    assert not (await ann.submit(challenge, made)).json["verified"]


async def test_of_two_enrolments_at_once_the_later_is_refused(ann):
    first, second = await ann.start("k", "v"), await ann.start("k", "w")
    assert (await ann.post("enroll/finish", ann.ending(first[0], first[1].json))).status == 200
    late = await ann.post("enroll/finish", ann.ending(second[0], second[1].json))
    assert (late.status, late.code) == (409, "record_exists")
    third = await ann.start("k", "x", overwrite=True)
    fourth = await ann.start("k", "y", overwrite=True)
    assert (await ann.post("enroll/finish", ann.ending(fourth[0], fourth[1].json))).status == 200
    late = await ann.post("enroll/finish", ann.ending(third[0], third[1].json))
    assert (late.status, late.code) == (409, "record_superseded")
    assert await ann.verify(value="y")


async def test_two_threads_that_use_one_challenge(mesh, ann):
    """Exactly one of two answers at the same instant is looked at, whichever connection it came by."""
    await ann.enrol()
    for _ in range(10):
        challenge, made = await captured(ann)
        start, outcomes = threading.Barrier(2), []

        def race(start=start, outcomes=outcomes, challenge=challenge, made=made):
            start.wait()
            outcomes.append(asyncio.run_coroutine_threadsafe(ann.submit(challenge, made), loop).result(10).status)

        loop = asyncio.get_running_loop()
        await asyncio.gather(asyncio.to_thread(race), asyncio.to_thread(race))
        assert sorted(outcomes) == [200, 409]


async def test_a_database_dump_tests_no_guess(mesh, ann):
    """With every byte of the database, and the right value, nothing can be computed that a wrong one does not give.

    Each guess leads to the OPRF's output, which needs a key from a seed that is not there: with any other seed the
    envelope refuses the right value as it refuses a wrong one.
    """
    await ann.enrol(value="right")
    begun, asked = await ann.ask(value="right")
    stolen = await dump(mesh)
    (stored,) = stolen["zk_records"]
    record = opaque.Record.decode(stored["record"])
    everything = b"".join(
        v if isinstance(v, bytes) else str(v).encode()
        for table in stolen.values()
        for row in table
        for v in row.values()
    )
    root = mesh.services.settings.zkp_root_file.read_text().splitlines()[-1]
    assert root.encode() not in everything
    seeds = mesh.services.proofs._roots.current_seeds("default")
    assert seeds.oprf_seed not in everything
    subject = ann.subject("k")
    for guess in (b"right", b"wrong"):
        for _ in range(3):
            thief = zkp.Seeds.derive(os.urandom(32), "default")
            mine = zkp.begin(subject, guess, os.urandom(48))
            response = thief.respond(record, subject, 1, mine.blinded, os.urandom(32))
            assert zkp.answer(mine, NONE, response, bytes(32), ann.bind, os.urandom(32)) is None
    # The same dump with the seed does test guesses, as the page says.
    mine = zkp.begin(subject, b"right", os.urandom(48))
    response = seeds.respond(record, subject, 1, mine.blinded, os.urandom(32))
    assert zkp.answer(mine, NONE, response, bytes(32), ann.bind, os.urandom(32)) is not None
    assert begun.blinded not in everything
    assert asked.status == 200


async def test_an_impostor_with_the_database_gets_no_proof(mesh, ann):
    await ann.enrol()
    record = opaque.Record.decode((await dump(mesh))["zk_records"][0]["record"])
    impostor = zkp.Seeds.derive(os.urandom(32), "default")
    begun = ann.begin("k", "v")
    response = impostor.respond(record, ann.subject("k"), 1, begun.blinded, os.urandom(32))
    challenge = {
        "ksf": to_text(NONE.encode()),
        "credentialResponse": to_text(response),
        "challenge": junk(32),
    }
    assert ann.answer(begun, challenge) is None


async def test_what_was_stored_is_not_taken_from_the_client(mesh, ann):
    """The server builds the tag of what it stored: no message has a place for a tag, a commitment or a challenge."""
    await ann.enrol()
    challenge, made = await captured(ann)
    for more in ({"challenge": challenge["challenge"]}, {"tag": "t"}, {"commitment": junk(33)}):
        body = {"challengeId": challenge["challengeId"], "proof": made, **more}
        assert (await ann.post("verify", body)).code == "invalid_request"
    assert (await ann.submit(challenge, made)).json["verified"]


async def test_a_stored_key_that_is_the_identity_verifies_nothing(mesh, ann):
    """Should somebody write to the database: an X that is no element gives "no", and no exception."""
    await ann.enrol()
    principal = await mesh.services.accounts.authenticate(f"Bearer {ann.token}".encode(), None)
    for public_key in (bytes(33), b"\2" + bytes(32), b"", bytes(1)):
        name = os.urandom(16)
        pending = PendingChallenge(
            tenant_id="default",
            id=name.hex(),
            owner_id=ann.account,
            bind=ann.bind,
            record_id=ann.subject("k").record_id.hex(),
            version=1,
            digest=bytes(32),
            public_key=public_key,
            address="",
        )
        now = now_us()
        await change(mesh, lambda tx, p=pending, n=now: challenges.remember(tx, p, now=n, expires_at=n + 10**8))
        assert principal.account_id == ann.account
        answered = await ann.submit({"challengeId": to_text(name)}, junk(65))
        assert (answered.status, answered.json["verified"]) == (200, False)


@pytest.mark.parametrize(
    "change", [lambda b: "AQ"[b[0] == "A"] + b[1:], lambda b: "A" * 22, lambda b: b[:21] + "B", lambda b: b[1:] + b[0]]
)
async def test_a_guessed_challenge_is_unusable(ann, change):
    await ann.enrol()
    challenge, made = await captured(ann)
    text = change(challenge["challengeId"])
    answer = await ann.submit({"challengeId": text}, made)
    assert answer.code in {"challenge_unusable", "invalid_request"}


async def test_nothing_of_a_proof_is_in_a_log_line(ann, capsys, caplog):
    await ann.enrol(value="the-secret-value")
    challenge, made = await captured(ann, value="the-secret-value")
    await ann.submit(challenge, made)
    await ann.post("verify", {"challengeId": challenge["challengeId"], "proof": made, "x": 1})
    out = capsys.readouterr()
    for secret in ("the-secret-value", made, challenge["credentialResponse"], challenge["challenge"], ann.token):
        assert secret not in out.out + out.err + caplog.text
