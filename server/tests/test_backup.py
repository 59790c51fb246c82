"""Backups: taken while the server writes, whole or refused, and put back all or not at all."""

import asyncio
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh_server import backup
from mesh_server.cli._parts import examine, stored
from mesh_server.db.engine import Database
from mesh_server.errors import StartupError

from .conftest import open_mesh, settings_in
from .victim import fill


def command(folder, *arguments, key=None):
    import os

    environment = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    environment |= {"MESH_DATA_DIR": str(folder), **({"MESH_MASTER_KEY_FILE": str(key)} if key else {})}
    return subprocess.run(
        [sys.executable, "-m", "mesh_server.cli", *arguments],
        env=environment,
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def source(tmp_path):
    """A data folder with keys in it."""
    folder = tmp_path / "source"
    folder.mkdir()

    async def fill():
        mesh = await open_mesh(folder)
        for number in range(20):
            await mesh.call("PUT", f"/api/v1/keys/k{number}", {"value": f"secret-{number}", "tags": {"n": str(number)}})
        await mesh.call("PUT", "/api/v1/keys/bytes", {"value_base64": "AAEC"})
        await mesh.services.close()
        return mesh.token

    token = asyncio.run(fill())
    return folder, token


def test_a_backup_goes_back_into_an_empty_place_and_is_verified(source, tmp_path):
    folder, token = source
    file, target = tmp_path / "b.mesh", tmp_path / "target"
    assert command(folder, "backup", str(file)).returncode == 0
    done = command(target, "restore", str(file), key=folder / "master.key")
    assert (done.returncode, "All is as" in done.stderr) == (0, True), done.stderr

    async def look():
        mesh = await open_mesh(target, MESH_MASTER_KEY_FILE=str(folder / "master.key"))
        read = await mesh.call("GET", "/api/v1/keys/k7", token=token)
        raw = await mesh.call("GET", "/api/v1/keys/bytes", token=token)
        trail = await mesh.call("GET", "/api/v1/audit", token=token)
        await mesh.services.close()
        return read.json["value"], raw.json["value_base64"], len(trail.json["events"])

    value, raw, events = asyncio.run(look())
    assert (value, raw) == ("secret-7", "AAEC")
    assert events > 20


def test_a_backup_of_an_aged_trail_proves_itself_where_it_is_put_back(tmp_path):
    folder, file, target = tmp_path / "source", tmp_path / "b.mesh", tmp_path / "target"
    folder.mkdir()
    asyncio.run(fill(folder, aged=True))
    assert command(folder, "backup", str(file)).returncode == 0
    done = command(target, "restore", str(file), key=folder / "master.key")
    assert (done.returncode, "All is as" in done.stderr) == (0, True), done.stderr


def test_a_backup_holds_no_secret_in_the_clear(source, tmp_path):
    folder, token = source
    file = tmp_path / "b.mesh"
    command(folder, "backup", str(file))
    content = file.read_bytes()
    master = (folder / "master.key").read_text().splitlines()[-1]
    assert b"secret-7" not in content
    assert token.encode() not in content
    assert master.encode() not in content
    assert file.stat().st_mode & 0o077 == 0 or sys.platform == "win32"


async def test_a_backup_taken_while_the_server_writes_is_one_moment(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    mesh = await open_mesh(folder)
    stop = asyncio.Event()

    async def write():
        number = 0
        while not stop.is_set():
            await mesh.call("PUT", f"/api/v1/keys/k{number % 7}", {"value": str(number)})
            number += 1
        return number

    working = asyncio.ensure_future(write())
    for number in range(5):
        await asyncio.sleep(0.05)
        file = tmp_path / f"b{number}.mesh"
        await backup.write(mesh.services.database, file, mesh.services.keyring.hasher("backup"))
    stop.set()
    assert await working > 20
    await mesh.services.close()
    for number in range(5):
        target = tmp_path / f"t{number}"
        done = command(target, "restore", str(tmp_path / f"b{number}.mesh"), key=folder / "master.key")
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_database_in_use_is_not_replaced_unless_told(source, tmp_path):
    folder, _ = source
    file = tmp_path / "b.mesh"
    command(folder, "backup", str(file))
    before = asyncio.run(count_of(folder))
    refused = command(folder, "restore", str(file))
    assert (refused.returncode, "in use" in refused.stderr) == (1, True)
    assert asyncio.run(count_of(folder)) == before
    assert command(folder, "restore", "--force", str(file)).returncode == 0


async def count_of(folder):
    async with stored(settings_in(folder)) as parts:
        return (await examine(parts)).rows


def test_an_older_state_that_was_put_back_on_purpose_starts_again(source, tmp_path):
    folder, token = source
    file = tmp_path / "b.mesh"
    command(folder, "backup", str(file))

    async def go_on():
        mesh = await open_mesh(folder)
        await mesh.call("PUT", "/api/v1/keys/later", {"value": "x"}, token=token)
        await mesh.services.audit.checkpoint()
        await mesh.services.close()

    asyncio.run(go_on())
    assert command(folder, "restore", "--force", str(file)).returncode == 0
    asyncio.run(go_on())
    assert command(folder, "verify").returncode == 0


def test_another_servers_master_key_is_refused_and_nothing_is_touched(source, tmp_path):
    folder, _ = source
    file, other = tmp_path / "b.mesh", tmp_path / "other"
    other.mkdir()
    command(folder, "backup", str(file))

    async def fill():
        mesh = await open_mesh(other)
        await mesh.services.close()

    asyncio.run(fill())
    done = command(other, "restore", "--force", str(file))
    assert (done.returncode, "does not open this backup" in done.stderr) == (1, True)
    assert command(other, "verify").returncode == 0


def test_what_is_there_is_never_overwritten(source, tmp_path):
    folder, _ = source
    file = tmp_path / "b.mesh"
    file.write_text("mine")
    assert command(folder, "backup", str(file)).returncode == 1
    assert file.read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"nonsense", b"MESHBAK1", b"MESHBAK1\xff\xff\xff\xff", b"SQLite format 3\0"])
def test_what_is_no_backup_is_refused(tmp_path, content):
    file = tmp_path / "b.mesh"
    file.write_bytes(content)
    with pytest.raises(StartupError):
        backup.examine(file)


def test_a_missing_backup_is_told(tmp_path):
    (tmp_path / "data").mkdir()
    assert command(tmp_path / "data", "restore", str(tmp_path / "none")).returncode == 4


def test_a_newer_schema_is_refused(source, tmp_path):
    import msgspec

    folder, _ = source
    file = tmp_path / "b.mesh"

    async def make():
        async with stored(settings_in(folder)) as parts:
            parts.database.revision = "9999"
            await backup.write(parts.database, file, parts.keyring.hasher("backup"))

    asyncio.run(make())
    assert msgspec.msgpack.decode(file.read_bytes()[12 : 12 + int.from_bytes(file.read_bytes()[8:12], "little")])
    done = command(tmp_path / "target", "restore", str(file), key=folder / "master.key")
    assert (done.returncode, "newer Mesh" in done.stderr) == (1, True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")

    async def make():
        mesh = await open_mesh(folder)
        await mesh.call("PUT", "/api/v1/keys/a", {"value": "x"})
        await backup.write(mesh.services.database, folder / "b.mesh", mesh.services.keyring.hasher("backup"))
        await mesh.services.close()

    asyncio.run(make())
    return folder / "b.mesh"


@given(at=st.integers(0, 2**20), bit=st.integers(0, 7), cut=st.booleans())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_change_of_a_backup_is_refused(whole, at, bit, cut):
    content = bytearray(whole.read_bytes())
    if cut:
        del content[at % len(content) :]
    else:
        content[at % len(content)] ^= 1 << bit
    file = whole.with_name("changed.mesh")
    file.write_bytes(content)
    try:
        summary = backup.examine(file)
    except StartupError:
        return
    # Only the signature itself is not under the hash; the command compares it.
    assert summary.mac != backup.examine(whole).mac


async def test_nothing_is_put_back_where_a_part_can_not_be(whole, tmp_path, monkeypatch):
    database = await Database.open(f"sqlite:///{tmp_path / 'mesh.db'}")
    rows = backup.rows_of

    def failing(path, wanted=None):
        for number, row in enumerate(rows(path, wanted)):
            if number == 3:
                raise OSError("the disk is gone")
            yield row

    monkeypatch.setattr(backup, "rows_of", failing)
    with pytest.raises(OSError, match="gone"):
        await backup.fill(database, whole)
    monkeypatch.undo()
    assert await backup.fill(database, whole) > 3
    await database.close()
