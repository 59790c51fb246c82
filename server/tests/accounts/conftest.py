"""Accounts that accept the logins of an issuer on a real socket."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from mesh_server.accounts.models import Principal
from mesh_server.accounts.oidc.issuers import Issuers
from mesh_server.accounts.service import Accounts

from ..conftest import Parts
from .issuer import FakeIssuer, issuing


@pytest.fixture
async def issuer() -> AsyncIterator[FakeIssuer]:
    async with issuing() as made:
        yield made


@dataclass
class Logins:
    """Accounts that know one issuer."""

    accounts: Accounts
    issuer: FakeIssuer

    async def enter(self, token: str) -> Principal:
        return await self.accounts.authenticate(f"Bearer {token}".encode(), None)


@pytest.fixture
async def logins(parts: Parts, issuer: FakeIssuer) -> AsyncIterator[Logins]:
    issuers = Issuers([issuer.configuration])
    yield Logins(Accounts(parts.database, parts.keyring.hasher("api-tokens"), issuers), issuer)
    await issuers.close()


Clock = Callable[[float], None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return a function that sets the monotonic clock of the keys that many seconds ahead."""
    from mesh_server.accounts.oidc import keys

    class _Time:
        ahead = 0.0

        @classmethod
        def monotonic(cls) -> float:
            import time

            return time.monotonic() + cls.ahead

    monkeypatch.setattr(keys, "time", _Time)

    def advance(seconds: float) -> None:
        _Time.ahead += seconds

    return advance
