"""From the master key down: a wrong one is told before anything is served, an earlier one still opens."""

import base64
import os

import pytest

from mesh_server.accounts.models import SCOPES, Principal
from mesh_server.db.engine import Database
from mesh_server.db.scope import ServerWork
from mesh_server.errors import StartupError, VaultDamaged
from mesh_server.vault.keyring import Keyring
from mesh_server.vault.models import NewValue
from mesh_server.vault.service import Vault

ANN = Principal("default", "ann", None, SCOPES)
SECRET = NewValue(value=b"secret", is_text=True)


def key_file(path, *keys):
    path.write_text("\n".join(base64.b64encode(key).decode() for key in keys))
    path.chmod(0o600)
    return path


@pytest.fixture
async def database(database_url):
    opened = await Database.open(database_url)
    yield opened
    await opened.close()


async def checked(database, path):
    keyring = Keyring.load(None, path)
    await keyring.check(database)
    return keyring


async def test_another_master_key_is_told_by_its_name(database, tmp_path):
    await checked(database, key_file(tmp_path / "one", os.urandom(32)))
    with pytest.raises(StartupError, match="master key"):
        await checked(database, key_file(tmp_path / "two", os.urandom(32)))


async def test_a_damaged_canary_is_told(database, tmp_path):
    from sqlalchemy import update

    from mesh_server.vault.models import keks

    path = key_file(tmp_path / "one", os.urandom(32))
    await checked(database, path)

    async def damage(tx):
        await tx.execute(update(keks).values(canary=b"MSHE" + bytes(200)))

    await database.write(damage, ServerWork.MASTER_KEY)
    with pytest.raises(StartupError, match="damaged"):
        await checked(database, path)


async def test_an_earlier_key_opens_what_it_sealed_and_the_new_one_seals(database, tmp_path):
    old, new = os.urandom(32), os.urandom(32)
    await Vault(database, await checked(database, key_file(tmp_path / "one", old))).put(ANN, "a", SECRET)
    both = await checked(database, key_file(tmp_path / "two", new, old))
    assert (await Vault(database, both).get(ANN, "a")).value == b"secret"


async def test_a_master_key_that_is_missing_from_the_ring_is_told(database, tmp_path):
    old, new = os.urandom(32), os.urandom(32)
    await checked(database, key_file(tmp_path / "one", old))
    await checked(database, key_file(tmp_path / "two", new, old))
    with pytest.raises(VaultDamaged, match="was not given"):
        await checked(database, key_file(tmp_path / "three", new))


async def test_derived_keys_stay_the_same_over_restarts(database, tmp_path):
    path = key_file(tmp_path / "one", os.urandom(32))
    one, other = await checked(database, path), await checked(database, path)
    assert one.subkey("cursor") == other.subkey("cursor") != one.subkey("tokens")


async def test_a_keyring_that_was_not_checked_gives_no_key(tmp_path):
    with pytest.raises(RuntimeError, match="checked"):
        Keyring.load(None, key_file(tmp_path / "one", os.urandom(32))).subkey("x")


async def test_servers_that_start_together_agree(tmp_path, database_url):
    import asyncio

    path = key_file(tmp_path / "one", os.urandom(32))
    databases = [await Database.open(database_url) for _ in range(3)]
    rings = await asyncio.gather(*(checked(database, path) for database in databases))
    assert len({ring.subkey("x") for ring in rings}) == 1
    for database in databases:
        await database.close()
