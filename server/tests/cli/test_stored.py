"""The commands that look after what is stored: their exit statuses, and what goes to stdout."""

import asyncio
import base64
import json
import os
import sqlite3
from contextlib import closing

import pytest

from mesh_server.cli import run
from mesh_server.proofs.roots import create_root

from ..conftest import open_mesh


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder with a key and a token; commands find it by the environment."""
    for name in list(os.environ):
        if name.startswith("MESH_"):
            monkeypatch.delenv(name)
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("MESH_DATA_DIR", str(data))
    monkeypatch.chdir(tmp_path)

    async def fill():
        mesh = await open_mesh(data)
        await mesh.call("PUT", "/api/v1/keys/a", {"value": "secret-value"})
        await mesh.services.close()

    asyncio.run(fill())
    return data


def change(folder, statement):
    with closing(sqlite3.connect(folder / "mesh.db")) as connection, connection:
        connection.execute(statement)


def test_a_whole_database_is_verified(folder, capsys):
    assert run(["verify"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "All is as this server left it" in err


def test_what_is_wrong_is_named_a_line_each(folder, capsys):
    change(folder, "UPDATE keys SET note = 'changed'")
    change(folder, "DELETE FROM audit WHERE seq = 2")
    assert run(["verify"]) == 1
    out, _ = capsys.readouterr()
    assert [line.split()[:2] for line in out.splitlines()][:1] == [["changed", "keys"]]
    assert "missing" in out
    assert "secret-value" not in out


def test_the_trail_is_exported_as_json_lines_oldest_first(folder, capsys):
    assert run(["audit", "export"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["action"] for event in events] == ["account.created", "token.created", "key.stored"]
    assert run(["audit", "export", "--action", "key.stored", "--tenant", "default"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert run(["audit", "export", "--tenant", "elsewhere"]) == 0
    assert capsys.readouterr().out == ""


def test_rotation_asks_for_a_keyring_file(folder, capsys, monkeypatch):
    key = (folder / "master.key").read_text().splitlines()[-1]
    (folder / "master.key").unlink()
    monkeypatch.setenv("MESH_MASTER_KEY", key)
    assert run(["master-key", "rotate"]) == 1
    err = capsys.readouterr().err
    assert "--to FILE" in err
    assert key not in err


@pytest.fixture
def quick(monkeypatch):
    from mesh_server.vault import rotation

    monkeypatch.setattr(rotation, "RELOADED_S", 0.0)


def test_a_key_from_the_environment_moves_into_a_file(folder, monkeypatch, quick):
    key = (folder / "master.key").read_text().splitlines()[-1]
    (folder / "master.key").unlink()
    monkeypatch.setenv("MESH_MASTER_KEY", key)
    target = folder / "keyring"
    assert run(["master-key", "rotate", "--to", str(target)]) == 0
    assert run(["master-key", "rotate", "--to", str(target)]) == 1  # the old key alone opens it no more
    monkeypatch.delenv("MESH_MASTER_KEY")
    monkeypatch.setenv("MESH_MASTER_KEY_FILE", str(target))
    assert run(["verify"]) == 0
    assert key not in target.read_text()


def test_a_key_from_the_environment_is_changed_by_giving_both(folder, monkeypatch, quick):
    old = (folder / "master.key").read_text().splitlines()[-1]
    new = base64.b64encode(os.urandom(32)).decode()
    (folder / "master.key").unlink()
    monkeypatch.setenv("MESH_MASTER_KEY", f"{new} {old}")
    assert run(["master-key", "rotate"]) == 0
    monkeypatch.setenv("MESH_MASTER_KEY", new)
    assert run(["verify"]) == 0


def test_a_passphrase_moves_into_a_file(tmp_path, monkeypatch, quick):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MESH_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("MESH_MASTER_KEY_PASSPHRASE", "correct horse battery staple")
    create_root(tmp_path / "zkp.root")
    assert run(["token", "create", "--user", "ann"]) == 0
    assert run(["master-key", "rotate", "--to", str(tmp_path / "keyring")]) == 0
    monkeypatch.delenv("MESH_MASTER_KEY_PASSPHRASE")
    monkeypatch.setenv("MESH_MASTER_KEY_FILE", str(tmp_path / "keyring"))
    assert run(["verify"]) == 0


def test_two_rotations_leave_one_key_in_need(folder, quick):
    for _ in range(2):
        assert run(["master-key", "rotate"]) == 0
    lines = [line for line in (folder / "master.key").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == 3
    (folder / "master.key").write_text(lines[0] + "\n")
    assert run(["verify"]) == 0


@pytest.mark.parametrize("arguments", [["verify"], ["backup", "x"], ["audit", "export"], ["master-key", "rotate"]])
def test_a_database_that_is_not_there_is_not_made(folder, arguments):
    (folder / "mesh.db").unlink()
    assert run(arguments) == 4
    assert not (folder / "mesh.db").exists()
