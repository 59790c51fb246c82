"""Rotation of the master key: while servers run, over kills, and finished only when nothing is left behind."""

import asyncio
import base64
import subprocess
import sys
import time

import pytest

from mesh_server.cli._parts import examine, stored
from mesh_server.db.scope import ServerWork
from mesh_server.errors import KeyNotFound, StartupError, VaultDamaged
from mesh_server.vault import rotation
from mesh_server.vault.crypto import put_master_key_first
from mesh_server.vault.models import NewValue
from mesh_server.vault.rotation import Rotation

from ..conftest import open_mesh, open_parts, settings_in
from .values import text


def keys_in(path):
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


async def tenants(parts, count):
    """Make tenants, each with a key of its own; return their principals."""
    made = []
    for number in range(count):
        account = await parts.accounts.ensure_user(f"tenant-{number}", "ann")
        token = await parts.accounts.create_token(account, name="x")
        who = await parts.accounts.authenticate(f"Bearer {token}".encode(), None)
        await parts.vault.put(who, "a", text(str(number)))
        made.append(who)
    return made


@pytest.fixture
async def parts(tmp_path):
    """Services on SQLite: what is rotated is a file beside any database, and each test opens its database again."""
    made = await open_parts(tmp_path)
    yield made
    await made.database.close()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(rotation, "RELOADED_S", 0.0)


async def rotate(parts, folder):
    put_master_key_first(folder / "master.key")
    parts.keyring.refresh()
    await parts.keyring.check(parts.database)
    done = Rotation(parts.database, parts.keyring, parts.audit)
    await done.run()
    return done


async def test_everything_is_under_the_new_key_and_the_old_one_can_go(parts, tmp_path, quick):
    people = await tenants(parts, 5)
    done = await rotate(parts, tmp_path)
    assert (await done.left(), await done.under_way()) == (0, False)
    file = tmp_path / "master.key"
    file.write_text(keys_in(file)[0] + "\n")
    again = await open_parts(tmp_path)
    for number, who in enumerate(people):
        assert (await again.vault.get(who, "a")).value == str(number).encode()
    await again.database.close()


async def test_the_old_key_alone_opens_nothing_any_more(parts, tmp_path, quick):
    old = keys_in(tmp_path / "master.key")[0]
    await rotate(parts, tmp_path)
    (tmp_path / "master.key").write_text(old + "\n")
    with pytest.raises(StartupError, match="not the master key"):
        await open_parts(tmp_path)


async def test_a_step_that_was_not_made_is_made_by_the_next_call(parts, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(rotation, "STEP", 2)
    people = await tenants(parts, 5)
    put_master_key_first(tmp_path / "master.key")
    parts.keyring.refresh()
    await parts.keyring.check(parts.database)
    first = Rotation(parts.database, parts.keyring, parts.audit)
    await parts.database.write(first._step, ServerWork.MASTER_KEY)  # and then it dies
    assert await first.under_way()
    assert 0 < await first.left() < 6
    again = await open_parts(tmp_path)
    for who in people:  # half under the one, half under the other
        assert (await again.vault.get(who, "a")).record.name == "a"
    second = Rotation(again.database, again.keyring, again.audit)
    await second.run()
    assert (await second.left(), await second.under_way()) == (0, False)
    await again.database.close()


async def test_one_that_can_not_open_a_key_finishes_nothing(parts, tmp_path, quick):
    from sqlalchemy import update

    from mesh_server.vault.models import tenant_keys

    await tenants(parts, 1)

    async def damage(tx):
        await tx.execute(
            update(tenant_keys).where(tenant_keys.c.tenant_id == "tenant-0").values(wrapped=b"MSHE" + bytes(200))
        )

    await parts.database.write(damage, ServerWork.VERIFY)
    with pytest.raises(VaultDamaged):
        await rotate(parts, tmp_path)
    assert await Rotation(parts.database, parts.keyring, parts.audit).under_way()


async def test_a_keyring_file_that_can_not_be_read_changes_nothing(parts, tmp_path):
    (who,) = await tenants(parts, 1)
    file = tmp_path / "master.key"
    before = file.read_text()
    for wrong in ("nonsense\n", "", base64.b64encode(b"short").decode()):
        file.write_text(wrong)
        parts.keyring.refresh()
        assert (await parts.vault.get(who, "a")).value == b"0"
    file.write_text(before)
    parts.keyring.refresh()
    assert len(parts.keyring.masters.ids) == 1


def command(folder, *arguments):
    return [sys.executable, "-m", "mesh_server.cli", *arguments, "--data-dir", str(folder)]


def test_a_rotation_that_is_killed_again_and_again_comes_to_its_end(tmp_path):
    async def prepare():
        parts = await open_parts(tmp_path)
        people = await tenants(parts, 300)
        await parts.database.close()
        return people

    people = asyncio.run(prepare())
    for delay in (0.2, 0.5, 0.7, 0.9, 1.1):
        process = subprocess.Popen(
            command(tmp_path, "master-key", "rotate"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(delay)
        process.kill()
        process.wait()
    done = subprocess.run(command(tmp_path, "master-key", "rotate"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing is left" in done.stderr
    file = tmp_path / "master.key"
    file.write_text(keys_in(file)[0] + "\n")

    async def look():
        parts = await open_parts(tmp_path)
        for number in (0, 150, 299):
            assert (await parts.vault.get(people[number], "a")).value == str(number).encode()
        await parts.database.close()
        async with stored(settings_in(tmp_path)) as opened:
            return (await examine(opened)).problems

    assert asyncio.run(look()) == []


async def test_servers_go_on_while_the_key_is_changed(tmp_path, monkeypatch):
    from mesh_server import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, "WATCH_S", 0.1)
    one, other = await open_mesh(tmp_path), await open_mesh(tmp_path)
    for mesh in (one, other):
        await mesh.services.background.start()
    stop, written = asyncio.Event(), 0

    async def load(mesh, tag):
        nonlocal written
        while not stop.is_set():
            account = await mesh.services.accounts.ensure_user(f"tenant-{tag}-{written}", "ann")
            token = await mesh.services.accounts.create_token(account, name="x")
            assert (await mesh.call("PUT", "/api/v1/keys/a", {"value": "x"}, token=token)).status == 200
            read = await (other if mesh is one else one).call("GET", "/api/v1/keys/a", token=token)
            assert (read.status, read.json["value"]) == (200, "x")
            written += 1

    working = [asyncio.ensure_future(load(mesh, tag)) for mesh, tag in ((one, "a"), (other, "b"))]
    await asyncio.sleep(0.3)
    process = await asyncio.create_subprocess_exec(
        *command(tmp_path, "master-key", "rotate"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, errors = await process.communicate()
    stop.set()
    await asyncio.gather(*working)
    assert process.returncode == 0, errors
    assert written > 20
    left = Rotation(one.services.database, one.services.keyring, one.services.audit)
    assert (await left.left(), await left.under_way()) == (0, False)
    for mesh in (one, other):
        assert len(mesh.services.keyring.masters.ids) == 2
        await mesh.services.close()
    file = tmp_path / "master.key"
    file.write_text(keys_in(file)[0] + "\n")
    async with stored(settings_in(tmp_path)) as opened:
        assert (await examine(opened)).problems == []


async def test_a_value_is_not_kept_after_its_request(parts):
    import gc

    (who,) = await tenants(parts, 1)
    secret = b"only-as-long-as-the-request-" + b"x" * 40
    await parts.vault.put(who, "b", NewValue(value=bytes(secret), is_text=True))
    await parts.vault.get(who, "b")
    with pytest.raises(KeyNotFound):  # the writer's thread has let go of the work before
        await parts.vault.get(who, "c")
    gc.collect()
    held = [thing for thing in gc.get_objects() if getattr(thing, "value", None) == secret]
    assert held == []
