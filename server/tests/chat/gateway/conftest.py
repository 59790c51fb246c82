"""A server with a provider of every kind, all of them played by one scripted upstream."""

import pytest

from mesh_server.chat.attempts import Attempts, Patience

from ...conftest import open_mesh
from ..upstream import Upstream
from .kinds import CONFIG, answer_well


@pytest.fixture
async def upstream():
    made = await Upstream(answer_well).start()
    yield made
    await made.stop()


@pytest.fixture
async def mesh(tmp_path, monkeypatch, upstream):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mesh-server.toml").write_text(CONFIG.format(url=upstream.url))
    made = await open_mesh(tmp_path, MESH_CONFIG=str(tmp_path / "mesh-server.toml"))
    made.services.chat._attempts = Attempts(Patience(tries=1))
    yield made
    await made.services.close()
