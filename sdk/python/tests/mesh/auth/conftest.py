"""An issuer, clients of either kind without a token, and logins that are stored already."""

import json
from pathlib import Path

import pytest

from mesh import _config
from mesh._plan import drive
from mesh._transport import HTTPTransport, Reply
from mesh.auth import device, discovery, refresh
from mesh.auth.logins import from_answer
from mesh.auth.overrides import Overrides
from mesh.auth.store import Store

from ..conftest import Driver
from .issuer import Issuer


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(device, "_LEAST_INTERVAL_S", 0.01)
    monkeypatch.setattr(device, "_SLOWER_S", 0.05)
    monkeypatch.setattr(refresh, "_FIRST_WAIT_S", 0.01)


@pytest.fixture
def issuer():
    made = Issuer()
    made.interval = 0.01
    yield made
    made.close()


@pytest.fixture
def transport():
    made = HTTPTransport()
    yield made
    made.close()


@pytest.fixture
def settings(issuer, transport):
    return drive(discovery.discover(issuer.url, Overrides()), transport)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "config"


@pytest.fixture
def store(issuer, folder):
    return Store(folder, issuer.url)


@pytest.fixture
def logged_in(issuer, settings, store):
    """Store a login of the issuer, and return it."""

    def build(**told):
        login = from_answer(Reply(200, {}, json.dumps(issuer.grant("client-1") | told).encode()), settings)
        store.prepare()
        store.save(login)
        return login

    return build


@pytest.fixture(params=["sync", "async"])
def make(request, issuer):
    """Return a function that makes a client of either kind, without a token."""
    made = []

    def build(url=None, **arguments):
        made.append(Driver(request.param, url or issuer.url, **{"auth_token": None, "timeout": 10, **arguments}))
        return made[-1]

    yield build
    for driver in made:
        driver.done()


@pytest.fixture
def at_terminal(monkeypatch):
    """A person sits there."""
    for module in ("mesh._base", "mesh.auth.order"):
        monkeypatch.setattr(f"{module}.interactive", lambda: True)


@pytest.fixture
def profile_text(folder):
    return (folder / "config.toml").read_text


def config(url, folder: Path, **arguments):
    return _config.load(server_url=url, environment={"MESH_CONFIG_DIR": str(folder)}, **arguments)
