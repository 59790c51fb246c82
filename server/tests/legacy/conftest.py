"""A server whose one provider does what the test says, and what both published clients send."""

from contextlib import asynccontextmanager

import pytest

from mesh_server.chat.attempts import Attempts, Patience

from ..chat.upstream import Upstream, completion
from ..conftest import open_mesh

CONFIG = """
[[providers]]
name = "acme"
base_url = "{url}"
models = ["m-1", "m-2"]
key_names = ["acme_key"]

[[providers]]
name = "free"
base_url = "{url}"
key_names = []
models = ["f-1"]

[[routes]]
model = "ours"
targets = ["acme/m-2"]
"""


@pytest.fixture
async def upstream():
    async def hello(exchange):
        await exchange.answer(200, completion())

    made = await Upstream(hello).start()
    yield made
    await made.stop()


@asynccontextmanager
async def serving(folder, upstream, **environment):
    """A server with these providers, whose person has a key for one of them."""
    (folder / "mesh-server.toml").write_text(CONFIG.format(url=upstream.url))
    made = await open_mesh(folder, MESH_CONFIG=str(folder / "mesh-server.toml"), **environment)
    made.services.chat._attempts = Attempts(Patience(tries=1))
    await made.services.background.start()  # writes usage, and with it the answers that are kept
    await made.call("PUT", "/api/v1/keys/acme_key", {"value": "sk-acme-secret-1234"})
    yield made
    await made.services.close()


@pytest.fixture
async def mesh(tmp_path, monkeypatch, upstream):
    monkeypatch.chdir(tmp_path)
    async with serving(tmp_path, upstream) as made:
        yield made


@pytest.fixture
async def me(mesh):
    return (await mesh.call("GET", "/api/v1/auth/profile")).json["id"]
