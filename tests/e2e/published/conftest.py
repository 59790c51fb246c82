"""A person for each published client, at the server that the tests share."""

import pytest

from ..conftest import new_machine
from .published import BETA, SDK, Published, python_of


@pytest.fixture(scope="session")
def beta_python():
    return python_of(BETA)


@pytest.fixture(scope="session")
def sdk_python():
    return python_of(SDK)


@pytest.fixture
def beta(beta_python, gateway, tmp_path):
    made = Published(beta_python, tmp_path, gateway.url, gateway.token)
    made.log_in()
    return made


@pytest.fixture
def sdk(sdk_python, gateway, tmp_path):
    made = Published(sdk_python, tmp_path, gateway.url, gateway.token)
    made.log_in()
    return made


@pytest.fixture(scope="session")
def old_scheme(tmp_path_factory):
    """A server that still answers the old proofs."""
    machine = new_machine(tmp_path_factory.mktemp("old-scheme"), MESH_LEGACY_ZKP="true")
    machine.start("--no-model")
    yield machine
    assert machine.stop() == 0, machine.log.read_text()
