"""Where the master key comes from: one place, and one sentence where it is none, several or the wrong one."""

import asyncio
import base64
import os
import shlex
import sys

import pytest

from mesh_server.db.engine import Database
from mesh_server.errors import StartupError
from mesh_server.settings import load
from mesh_server.vault import master
from mesh_server.vault.crypto import Stretching, stretch
from mesh_server.vault.keyring import Keyring
from mesh_server.vault.master import MasterKeySource

KEY = base64.b64encode(bytes(range(32))).decode()
PASSPHRASE = "correct horse battery staple"


def source(tmp_path, **given):
    return MasterKeySource(file=tmp_path / "master.key", **given)


def prints(text, status=0):
    return shlex.join([sys.executable, "-c", f"import sys; print({text!r}); sys.exit({status})"])


async def opened(tmp_path, given):
    database = await Database.open(f"sqlite:///{tmp_path / 'mesh.db'}")
    try:
        keyring = Keyring(given)
        await keyring.check(database)
        return keyring.subkey("x")
    finally:
        await database.close()


async def test_every_source_opens_what_it_made(tmp_path):
    for number, given in enumerate(({"text": KEY}, {"command": prints(KEY)}, {"passphrase": PASSPHRASE})):
        folder = tmp_path / str(number)
        folder.mkdir()
        first, again = [await opened(folder, source(tmp_path, **given)) for _ in range(2)]
        assert first == again


async def test_a_command_and_the_environment_give_the_same_key(tmp_path):
    made = await opened(tmp_path, source(tmp_path, text=KEY))
    assert await opened(tmp_path, source(tmp_path, command=prints(f"# from the KMS\n{KEY}"))) == made


async def test_another_passphrase_is_told(tmp_path):
    await opened(tmp_path, source(tmp_path, passphrase=PASSPHRASE))
    with pytest.raises(StartupError, match="not the master key"):
        await opened(tmp_path, source(tmp_path, passphrase="another horse battery staple"))


async def test_each_database_has_a_salt_of_its_own(tmp_path):
    keys = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        keyring = Keyring(source(tmp_path, passphrase=PASSPHRASE))
        database = await Database.open(f"sqlite:///{tmp_path / name / 'mesh.db'}")
        await keyring.check(database)
        keys.append(keyring.masters.current)
        await database.close()
    assert keys[0] != keys[1]


def test_argon2id_is_that_of_everybody():
    # RFC 9106 has no vector without secret and associated data; this one is of the reference implementation's tests.
    made = stretch("password", Stretching(b"somesalt", memory_kib=65536, iterations=2, lanes=1))
    assert made.hex() == "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"text": "short"}, "not 32 bytes"),
        ({"text": " "}, "no master key"),
        ({"passphrase": "short"}, "shorter than"),
        ({"command": prints("nonsense")}, "not 32 bytes"),
        ({"command": prints("")}, "no master key"),
        ({"command": prints(KEY, 3)}, "status 3"),
        ({"command": "/not/there"}, "can't be run"),
        ({"command": "'"}, "can't be run"),
        ({"command": ""}, "can't be run"),
    ],
)
def test_a_source_that_gives_no_key_is_one_sentence_without_the_secret(tmp_path, given, sentence):
    with pytest.raises(StartupError, match=sentence) as caught:
        Keyring(source(tmp_path, **given))
    assert KEY not in caught.value.message
    assert "nonsense" not in caught.value.message


def test_a_command_that_hangs_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(master, "COMMAND_S", 0.2)
    with pytest.raises(StartupError, match="within"):
        Keyring(source(tmp_path, command=shlex.join([sys.executable, "-c", "import time; time.sleep(60)"])))


def test_a_command_runs_without_a_shell(tmp_path):
    marker = tmp_path / "made"
    with pytest.raises(StartupError):
        Keyring(source(tmp_path, command=f"echo {KEY}; touch {marker}"))
    assert not marker.exists()


@pytest.mark.parametrize(
    "names",
    [
        ("MESH_MASTER_KEY", "MESH_MASTER_KEY_FILE"),
        ("MESH_MASTER_KEY_PASSPHRASE", "MESH_MASTER_KEY_COMMAND"),
        ("MESH_MASTER_KEY", "MESH_MASTER_KEY_PASSPHRASE"),
    ],
)
def test_several_sources_are_refused_by_their_names(tmp_path, monkeypatch, names):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartupError) as caught:
        load({}, {"MESH_DATA_DIR": str(tmp_path), **dict.fromkeys(names, PASSPHRASE)})
    assert all(name in caught.value.message for name in names)
    assert PASSPHRASE not in caught.value.message


def test_a_passphrase_comes_from_a_file_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pass").write_text(PASSPHRASE + "\n")
    settings = load({}, {"MESH_DATA_DIR": str(tmp_path), "MESH_MASTER_KEY_PASSPHRASE_FILE": str(tmp_path / "pass")})
    assert settings.master.passphrase == PASSPHRASE
    assert PASSPHRASE not in repr(settings)


async def test_starts_at_the_same_time_agree_on_the_salt(tmp_path):
    keys = await asyncio.gather(*(opened(tmp_path, source(tmp_path, passphrase=PASSPHRASE)) for _ in range(3)))
    assert len(set(keys)) == 1


async def test_a_passphrase_is_not_replaced_by_a_key_of_the_file(tmp_path):
    await opened(tmp_path, source(tmp_path, passphrase=PASSPHRASE))
    with pytest.raises(StartupError, match="not the master key"):
        await opened(tmp_path, source(tmp_path, text=base64.b64encode(os.urandom(32)).decode()))
