"""A fake Mesh and a client of either kind for it: whatever a test says of one holds for the other."""

import asyncio

import pytest

from mesh.testing import FakeMesh


class Both:
    """A client, used from code that does not await."""

    def __init__(self, made, runner):
        self.made = made
        self._runner = runner

    def __getattr__(self, name):
        found = getattr(self.made, name)
        if not callable(found):
            return found
        return lambda *arguments, **named: self.now(found(*arguments, **named))

    def now(self, result):
        if self._runner is None or not asyncio.iscoroutine(result):
            return result
        return self._runner.run(result)

    def items(self, iterable):
        if self._runner is None:
            return list(iterable)

        async def collect():
            return [one async for one in iterable]

        return self._runner.run(collect())


@pytest.fixture
def fake():
    return FakeMesh()


@pytest.fixture(params=["sync", "async"])
def make(request, fake):
    """Return a function that makes a client of either kind."""
    if request.param == "sync":
        yield lambda **arguments: Both(fake.client(**arguments), None)
        return
    with asyncio.Runner() as runner:
        yield lambda **arguments: Both(fake.async_client(**arguments), runner)


@pytest.fixture
def client(make):
    return make()


@pytest.fixture
def wrap(client):
    """Return a function that lets a conversation be used from code that does not await."""
    return lambda made: Both(made, client._runner)
