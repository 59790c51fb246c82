"""The dev issuer alone on a socket, and a person in front of it."""

import pytest

from mesh_server.dev_issuer.issuer import DevIssuer
from mesh_server.dev_issuer.serve import serving
from mesh_server.dev_issuer.settings import DevIssuerSettings

from .browser import Person


@pytest.fixture
def codes() -> list[str]:
    return []


@pytest.fixture
async def issuer(tmp_path, codes) -> DevIssuer:
    def settings(url: str) -> DevIssuerSettings:
        return DevIssuerSettings(url=url, interval_s=1.0)

    async with serving(tmp_path, codes.append, settings=settings) as made:
        yield made


@pytest.fixture
def person(issuer, codes) -> Person:
    return Person(issuer.settings.url, codes)
