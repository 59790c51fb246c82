"""Both clients behind one interface: whatever a test says of one holds for the other."""

import asyncio
import logging
import os
import re

import pytest

import mesh
from mesh import _debug

from .server import Server


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """Nothing of this machine's configuration reaches a test."""
    for name in list(os.environ):
        if re.match(
            r"MESH_|DEFAULT_|DEBUG|OPENAI_|ANTHROPIC_|AUTH0_|AUTO_REFRESH|CI$|SSL_CERT|SSH_|.*_proxy$",
            name,
            re.IGNORECASE,
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MESH_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("MESH_KEYRING", "off")  # no test asks the keyring of who runs it


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@pytest.fixture
def logger():
    """The logger of Mesh; what a test switched on does not stay."""
    made = logging.getLogger(_debug.NAME)
    yield made
    made.handlers.clear()
    made.setLevel(logging.NOTSET)


class Driver:
    """A client, used from code that does not await."""

    def __init__(self, kind, url, auth_token="mesh_test_token", **arguments):
        self._runner = asyncio.Runner() if kind == "async" else None
        made = mesh.AsyncMeshClient if kind == "async" else mesh.MeshClient
        self.client = made(url, auth_token, **arguments)

    def __getattr__(self, name):
        method = getattr(self.client, name)
        return lambda *arguments, **named: self._now(method(*arguments, **named))

    def _now(self, result):
        if self._runner is None or not asyncio.iscoroutine(result):
            return result
        return self._runner.run(result)

    def pieces(self, stream):
        """Return all pieces of a stream."""
        if self._runner is None:
            return list(stream)

        async def collect():
            return [piece async for piece in stream]

        return self._runner.run(collect())

    def first(self, stream):
        """Return the first piece of a stream, and close it."""
        if self._runner is None:
            with stream:
                return next(stream)

        async def take():
            async with stream:
                return await anext(stream)

        return self._runner.run(take())

    def done(self):
        self._now(self.client.close())
        if self._runner is not None:
            self._runner.close()


@pytest.fixture(params=["sync", "async"])
def make(request, server):
    """Return a function that makes a client of either kind for the scripted server."""
    made = []

    def build(url=None, **arguments):
        made.append(Driver(request.param, url or server.url, **{"timeout": 5, **arguments}))
        return made[-1]

    yield build
    for driver in made:
        driver.done()


@pytest.fixture
def client(make):
    return make()
