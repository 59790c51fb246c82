"""The root of the seeds: found, malformed, exchanged, lost."""

import base64
import os
import stat

import pytest

from mesh_server.errors import StartupError
from mesh_server.proofs.roots import Roots, create_root

from ..conftest import open_mesh
from .prover import Prover


def text():
    return base64.b64encode(os.urandom(32)).decode()


def written(path, content):
    path.write_text(content)
    path.chmod(0o600)
    return path


def test_a_new_root_is_readable_by_its_owner_only(tmp_path):
    create_root(tmp_path / "zkp.root")
    if os.name != "nt":
        assert stat.S_IMODE((tmp_path / "zkp.root").stat().st_mode) == 0o600
    assert repr(Roots.load(None, tmp_path / "zkp.root")) == "<Roots: 1>"
    with pytest.raises(StartupError, match="never overwritten"):
        create_root(tmp_path / "zkp.root")


@pytest.mark.parametrize(
    "content", ["", "# a comment\n", "AAAA", "not base64!", base64.b64encode(bytes(31)).decode(), "é"]
)
def test_a_malformed_file_is_one_sentence_that_shows_nothing_of_it(tmp_path, content):
    path = written(tmp_path / "zkp.root", content)
    with pytest.raises(StartupError) as caught:
        Roots.load(None, path)
    assert str(path) in caught.value.message
    assert not content or content.strip("#\n ") not in caught.value.message


def test_a_malformed_setting_is_named_and_not_shown():
    with pytest.raises(StartupError, match="MESH_ZKP_ROOT") as caught:
        Roots.load("bm90IGVub3VnaA==", None)
    assert "bm90IGVub3VnaA" not in caught.value.message


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(StartupError, match="mesh-server init"):
        Roots.load(None, tmp_path / "zkp.root")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_file_that_others_can_read_is_refused(tmp_path):
    path = written(tmp_path / "zkp.root", text())
    path.chmod(0o640)
    with pytest.raises(StartupError, match="chmod 600"):
        Roots.load(None, path)


async def test_an_identity_that_can_t_be_one_is_refused_at_the_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartupError, match="MESH_SERVER_ID"):
        await open_mesh(tmp_path, MESH_SERVER_ID="x" * 256)


async def serve(folder, monkeypatch, **environment):
    monkeypatch.chdir(folder)
    made = await open_mesh(folder, **environment)
    account = await made.services.accounts.ensure_local_account()
    return made, Prover(made.call, made.token, account.account_id)


async def test_a_record_of_an_earlier_root_is_verified_and_asks_to_be_enrolled_again(tmp_path, monkeypatch):
    old = text()
    path = written(tmp_path / "zkp.root", old)
    made, ann = await serve(tmp_path, monkeypatch)
    await ann.enrol()
    await made.services.close()
    written(path, f"{text()}  # since today\n{old}\n")
    made, ann = await serve(tmp_path, monkeypatch)
    begun, asked = await ann.ask()
    answered = (await ann.submit(asked.json, ann.answer(begun, asked.json))).json
    assert answered == {"verified": True, "reenroll": True, "success": True}
    account = await made.services.accounts.ensure_local_account()
    token = await made.services.accounts.create_token(account, name="ci", scopes=frozenset({"verify"}))
    ci = Prover(made.call, token, ann.account)
    begun, asked = await ci.ask()
    answered = (await ci.submit(asked.json, ci.answer(begun, asked.json))).json
    assert answered == {"verified": True, "success": True}  # it could not enrol
    await ann.enrol(overwrite=True)
    begun, asked = await ann.ask()
    answered = (await ann.submit(asked.json, ann.answer(begun, asked.json))).json
    assert answered == {"verified": True, "success": True}
    await made.services.close()


async def test_without_its_root_a_record_can_t_be_proven_and_can_be_enrolled_again(tmp_path, monkeypatch):
    path = written(tmp_path / "zkp.root", text())
    made, ann = await serve(tmp_path, monkeypatch)
    await ann.enrol()
    await made.services.close()
    written(path, text())
    made, ann = await serve(tmp_path, monkeypatch)
    assert not await ann.verify()
    assert (await ann.enrol(overwrite=True)).json["recordVersion"] == 2
    assert await ann.verify()
    await made.services.close()


async def test_the_root_of_the_environment_is_used_instead_of_the_file(tmp_path, monkeypatch):
    made, ann = await serve(tmp_path, monkeypatch, MESH_ZKP_ROOT=text())
    await ann.enrol()
    await made.services.close()
    made, ann = await serve(tmp_path, monkeypatch)
    assert not await ann.verify()
    await made.services.close()
