"""The proof endpoints: what they answer, and every way in which a request can be wrong."""

import pytest

from mesh_protocol.ksf import DEFAULT, Ksf
from mesh_protocol.messages import to_text
from mesh_server.accounts.models import EVERYDAY_SCOPES

from .prover import ZKP, junk


async def test_an_enrolled_value_is_verified_and_another_is_not(ann):
    enrolled = await ann.enrol()
    assert (enrolled.status, enrolled.json["recordVersion"], enrolled.json["success"]) == (200, 1, True)
    assert enrolled.headers["cache-control"] == "no-store"
    assert await ann.verify()
    assert not await ann.verify(value="w")
    assert await ann.verify()


async def test_a_namespace_is_part_of_the_identity(ann):
    await ann.enrol(namespace="prod")
    assert await ann.verify(namespace="prod")
    assert not await ann.verify()


@pytest.mark.parametrize("name", ["a/b", "ключ", "😀" * 64, "a b", "%2F", '"'])
async def test_any_name_is_a_name(ann, name):
    await ann.enrol(name)
    assert await ann.verify(name)


async def test_the_default_stretching_works_end_to_end(ann):
    await ann.enrol(ksf=Ksf(1, 8192, 1, 1))
    assert await ann.verify()


async def test_what_is_not_enrolled_is_answered_alike(ann):
    await ann.enrol(ksf=DEFAULT)
    (_, real), (_, fake) = await ann.ask("k"), await ann.ask("unknown")
    assert real.status == fake.status == 200
    assert real.json.keys() == fake.json.keys()
    assert real.json["ksf"] == fake.json["ksf"]
    for member, value in real.json.items():
        if isinstance(value, str):
            assert len(value) == len(fake.json[member])
    wrong = await ann.submit(fake.json, junk(65))
    assert (wrong.status, wrong.json) == (200, {"verified": False, "success": True})


async def test_a_wrong_proof_is_a_no_without_a_reason(ann):
    await ann.enrol()
    _, asked = await ann.ask()
    answered = await ann.submit(asked.json, junk(65))
    assert (answered.status, answered.json) == (200, {"verified": False, "success": True})


@pytest.mark.parametrize("proof", ["!" * 87, "A" * 86 + "=", "_" * 87, "A" * 86 + "é"])
async def test_a_proof_that_can_t_be_read_is_a_no_too(ann, proof):
    await ann.enrol()
    _, asked = await ann.ask()
    answered = await ann.submit(asked.json, proof)
    assert (answered.status, answered.json["verified"]) == (200, False)


async def test_replacing_a_record_must_be_said(ann):
    await ann.enrol()
    refused = await ann.enrol(value="w")
    assert (refused.status, refused.code) == (409, "record_exists")
    assert await ann.verify()
    replaced = await ann.enrol(value="w", overwrite=True)
    assert replaced.json["recordVersion"] == 2
    assert await ann.verify(value="w")
    assert not await ann.verify()


async def test_a_removed_record_is_gone_and_its_version_is_never_used_again(ann):
    await ann.enrol()
    removed = await ann.call("DELETE", f"{ZKP}/records/k", token=ann.token)
    assert (removed.status, removed.json) == (200, {"name": "k", "success": True})
    assert not await ann.verify()
    assert (await ann.call("DELETE", f"{ZKP}/records/k", token=ann.token)).code == "record_not_found"
    assert (await ann.enrol()).json["recordVersion"] == 2
    assert await ann.verify()


async def test_records_are_listed_by_name(ann, login):
    for name in ("b", "a", "c"):
        await ann.enrol(name)
    await ann.enrol("x", namespace="n")
    await (await login("bob")).enrol("z")
    page = (await ann.call("GET", f"{ZKP}/records?limit=2", token=ann.token)).json
    assert [(r["name"], r["record_version"], r["user_id"]) for r in page["records"]] == [("a", 1, None), ("b", 1, None)]
    rest = (await ann.call("GET", f"{ZKP}/records?after={page['next_after']}", token=ann.token)).json
    assert ([r["name"] for r in rest["records"]], rest["next_after"]) == (["c"], None)
    named = (await ann.call("GET", f"{ZKP}/records?user_id=n", token=ann.token)).json
    assert [r["name"] for r in named["records"]] == ["x"]
    for query in ("limit=0", "limit=201", "limit=x", "cursor=a", f"after={'a' * 257}"):
        assert (await ann.call("GET", f"{ZKP}/records?{query}", token=ann.token)).code == "invalid_request"


# --- who may ---


@pytest.mark.parametrize("path", ["enroll/start", "enroll/finish", "challenge", "verify"])
async def test_nobody_is_served_without_a_login(mesh, path):
    answer = await mesh.call("POST", f"{ZKP}/{path}", {}, token=None)
    assert (answer.status, answer.code) == (401, "token_missing")


async def test_a_login_for_verifying_can_do_nothing_else(ann, login):
    await ann.enrol()
    verifier = await login("ann", scopes=frozenset({"verify"}))
    assert await verifier.verify()
    for answer in (
        await verifier.post("enroll/start", {}),
        await verifier.post("enroll/finish", {}),
        await verifier.call("GET", f"{ZKP}/records", token=verifier.token),
        await verifier.call("DELETE", f"{ZKP}/records/k", token=verifier.token),
    ):
        assert (answer.status, answer.code) == (403, "scope_missing")
    other = await login("ann", scopes=EVERYDAY_SCOPES - {"verify"})
    for path in ("challenge", "verify"):
        assert (await other.post(path, {})).code == "scope_missing"


# --- what is refused ---


async def test_another_server_s_identity_is_refused_before_anything_else(ann):
    begun = ann.begin("k", "v")
    for path in ("enroll/start", "challenge"):
        body = ann.opening(begun, "", suite="unknown", serverId="mesh:other.example")
        answer = await ann.post(path, {**body, "blinded": junk(33)})
        assert (answer.status, answer.code) == (400, "server_identity_mismatch")


@pytest.mark.parametrize(
    "change",
    [
        {"suite": "MZ1-ristretto255"},
        {"keyName": ""},
        {"keyName": "."},
        {"keyName": ".."},
        {"keyName": "a" * 257},
        {"keyName": "a\0b"},
        {"userId": "n" * 220},
        {"userId": "n\0"},
        {"blinded": to_text(bytes(33))},
        {"blinded": to_text(b"\2" + b"\xff" * 32)},
        {"blinded": to_text(b"\4" + bytes(32))},
        {"blinded": "A" * 43 + "="},
        {"blinded": "A" * 43},
        {"blinded": "A" * 45},
        {"blinded": 5},
        {"tag": "mine"},
        {"challenge": "A" * 43},
        {"keyName": None},
    ],
)
async def test_an_opening_that_does_not_fit_is_refused(ann, change):
    begun = ann.begin("k", "v")
    for path in ("enroll/start", "challenge"):
        answer = await ann.post(path, {**ann.opening(begun, "k"), **change})
        assert (answer.status, answer.code) == (400, "invalid_request")
        assert answer.json["request_id"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
async def test_what_is_no_json_object_is_refused(ann, body):
    for path in ("enroll/start", "enroll/finish", "challenge", "verify"):
        answer = await ann.post(path, body)
        assert answer.status in {400, 413}


async def test_a_message_beyond_its_size_is_refused(ann):
    for path in ("enroll/start", "enroll/finish", "challenge", "verify"):
        answer = await ann.post(path, {"x": "y" * 16_384})
        assert (answer.status, answer.code) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ("ksf", to_text(b"\2" + bytes(9))),
        ("ksf", to_text(Ksf(1, 1024, 1, 1).encode())),
        ("ksf", to_text(Ksf(1, 65_536, 11, 1).encode())),
        ("ksf", to_text(bytes(9) + b"\1")),
        ("record", to_text(bytes(129))),
        ("record", junk(129)),
        ("proof", junk(65)),
        ("proof", to_text(bytes(65))),
    ],
)
async def test_an_ending_that_is_not_right_stores_nothing_and_uses_the_enrolment_up(ann, member, text):
    begun, started = await ann.start("k", "v")
    good = ann.ending(begun, started.json)
    refused = await ann.post("enroll/finish", {**good, member: text})
    assert (refused.status, refused.code) == (400, "invalid_request")
    assert (await ann.post("enroll/finish", good)).code == "challenge_unusable"
    assert not await ann.verify()


@pytest.mark.parametrize("ksf", [Ksf(1, 1024, 1, 1), Ksf(1, 8192, 11, 1), Ksf(1, 8192, 1, 17)])
async def test_stretching_out_of_bounds_is_refused_however_right_its_proof(ann, ksf):
    """Stored, it could never be verified: every client refuses it."""
    refused = await ann.enrol(ksf=ksf)
    assert (refused.status, refused.code) == (400, "invalid_request")
    assert "ksf" in refused.json["error"]["message"]
    assert not await ann.verify()


async def test_a_ksf_that_the_proof_was_not_made_for_is_refused(ann):
    begun, started = await ann.start("k", "v")
    ending = ann.ending(begun, started.json)
    refused = await ann.post("enroll/finish", {**ending, "ksf": to_text(DEFAULT.encode())})
    assert refused.code == "invalid_request"


# --- the old scheme ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/storeKeyZKP"),
        ("GET", "/api/v1/getChallenge?userId=u&keyName=k"),
        ("GET", "/v1/mesh/getChallenge?userId=u&keyName=k"),
        ("GET", "/api/v1/getCommitment?userId=u&keyName=k"),
        ("POST", "/api/v1/verifyProof"),
    ],
)
async def test_the_old_scheme_is_gone_and_says_where_to_read_on(mesh, method, path):
    answer = await mesh.call(method, path, {"userId": "u", "keyName": "k"} if method == "POST" else None)
    assert answer.status == 426
    body = answer.json
    assert "protocol_upgrade_required" in str(body["error"])
    assert "verified" not in body
    assert "docs/security/proofs.md" in str(body) or "/v1/mesh" in path
