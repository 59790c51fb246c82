"""Proofs by both clients: what they send, what they never send, and what becomes of every answer that is not right."""

import inspect
import logging
import os

import pytest

import mesh
from mesh_protocol import zkp
from mesh_protocol.ksf import DEFAULT, NONE
from mesh_protocol.messages import to_text

from .proving import Ksf, ProofServer

CHEAP = Ksf(1, 8192, 1, 1)
SECRET = "the-secret-value"
START, FINISH, ASK, SUBMIT = "zkp/enroll/start", "zkp/enroll/finish", "zkp/challenge", "zkp/verify"


@pytest.fixture
def proofs(server):
    made = ProofServer()
    server.script(made)
    return made


def test_a_value_is_enrolled_and_verified(client, proofs):
    enrolled = client.store_key_zkp("k", SECRET, ksf=CHEAP)
    assert (enrolled.success, enrolled.name, enrolled.record_version, enrolled.user_id) == (True, "k", 1, None)
    assert enrolled.created_at == "2026-01-01T00:00:00Z"
    assert proofs.paths() == ["auth/profile", START, FINISH]
    right = client.verify_key("k", SECRET)
    assert (right.success, right.verified, right.request_id, right.warnings) == (True, True, "req_1", [])
    assert proofs.paths() == [ASK, SUBMIT]  # the account is asked for once


def test_of_a_wrong_value_nothing_is_sent_after_the_challenge(client, proofs):
    client.store_key_zkp("k", SECRET, ksf=CHEAP)
    proofs.paths()
    wrong = client.verify_key("k", "another")
    assert (wrong.success, wrong.verified) == (True, False)
    assert proofs.paths() == [ASK]


def test_what_is_not_enrolled_is_not_verified(client, proofs):
    assert client.verify_key("k", SECRET).verified is False
    assert proofs.paths() == ["auth/profile", ASK]


def test_the_default_is_the_stretching_of_the_specification(client, proofs):
    client.store_key_zkp("k", SECRET)
    assert proofs.records["k"][2] == DEFAULT.encode()
    assert client.verify_key("k", SECRET).verified


def test_a_value_beyond_guessing_needs_no_stretching(client, proofs):
    client.store_key_zkp("k", os.urandom(32), high_entropy=True)
    assert proofs.records["k"][2] == NONE.encode()


@pytest.mark.parametrize("value", ["ä\0€", b"\x00\xff", bytearray(b"x"), memoryview(b"y")])
def test_text_and_bytes_are_values(client, proofs, value):
    client.store_key_zkp("k", value, ksf=CHEAP)
    assert client.verify_key("k", bytes(value) if not isinstance(value, str) else value.encode()).verified


def test_no_normalisation_makes_two_values_one(client, proofs):
    client.store_key_zkp("k", "é", ksf=CHEAP)
    assert not client.verify_key("k", "e\u0301").verified


# --- arguments ---


def test_both_ways_to_say_it(client, proofs):
    for call in (
        lambda: client.store_key_zkp("me", "k", SECRET, ksf=CHEAP, overwrite=True),
        lambda: client.store_key_zkp(user_id="me", key_name="k", key_value=SECRET, ksf=CHEAP, overwrite=True),
    ):
        assert call().user_id == "me"
        assert client.verify_key("me", "k", SECRET).verified
        assert client.verify_key(user_id="me", key_name="k", key_value=SECRET).verified
        assert not client.verify_key("k", SECRET).verified


@pytest.mark.parametrize(
    ("positional", "named"),
    [
        (("k",), {"key_value": SECRET}),
        (("k", SECRET), {"user_id": "me"}),
        (("me", "k"), {"key_value": SECRET}),
        (("me", "k", SECRET), {"key_name": "k"}),
        (("k", SECRET, "a", "b"), {}),
        (("k",), {}),
        ((), {"key_name": "k"}),
        ((), {"key_value": SECRET}),
        ((), {}),
        ((5, SECRET), {}),
        (("k", 5), {}),
        (("k", None), {}),
        ((SECRET, "k", None), {}),
        ((5, "k", SECRET), {}),
    ],
)
def test_a_mixture_or_a_gap_is_a_type_error_before_anything_is_sent(client, proofs, positional, named):
    for method in ("store_key_zkp", "verify_key"):
        with pytest.raises(TypeError) as caught:
            getattr(client, method)(*positional, **named)
        assert SECRET not in str(caught.value)
    assert proofs.asked == []


@pytest.mark.parametrize(
    ("name", "value"), [("k", ""), ("k", b""), ("", "v"), ("a" * 257, "v"), ("..", "v"), ("k", "\ud800")]
)
def test_what_can_be_no_name_or_value_is_a_value_error(client, proofs, name, value):
    for method in ("store_key_zkp", "verify_key"):
        with pytest.raises(ValueError, match=r"key_name|key_value"):
            getattr(client, method)(name, value)
    assert proofs.asked == []


@pytest.mark.parametrize(
    "ksf", [NONE, Ksf(1, 1024, 1, 1), Ksf(1, 8192, 11, 1), Ksf(1, 2**21, 1, 1), Ksf(2, 8192, 1, 1), Ksf(1, 2**20, 5, 4)]
)
def test_a_function_out_of_bounds_is_a_value_error(client, proofs, ksf):
    with pytest.raises(ValueError, match=r"ksf|high_entropy"):
        client.store_key_zkp("k", SECRET, ksf=ksf)
    with pytest.raises(TypeError):
        client.store_key_zkp("k", SECRET, ksf="argon2id")
    assert proofs.asked == []


def test_the_functions_of_the_module_take_the_name_first():
    for function, method in ((mesh.store_key_zkp, "store_key_zkp"), (mesh.verify_key, "verify_key")):
        names = list(inspect.signature(function).parameters)
        assert names[:3] == ["key_name", "key_value", "user_id"]
        assert function.__module__ == "mesh"
        assert inspect.getdoc(function)
        assert hasattr(mesh.MeshClient, method)


def test_the_module_s_functions_work(server, proofs, monkeypatch):
    from mesh import _module

    monkeypatch.setenv("MESH_API_URL", server.url)
    monkeypatch.setenv("MESH_AUTH_TOKEN", "mesh_test_token")
    monkeypatch.setattr(_module, "_client", None)
    assert mesh.store_key_zkp("k", SECRET, "me", ksf=CHEAP).user_id == "me"
    assert mesh.verify_key("k", SECRET, "me").verified
    assert mesh.verify_key(key_value="x", key_name="k", user_id="me").verified is False
    _module._client.close()


def test_a_namespace_too_long_for_a_proof_is_told(client, proofs):
    failed = client.verify_key("n" * 256, "k", SECRET)
    assert (failed.success, failed.code) == (False, "invalid_request")
    assert proofs.paths() == ["auth/profile"]


# --- the server's identity ---


def test_the_identity_is_the_profile_s(make, server, proofs, tmp_path):
    folder = tmp_path / "config"
    folder.mkdir()
    profile = f'[profiles.p]\nserver_url = "{server.url}"\nserver_id = "mesh:mine"\n'
    (folder / "config.toml").write_text('default = "p"\n' + profile)
    proofs.server_id = "mesh:mine"
    client = make()
    client.store_key_zkp("k", SECRET, ksf=CHEAP)
    assert b'"serverId":"mesh:mine"' in proofs.bodies[1]
    assert client.verify_key("k", SECRET).verified


def test_another_server_s_profile_names_no_identity(make, server, proofs, tmp_path):
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "config.toml").write_text(
        'default = "p"\n[profiles.p]\nserver_url = "https://other.example"\nserver_id = "mesh:other"\n'
    )
    make().verify_key("k", SECRET)
    assert b'"serverId":"mesh:127.0.0.1"' in proofs.bodies[1]


def test_a_proof_names_the_server_that_the_client_means(client, proofs):
    """Should the same seeds serve under another name: what was proven to the one is not proven to the other."""
    client.store_key_zkp("k", SECRET, ksf=CHEAP)
    proofs.server_id = "mesh:other"
    assert client.verify_key("k", SECRET).verified is False


def test_an_impostor_with_a_copy_of_the_database_gets_no_proof(client, proofs):
    client.store_key_zkp("k", SECRET, ksf=CHEAP)
    proofs.seeds = zkp.Seeds.derive(os.urandom(32), "default")
    proofs.paths()
    assert client.verify_key("k", SECRET).verified is False
    assert proofs.paths() == [ASK]


def test_a_mismatch_of_identities_says_what_to_do(client, proofs):
    proofs.fail[ASK] = [lambda exchange: exchange.refuse("server_identity_mismatch")]
    failed = client.verify_key("k", SECRET)
    assert (failed.success, failed.code, failed.status) == (False, "server_identity_mismatch", 400)


# --- answers that are not right ---


@pytest.mark.parametrize(
    "ksf",
    [
        Ksf(1, 2**20 + 1, 1, 1),
        Ksf(1, 8191, 1, 1),
        Ksf(1, 8192, 11, 1),
        Ksf(1, 2**20, 5, 1),
        Ksf(1, 2**32 - 1, 2**32 - 1, 255),
    ],
)
def test_more_work_than_a_client_does_is_refused(client, proofs, ksf):
    proofs.answer_ksf = ksf
    failed = client.verify_key("k", SECRET)
    assert (failed.success, failed.code) == (False, "proof_parameters_refused")
    assert proofs.paths() == ["auth/profile", ASK]


WRONG = [None, 5, "", "A", "A" * 500, "!" * 44, to_text(bytes(33)), to_text(b"\2" + b"\xff" * 32)]


@pytest.mark.parametrize("member", ["challengeId", "challenge", "ksf", "credentialResponse"])
@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: repr(w)[:12])
def test_a_challenge_that_is_none_is_told_and_nothing_is_sent(client, proofs, member, wrong):
    proofs.change[ASK] = lambda answer: {**answer, member: wrong}
    failed = client.verify_key("k", SECRET)
    assert (failed.success, failed.code) == (False, "answer_invalid")
    assert proofs.paths() == ["auth/profile", ASK]


@pytest.mark.parametrize("member", ["enrollmentId", "evaluated", "serverPublicKey", "challenge"])
@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: repr(w)[:12])
def test_an_enrolment_that_is_none_is_told_and_nothing_is_sent(client, proofs, member, wrong):
    proofs.change[START] = lambda answer: {**answer, member: wrong}
    failed = client.store_key_zkp("k", SECRET, high_entropy=True)
    assert (failed.success, failed.code) == (False, "answer_invalid")
    assert proofs.paths() == ["auth/profile", START]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"verified": 1}', b'{"verified": "true"}', b'{"success": true}'])
def test_an_answer_that_does_not_say_verified_is_not_taken_for_one(client, proofs, body):
    client.store_key_zkp("k", SECRET, ksf=CHEAP)
    proofs.fail[SUBMIT] = [lambda exchange: exchange.answer(200, body)]
    failed = client.verify_key("k", SECRET)
    assert (failed.success, failed.code) == (False, "answer_invalid")


@pytest.mark.parametrize("body", [{}, {"id": "", "tenant": "t"}, {"id": "a"}, {"id": 5, "tenant": "t"}])
def test_an_account_that_is_none_is_told(client, proofs, body):
    proofs.fail["auth/profile"] = [lambda exchange: exchange.answer(200, body)]
    assert client.verify_key("k", SECRET).code == "answer_invalid"


def test_members_of_a_newer_server_are_ignored(client, proofs):
    for path in (START, FINISH, ASK, SUBMIT):
        proofs.change[path] = lambda answer: {**answer, "tomorrow": {"a": 1}}
    client.store_key_zkp("k", SECRET, ksf=CHEAP)
    assert client.verify_key("k", SECRET).verified


# --- failures and second tries ---


def test_a_challenge_that_became_unusable_is_asked_for_once_more(client, proofs):
    client.store_key_zkp("k", SECRET, ksf=CHEAP)
    proofs.paths()
    proofs.fail[SUBMIT] = [lambda exchange: exchange.refuse("challenge_unusable", 409)]
    assert client.verify_key("k", SECRET).verified
    assert proofs.paths() == [ASK, SUBMIT, ASK, SUBMIT]
    proofs.fail[SUBMIT] = [lambda exchange: exchange.refuse("challenge_unusable", 409)] * 2
    assert client.verify_key("k", SECRET).code == "challenge_unusable"
    assert proofs.paths() == [ASK, SUBMIT, ASK, SUBMIT]


@pytest.mark.parametrize("path", [START, FINISH])
def test_an_enrolment_is_never_sent_twice(client, proofs, path):
    proofs.fail[path] = [lambda exchange: exchange.reset()]
    failed = client.store_key_zkp("k", SECRET, ksf=CHEAP)
    assert (failed.success, failed.code) == (False, "connection_failed")
    assert proofs.paths().count(path) == 1


def test_failures_are_raised_where_that_was_asked_for(make, proofs):
    client = make(raise_on_error=True)
    proofs.fail[START] = [lambda exchange: exchange.refuse("record_exists", 409)]
    with pytest.raises(mesh.ConflictError) as caught:
        client.store_key_zkp("k", SECRET, ksf=CHEAP)
    assert caught.value.code == "record_exists"
    assert client.verify_key("k", SECRET).verified is False  # no failure


def test_a_limit_is_told_with_its_time(client, proofs):
    proofs.fail[ASK] = [lambda exchange: exchange.refuse("rate_limited", 429, retry_after=300)]
    failed = client.verify_key("k", SECRET)
    assert (failed.code, failed.details["retry_after"]) == ("rate_limited", 300.0)


def test_a_record_that_should_be_enrolled_again_is(client, proofs):
    client.store_key_zkp("k", SECRET, ksf=CHEAP)
    proofs.reenroll = True
    proofs.paths()
    result = client.verify_key("k", SECRET)
    assert (result.verified, result.warnings) == (True, [])
    assert proofs.paths() == [ASK, SUBMIT, START, FINISH]
    assert (proofs.records["k"][0], proofs.records["k"][2]) == (2, CHEAP.encode())  # as its owner chose
    assert b'"overwrite":true' in proofs.bodies[-2]


def test_a_re_enrolment_that_fails_is_a_warning_of_a_right_value(client, proofs):
    client.store_key_zkp("k", SECRET, ksf=CHEAP)
    proofs.reenroll = True
    proofs.fail[START] = [lambda exchange: exchange.refuse("rate_limited", 429)]
    result = client.verify_key("k", SECRET)
    assert result.verified
    assert "could not be enrolled again" in result.warnings[0]


# --- what must not be seen ---


def test_the_value_is_in_no_request_log_line_error_or_repr(make, proofs, caplog):
    client = make(debug=True)
    with caplog.at_level(logging.DEBUG):
        enrolled = client.store_key_zkp("k", SECRET, ksf=CHEAP)
        verified = client.verify_key("k", SECRET)
        proofs.fail[ASK] = [lambda exchange: exchange.refuse("rate_limited", 429)]
        failed = client.verify_key("k", SECRET)
    sent = b"".join(proofs.bodies)
    assert SECRET.encode() not in sent
    proof_text = next(body for body in proofs.bodies if b'"proof"' in body).split(b'"proof":"')[1][:80].decode()
    for text in (caplog.text, repr(enrolled), repr(verified), str(failed), repr(client.client)):
        assert SECRET not in text
        assert proof_text not in text


def test_an_asynchronous_client_stretches_off_its_loop(server):
    import asyncio
    import threading

    from mesh_protocol import ksf as ksf_module

    proofs = ProofServer()
    server.script(proofs)
    threads = []
    stretch = ksf_module.Ksf.stretch

    def watched(self, data):
        threads.append(threading.current_thread() is threading.main_thread())
        return stretch(self, data)

    async def main():
        async with mesh.AsyncMeshClient(server.url, "mesh_test_token") as client:
            await client.store_key_zkp("k", SECRET, ksf=CHEAP)
            return await client.verify_key("k", SECRET)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ksf_module.Ksf, "stretch", watched)
        assert asyncio.run(main()).verified
    assert threads == [False, False]


def test_names_that_can_be_verified_are_listed(client, server):
    pages = [{"records": [{"name": "a"}, {"name": "b"}], "next_after": "b"}, {"records": [{"name": "c"}]}]
    server.script(*[lambda exchange, p=page: exchange.answer(200, {"success": True, **p}) for page in pages])
    assert client.list_provable_keys("me") == ["a", "b", "c"]
    assert [asked.path for asked in server.asked] == [
        "/api/v1/zkp/records?user_id=me",
        "/api/v1/zkp/records?user_id=me&after=b",
    ]
    server.script(lambda exchange: exchange.answer(200, {"records": 5}))
    with pytest.raises(mesh.ConnectionFailed):
        client.list_provable_keys()


def test_another_login_is_asked_whose_it_is(server, proofs):
    """An account is remembered for its login alone: taken for another's, every value would look wrong."""
    from mesh._account import Account, known

    def ask(account, token):
        with mesh.MeshClient(server.url, token) as client:
            return client._run(known(client._found, account))

    account = Account()
    assert ask(account, "mesh_one").id == ask(account, "mesh_one").id == "acc-1"
    assert proofs.paths() == ["auth/profile"]
    proofs.account = "acc-2"
    assert ask(account, "mesh_two").id == "acc-2"
    assert "mesh_two" not in repr(account)
