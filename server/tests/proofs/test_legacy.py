"""The old scheme, where it is on: both published clients are told the truth, and nobody else a yes."""

import asyncio

import pytest
from structlog.testing import capture_logs

from mesh_server.errors import MeshError

from ..conftest import caller, everything_stored, open_mesh
from .old_clients import ClientB, ClientS, digest

COMMITMENT = "ab" * 32


@pytest.fixture
async def mesh(tmp_path, monkeypatch, database_url):
    monkeypatch.chdir(tmp_path)
    made = await open_mesh(tmp_path, MESH_DATABASE_URL=database_url, MESH_LEGACY_ZKP="true")
    yield made
    await made.services.close()


@pytest.fixture
async def me(mesh):
    return (await mesh.call("GET", "/api/v1/auth/profile")).json["id"]


@pytest.fixture
async def b(mesh, me):
    return ClientB(mesh.call, me)


@pytest.fixture
async def s(mesh, me):
    return ClientS(mesh.call, me)


async def in_vault(mesh, name, value, query=""):
    assert (await mesh.call("PUT", f"/api/v1/keys/{name}{query}", {"value": value})).status in {200, 201}


async def trail(mesh, beginning="proof."):
    events = (await mesh.call("GET", "/api/v1/audit")).json["events"]
    return [(e["action"], e["object"], e["outcome"]) for e in reversed(events) if e["action"].startswith(beginning)]


# --- the published clients ---


async def test_client_b_is_told_whether_its_value_is_right(b):
    stored = await b.store("k", "right")
    assert (stored.status, stored.json) == (200, {"success": True})
    assert await b.told("k") is None
    answer = await b.prove("k", "right")
    assert (answer.status, answer.json) == (200, {"verified": True, "success": True})
    answer = await b.prove("k", "wrong")
    assert (answer.status, answer.json) == (200, {"verified": False, "success": True})


async def test_client_s_is_told_it_where_the_vault_has_the_value(mesh, s):
    await in_vault(mesh, "k", "right")
    await s.store("k", "right")
    assert await s.verify("k", "right") is True
    assert await s.verify("k", "wrong") is False
    assert ("key.used", "k", "ok") in await trail(mesh, "key.")


async def test_client_s_gets_no_yes_where_the_vault_has_no_value(s):
    await s.store("k", "right")
    assert await s.told(s.full("k")) is None
    assert await s.verify("k", "right") is False
    # Not even whoever computes the commitment: there is nothing to hold it against.
    full = s.full("k")
    nullifier = digest(full, ":", "right")
    for extra in ({}, {"nullifier": nullifier}):
        challenge = (await s.ask(full)).json["challenge"]
        proof = digest(nullifier, challenge, digest("right", ":", nullifier))
        assert (await s.send(full, proof=proof, challenge=challenge, **extra)).json["verified"] is False


async def test_a_value_that_changed_in_the_vault_ends_client_s_commitment(mesh, s):
    await in_vault(mesh, "k", "old")
    await s.store("k", "old")
    await in_vault(mesh, "k", "new")
    for value in ("old", "new"):
        assert await s.verify("k", value) is False
    await s.store("k", "new")
    assert await s.verify("k", "new") is True
    await mesh.call("DELETE", "/api/v1/keys/k")
    assert await s.verify("k", "new") is False


async def test_the_value_of_the_vault_is_no_yes_for_a_commitment_to_another_one(mesh, s):
    await in_vault(mesh, "k", "new")
    await s.store("k", "old")
    full = s.full("k")
    nullifier = digest(full, ":", "new")
    challenge = (await s.ask(full)).json["challenge"]
    proof = digest(nullifier, challenge, digest("new", ":", nullifier))
    assert (await s.send(full, proof=proof, challenge=challenge)).json["verified"] is False


async def test_another_user_id_is_a_namespace_of_one_s_own(mesh):
    s, b = ClientS(mesh.call, "team"), ClientB(mesh.call, "team")
    await in_vault(mesh, "k", "mine")
    await s.store("k", "mine")
    assert await s.told(s.full("k")) is None
    await in_vault(mesh, "k", "theirs", "?user_id=team")
    await s.store("k", "theirs")
    assert await s.verify("k", "theirs") is True
    await b.store("k", "b")
    assert await b.verify("k", "b") is True
    assert (await ClientB(mesh.call, "other").prove("k", "b")).status == 404


# --- no proof is forged ---


async def forgeries(client, names, users):
    """Yield what comes of everything that may be asked, by somebody who knows no value."""
    told = {COMMITMENT, ""}
    for user in users:
        for name in names:
            told.add(await type(client)(client.call, user).told(name) or "")
    for user in users:
        asker = type(client)(client.call, user)
        for name in names:
            for commitment in told:
                for nullifier in (None, digest(name, ":", "guess"), "", COMMITMENT):
                    challenge = (await asker.ask(name)).json["challenge"]
                    proof = digest(nullifier or digest(name, ":", "guess"), challenge, commitment)
                    more = {} if nullifier is None else {"nullifier": nullifier}
                    answer = await asker.send(
                        name, proof=proof, challenge=challenge, clientCommitment=commitment, **more
                    )
                    yield answer, commitment


@pytest.fixture
async def generous(tmp_path, monkeypatch, database_url):
    """A server without limits worth the name, so that it is the check that refuses."""
    monkeypatch.chdir(tmp_path)
    limits = {f"MESH_ZKP_{what}_LIMIT": "9999/9999" for what in ("RECORD", "USER", "ADDRESS")}
    made = await open_mesh(tmp_path, MESH_DATABASE_URL=database_url, MESH_LEGACY_ZKP="true", **limits)
    yield made
    await made.services.close()


async def test_whoever_knows_no_value_forges_no_proof_with_anything_that_is_told(generous):
    me = (await generous.call("GET", "/api/v1/auth/profile")).json["id"]
    b, s = ClientB(generous.call, me), ClientS(generous.call, me)
    await in_vault(generous, "k", "right")
    await in_vault(generous, "b", "right")
    await s.store("k", "right")
    await b.store("b", "right")
    disclosed = await s.told(s.full("k"))
    assert disclosed
    tried = 0
    names = ("k", "b", s.full("k"), s.full("b"), f"{me}_{s.full('k')}")
    # Under `b`'s and others' ids, so that no name is judged in the other client's way.
    users = (me, me[:4], "k", "x")
    async for answer, commitment in forgeries(b, names, users):
        assert answer.json.get("verified") is not True
        tried += commitment == disclosed
    assert tried > len(names) * len(users)
    assert await s.verify("k", "right") is True
    assert await b.verify("b", "right") is True


async def test_a_commitment_once_told_forges_nothing_after_its_value_left_the_vault(mesh, s):
    await in_vault(mesh, "k", "right")
    await s.store("k", "right")
    told, full = await s.told(s.full("k")), s.full("k")
    await mesh.call("DELETE", "/api/v1/keys/k")
    challenge = (await s.ask(full)).json["challenge"]
    nullifier = digest(full, ":", "guess")
    proof = digest(nullifier, challenge, told)
    answer = await s.send(full, proof=proof, challenge=challenge, nullifier=nullifier, clientCommitment=told)
    assert answer.json["verified"] is False


async def test_a_bare_name_that_looks_prefixed_is_judged_by_the_vault_alone(mesh):
    """Client B's `openai_key` under the user id `openai` may be told: so its nullifier is not believed."""
    b = ClientB(mesh.call, "openai")
    await in_vault(mesh, "key", "right", "?user_id=openai")
    await b.store("openai_key", "right")
    assert await b.told("openai_key")
    assert await b.verify("openai_key", "wrong") is False
    assert await b.verify("openai_key", "right") is True


async def test_a_commitment_of_a_bare_name_is_told_under_no_user_id(mesh, b):
    await b.store("a_b", "right")
    await in_vault(mesh, "a_b", "right")
    await in_vault(mesh, "b", "right", "?user_id=a")
    assert await b.told("a_b") is None
    assert await ClientB(mesh.call, "a").told("a_b") is None


async def test_a_value_that_is_no_text_is_none_to_hold_a_proof_against(mesh, s):
    body = {"value_base64": "AAECAw=="}
    assert (await mesh.call("PUT", "/api/v1/keys/k", body)).status in {200, 201}
    await s.store("k", "right")
    assert await s.told(s.full("k")) is None
    assert await s.verify("k", "right") is False


# --- challenges ---


async def test_a_challenge_is_good_once_whatever_came_of_it(b):
    await b.store("k", "v")
    nullifier = digest("k", ":", "v")
    challenge = (await b.ask("k")).json["challenge"]
    proof = digest(nullifier, challenge, digest("v", ":", nullifier))
    wrong = await b.send("k", proof=COMMITMENT, nullifier=nullifier, challenge=challenge)
    assert wrong.json["verified"] is False
    again = await b.send("k", proof=proof, nullifier=nullifier, challenge=challenge)
    assert (again.status, again.code) == (400, "invalid_request")
    challenge = (await b.ask("k")).json["challenge"]
    missing = await b.send("never", proof=proof, challenge=challenge)
    assert (missing.status, missing.code) == (404, "record_not_found")
    assert (await b.send("k", proof=proof, nullifier=nullifier, challenge=challenge)).status == 400


async def test_a_challenge_of_another_account_is_none_and_stays_theirs(mesh, b):
    await b.store("k", "v")
    challenge = (await b.ask("k", "/v1/mesh/getChallenge")).json["challenge"]
    eve = ClientB(await mesh.user("eve"), b.user)
    await eve.store("k", "v")
    nullifier = digest("k", ":", "v")
    members = {"proof": digest(nullifier, challenge, digest("v", ":", nullifier)), "nullifier": nullifier}
    assert (await eve.send("k", challenge=challenge, **members)).status == 400
    assert (await b.send("k", challenge=challenge, **members)).json["verified"] is True


async def test_a_challenge_ends_after_120_seconds(b, monkeypatch):
    from mesh_server.proofs import legacy_service

    await b.store("k", "v")
    nullifier = digest("k", ":", "v")
    real = legacy_service.now_us
    for later, status in ((119, 200), (121, 400)):
        challenge = (await b.ask("k")).json["challenge"]
        proof = digest(nullifier, challenge, digest("v", ":", nullifier))
        monkeypatch.setattr(legacy_service, "now_us", lambda later=later: real() + later * 1_000_000)
        answer = await b.send("k", proof=proof, nullifier=nullifier, challenge=challenge)
        assert answer.status == status
        monkeypatch.setattr(legacy_service, "now_us", real)


async def test_unanswered_challenges_are_limited_in_number(b):
    for _ in range(64):
        answer = await b.ask("k")
        assert len(bytes.fromhex(answer.json["challenge"])) == 32
    assert ((await b.ask("k")).status, (await b.ask("other")).code) == (429, "rate_limited")


async def test_guesses_of_one_name_are_limited_and_a_refused_one_uses_its_challenge_up(b):
    await b.store("k", "v")
    for _ in range(20):
        assert await b.verify("k", "wrong") is False
    challenge = (await b.ask("k")).json["challenge"]
    members = {"proof": COMMITMENT, "nullifier": COMMITMENT, "challenge": challenge}
    assert (await b.send("k", **members)).code == "rate_limited"
    assert (await b.send("k", **members)).status == 400


async def test_successes_count_nothing(b):
    await b.store("k", "v")
    for _ in range(25):
        assert await b.verify("k", "v") is True


# --- who may, and what is told ---


@pytest.mark.parametrize("tenant", ["default", "elsewhere"])
async def test_another_account_s_commitments_are_not_there(mesh, me, b, s, tenant):
    await in_vault(mesh, "k", "v")
    await b.store("k", "v")
    await s.store("k", "v")
    account = await mesh.services.accounts.ensure_user(tenant, "eve")
    eve = caller(mesh.app, await mesh.services.accounts.create_token(account, name="test"))
    for client, name in ((ClientB(eve, me), "k"), (ClientS(eve, me), "k")):
        assert (await client.prove(name, "v")).status == 404
        assert await client.told(client.full(name) if isinstance(client, ClientS) else name) is None
    await ClientB(eve, me).store("k", "other")
    assert await b.verify("k", "v") is True


@pytest.mark.parametrize(
    ("method", "target", "scope"),
    [
        ("POST", "/api/v1/storeKeyZKP", "keys:write"),
        ("GET", "/api/v1/getChallenge?userId=u&keyName=k", "verify"),
        ("GET", "/v1/mesh/getChallenge?userId=u&keyName=k", "verify"),
        ("GET", "/api/v1/getCommitment?userId=u&keyName=k", "verify"),
        ("POST", "/api/v1/verifyProof", "verify"),
    ],
)
async def test_each_endpoint_needs_its_scope(mesh, method, target, scope):
    assert (await mesh.call(method, target, {}, token=None)).status == 401
    lacking = await mesh.user("ann", scopes=frozenset({"keys:read", "keys:write", "chat", "verify"}) - {scope})
    answer = await lacking(method, target, {})
    assert (answer.status, answer.code) == (403, "scope_missing")


async def test_the_trail_tells_what_was_stored_told_and_judged_and_no_secret(mesh, b, s):
    await in_vault(mesh, "k", "hidden-value")
    await b.store("b", "hidden-value")
    await s.store("k", "hidden-value")
    with capture_logs() as logged:
        await b.prove("b", "hidden-value")
        await b.prove("b", "wrong")
        await s.prove("k", "hidden-value")
    full = s.full("k")
    assert await trail(mesh) == [
        ("proof.legacy-stored", "b", "ok"),
        ("proof.legacy-stored", full, "ok"),
        ("proof.legacy-verified", "b", "ok"),
        ("proof.legacy-refused", "b", "denied"),
        ("proof.legacy-disclosed", full, "ok"),
        ("proof.legacy-verified", full, "ok"),
    ]
    written = str(logged) + (await mesh.call("GET", "/api/v1/audit")).body.decode()
    nullifier = digest("b:hidden-value")
    for secret in ("hidden-value", nullifier, digest("hidden-value:", nullifier)):
        assert secret not in written


async def test_what_can_not_be_told_does_not_happen(mesh, b, monkeypatch):
    await b.store("k", "v")

    async def broken(*_, **__):
        raise MeshError("no")

    with monkeypatch.context() as patched:
        patched.setattr(mesh.services.audit, "record", broken)
        assert (await b.store("k", "w")).status == 500
        assert (await b.prove("k", "v")).status == 500
    assert await b.verify("k", "v") is True


# --- what is refused ---


@pytest.mark.parametrize(
    "commitment", ["", "ab", COMMITMENT.upper(), COMMITMENT + "\n", COMMITMENT[:-1] + "g", 5, None]
)
async def test_what_is_no_commitment_is_not_kept(b, commitment):
    answer = await b.keep("k", commitment)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert (await b.prove("k", "v")).status == 404


@pytest.mark.parametrize(
    "change", [{"userId": ""}, {"keyName": ""}, {"keyName": "a\0"}, {"userId": "u" * 257}, {"keyName": "k" * 514}]
)
async def test_a_name_out_of_its_limits_is_refused(mesh, change):
    names = {"userId": "u", "keyName": "k", **change}
    for path, more in (("storeKeyZKP", {"commitment": COMMITMENT}), ("verifyProof", {"proof": "", "challenge": ""})):
        assert (await mesh.call("POST", f"/api/v1/{path}", {**names, **more})).code == "invalid_request"


@pytest.mark.parametrize("query", ["", "userId=u", "keyName=k", "userId=u&keyName=", "userId=u&keyName=%00", "x=1"])
async def test_a_question_without_its_names_is_refused(mesh, query):
    for path in ("/api/v1/getChallenge", "/v1/mesh/getChallenge", "/api/v1/getCommitment"):
        assert (await mesh.call("GET", f"{path}?{query}")).code == "invalid_request"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"userId": "\\ud800", "keyName": "k"}', b"{}"])
async def test_what_is_no_request_is_refused_with_an_object(mesh, body):
    for path in ("storeKeyZKP", "verifyProof"):
        answer = await mesh.call("POST", f"/api/v1/{path}", body)
        assert answer.status == 400
        assert answer.json["error"]["message"]


@pytest.mark.parametrize("proof", ["", "x", "\ud7ff" * 64, COMMITMENT.upper()])
async def test_a_proof_that_is_none_is_a_wrong_one(b, proof):
    await b.store("k", "v")
    challenge = (await b.ask("k")).json["challenge"]
    assert (await b.send("k", proof=proof, nullifier=proof, challenge=challenge)).json["verified"] is False


async def test_two_first_commitments_at_once_are_both_answered(b):
    answers = await asyncio.gather(*(b.keep("k", f"{number:02x}" * 32) for number in range(16)))
    assert {answer.status for answer in answers} == {200}


async def test_a_value_in_the_place_of_a_user_id_is_not_kept(mesh, tmp_path, database_url):
    """`mesh-sdk` sends it so where its arguments are given by position in the order of the other client."""
    needle = "sk-needle-in-the-haystack"
    body = {"userId": needle, "keyName": f"{needle}_ann", "commitment": COMMITMENT}
    assert (await mesh.call("POST", "/api/v1/storeKeyZKP", body)).status == 200
    assert needle not in (await mesh.call("GET", "/api/v1/audit")).body.decode()
    assert needle.encode() not in await everything_stored(tmp_path, database_url)
