"""A server whose one provider does what the test says."""

import pytest

from mesh_server.chat.attempts import Attempts, Patience

from ..conftest import open_mesh
from .upstream import Upstream, completion

CONFIG = """
[[providers]]
name = "acme"
base_url = "{url}"
models = ["m-1", "m-2"]
key_names = ["acme_key"]
"""


@pytest.fixture
async def upstream():
    async def hello(exchange):
        await exchange.answer(200, completion())

    made = await Upstream(hello).start()
    yield made
    await made.stop()


@pytest.fixture
async def mesh(tmp_path, monkeypatch, upstream):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mesh-server.toml").write_text(CONFIG.format(url=upstream.url))
    made = await open_mesh(tmp_path, MESH_CONFIG=str(tmp_path / "mesh-server.toml"))
    made.services.chat._attempts = Attempts(Patience(tries=1))  # test_attempts.py is about trying again
    await made.call("PUT", "/api/v1/keys/acme_key", {"value": "sk-acme-secret-1234"})
    yield made
    await made.services.close()
