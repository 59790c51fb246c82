"""What was acknowledged is there, what was refused is not, nothing is there twice or by half: whoever is killed.

`./dev bench crash --cycles 1000` is the long run.
"""

import os
import shutil
import subprocess
import sys

import pytest

from mesh_server.errors import DatabaseUnavailable, StorageReadOnly
from mesh_server.vault.models import NewValue

from ..crash import ANN, DONE, Story, kill_postgres, kill_writers, open_vault
from ..postgres import Cluster, require

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")

CYCLES = int(os.environ.get("MESH_TEST_CRASHES", "10"))


async def test_a_killed_writer_loses_nothing(database_url, tmp_path):
    told = await kill_writers(Story(database_url, tmp_path), CYCLES)
    assert told[DONE] > 10


async def test_a_killed_postgresql_loses_nothing_and_its_clients_go_on(tmp_path):
    require()
    with Cluster(durable=True) as cluster:
        story = Story(cluster.url(await cluster.create()), tmp_path)
        told = await kill_postgres(story, cluster, min(CYCLES, 3))
    assert told[DONE] > 40


# --- a full disk ---


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if not mount or subprocess.run([mount, "-t", "tmpfs", "-o", "size=8m", "mesh-test", folder]).returncode:
        pytest.skip("a small file system can't be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)  # also where a failed test left a file open


LARGE = bytes(range(256)) * 200


def fill(path):
    with path.open("wb") as file:
        while True:
            file.write(bytes(64 * 1024))
            file.flush()


async def test_a_full_disk_refuses_what_must_be_written_lists_and_recovers_by_itself(small_disk, tmp_path):
    url = f"sqlite:///{small_disk / 'mesh.db'}"
    Story(url, tmp_path)  # makes the master key
    database, vault = await open_vault(url, tmp_path)
    try:
        await vault.put(ANN, "first", NewValue(value=b"before", is_text=True))
        ballast = small_disk / "ballast"
        stored = 0

        async def store_until_refused():
            nonlocal stored
            while True:
                await vault.put(ANN, f"key-{stored}", NewValue(value=LARGE, is_text=False))
                stored += 1

        async def check_until_refused():
            for _ in range(200):
                await database.check()  # what /readyz asks
                await vault.put(ANN, "fill", NewValue(value=b"x", is_text=True))

        with pytest.raises(OSError, match="No space"):
            fill(ballast)
        with pytest.raises(StorageReadOnly) as told:
            await store_until_refused()
        assert told.value.retry_after
        with pytest.raises((StorageReadOnly, DatabaseUnavailable)):
            await check_until_refused()
        with pytest.raises(StorageReadOnly):  # what can't be audited is not read
            await vault.get(ANN, "first")
        listed, _ = await vault.list_keys(ANN, prefix="first")
        assert [record.name for record in listed] == ["first"]
        ballast.unlink()
        await database.check()
        await vault.put(ANN, "after", NewValue(value=b"after", is_text=True))
        for number in range(stored):
            assert (await vault.get(ANN, f"key-{number}")).value == LARGE
        assert (await vault.get(ANN, "first")).value == b"before"
        assert (await vault.get(ANN, "after")).value == b"after"
    finally:
        await database.close()
