"""Proofs against a real server: the client, the command, and what the server's own files tell a thief."""

import asyncio
import json
import os
import subprocess
import sys

import mesh

CHEAP = mesh.Ksf(memory_kib=8192, passes=1, lanes=1)


def verify(as_user, *arguments, stdin=""):
    return subprocess.run(
        [sys.executable, "-c", "from mesh.cli.mesh import main; main()", "verify", *arguments],
        env=as_user.environment | {"MESH_CONFIG_DIR": str(as_user.config_dir)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_key_is_stored_proven_replaced_and_deleted(as_user):
    with mesh.MeshClient(raise_on_error=True) as client:
        assert client.store_key("e2e", "first", provable=True).provable
        assert client.verify_key("e2e", "first").verified
        assert not client.verify_key("e2e", "second").verified
        client.store_key("e2e", "second")
        assert not client.verify_key("e2e", "first").verified
        assert "e2e" not in client.list_provable_keys()
        client.store_key("e2e", "second", provable=True)
        assert client.verify_key("e2e", "second").verified
        assert client.get_key("e2e") == "second"
        client.delete_key("e2e")
        assert not client.verify_key("e2e", "second").verified


def test_both_twins_and_the_module_s_functions_speak_to_the_same_records(as_user):
    async def twin():
        async with mesh.AsyncMeshClient(raise_on_error=True) as client:
            await client.store_key_zkp("me", "twin", "value", ksf=CHEAP, overwrite=True)
            return await asyncio.gather(*(client.verify_key("me", "twin", value) for value in ("value", "other")))

    assert [result.verified for result in asyncio.run(twin())] == [True, False]
    assert mesh.verify_key("twin", "value", "me").verified
    refused = mesh.store_key_zkp("twin", "value", "me", ksf=CHEAP)
    assert (refused.success, refused.code) == (False, "record_exists")


def test_another_address_of_the_server_is_told_not_taken_for_a_wrong_value(as_user):
    with mesh.MeshClient(as_user.url.replace("127.0.0.1", "localhost"), as_user.token) as client:
        failed = client.verify_key("twin", "value")
    assert (failed.success, failed.code) == (False, "server_identity_mismatch")


def test_the_command_compares_a_file(as_user, tmp_path):
    with mesh.MeshClient(raise_on_error=True) as client:
        client.store_key("E2E_ONE", "value one", provable=True)
        client.store_key("E2E_TWO", "value two", provable=True)
    path = tmp_path / ".env"
    path.write_text("E2E_ONE=\"value one\"\nexport E2E_TWO='value two'\nDEBUG=1\n")
    done = verify(as_user, "--env-file", str(path), "--json")
    assert (done.returncode, json.loads(done.stdout)["agree"]) == (0, True), done.stderr
    path.write_text("E2E_ONE=old\nE2E_TWO='value two'\n")
    done = verify(as_user, "--env-file", str(path))
    assert (done.returncode, done.stdout) == (1, "E2E_ONE  different\nE2E_TWO  same\n")
    done = verify(as_user, "E2E_ONE", stdin="value one\n")
    assert (done.returncode, done.stdout) == (0, "E2E_ONE  same\n")


def test_the_server_s_files_and_log_hold_neither_value_nor_seed_beside_the_database(as_user):
    secret = "e2e-secret-" + os.urandom(8).hex()
    with mesh.MeshClient(raise_on_error=True) as client:
        client.store_key_zkp("thief", secret, ksf=CHEAP, overwrite=True)
        assert client.verify_key("thief", secret).verified
    root = (as_user.data_dir / "zkp.root").read_text().splitlines()[-1]
    for file in [as_user.log, *as_user.data_dir.glob("mesh.db*")]:
        content = file.read_bytes()
        assert secret.encode() not in content
        assert root.encode() not in content
