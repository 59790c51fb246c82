"""Provers of the application's accounts."""

import pytest

from .prover import Prover


@pytest.fixture
def login(mesh):
    """Return a function that logs somebody in."""

    async def make(name="ann", **arguments):
        account = await mesh.services.accounts.ensure_user("default", name)
        token = await mesh.services.accounts.create_token(account, name="test", **arguments)
        return Prover(mesh.call, token, account.account_id)

    return make


@pytest.fixture
async def ann(login):
    return await login()
