"""Real servers that are killed while they spend: the provider never bills more than the limit, and the books agree.

`./dev bench spend --cycles 100` is the long run.
"""

import os
import sys

import pytest

from ..spend import race

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL on Windows")

CYCLES = int(os.environ.get("MESH_TEST_CRASHES", "10"))


async def test_four_servers_never_spend_more_than_the_limit(postgres_url, tmp_path):
    await race(postgres_url, tmp_path, processes=4, clients=32, kills=CYCLES)


async def test_one_server_on_sqlite_never_spends_more_than_the_limit(tmp_path):
    await race(f"sqlite:///{tmp_path / 'mesh.db'}", tmp_path, processes=1, clients=32, kills=max(2, CYCLES // 5))
