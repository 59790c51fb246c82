"""A server's services on a database of the test's own, and a way to call its application without a socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from mesh_server.accounts.models import Principal
from mesh_server.accounts.service import Accounts
from mesh_server.app import Services
from mesh_server.audit.service import Audit
from mesh_server.db.engine import Database
from mesh_server.proofs.roots import create_root
from mesh_server.settings import Settings, load
from mesh_server.tracing.spans import Tracing
from mesh_server.vault.crypto import create_master_key
from mesh_server.vault.keyring import Keyring
from mesh_server.vault.service import Vault
from mesh_server.vault.trail import head_file, open_audit

from . import postgres


@dataclass
class Parts:
    """The services without the web."""

    database: Database
    keyring: Keyring
    audit: Audit
    accounts: Accounts
    vault: Vault

    async def principal(self, name: str = "ann", **arguments) -> Principal:
        """Make an account with a token and return who presents it."""
        return await self.accounts.authenticate(f"Bearer {await self.token(name, **arguments)}".encode(), None)

    async def token(self, name: str = "ann", **arguments) -> str:
        account = await self.accounts.ensure_user("default", name)
        return await self.accounts.create_token(account, name="test", **arguments)


async def open_parts(folder: Path, url: str | None = None) -> Parts:
    key = folder / "master.key"
    if not key.exists():
        create_master_key(key)
    keyring = Keyring.load(None, key)
    database = await Database.open(url or f"sqlite:///{folder / 'mesh.db'}")
    await keyring.check(database)
    audit = open_audit(database, keyring, head_file(keyring, folder / "audit-head"))
    accounts = Accounts(database, keyring.hasher("api-tokens"), audit)
    return Parts(database, keyring, audit, accounts, Vault(database, keyring, audit))


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    """A real PostgreSQL for the whole session."""
    postgres.require()
    with postgres.Cluster() as made:
        yield made


@pytest.fixture
async def postgres_url(cluster: postgres.Cluster) -> AsyncIterator[str]:
    """An empty, migrated database of PostgreSQL, for a role that owns nothing."""
    name = await cluster.create()
    yield cluster.url(name)
    await cluster.drop(name)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Each database in turn: whoever asks for this runs on all of them."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'mesh.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def parts(tmp_path: Path, database_url: str) -> AsyncIterator[Parts]:
    made = await open_parts(tmp_path, database_url)
    yield made
    await made.database.close()


async def everything_stored(folder: Path, url: str) -> bytes:
    """Return every byte that a database keeps: its files, or on PostgreSQL each value of each row."""
    if url.startswith("sqlite:///"):
        return b"".join(file.read_bytes() for file in folder.iterdir())  # noqa: ASYNC240 - nobody else waits
    owner = await asyncpg.connect(url.replace(f"//{postgres.ROLE}:", f"//{postgres.OWNER}:"))
    try:
        tables = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        values = [v for (table,) in tables for row in await owner.fetch(f'SELECT * FROM "{table}"') for v in row]
    finally:
        await owner.close()
    assert values
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)


@dataclass
class Answer:
    """What the application sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        return self.json["error"]["code"]


Call = Callable[..., Awaitable[Answer]]


def caller(app, token: str | None) -> Call:
    """Return a function that sends one request to an ASGI application, as `token` unless it says otherwise."""

    async def call(method: str, target: str, body: object = None, *, headers: dict | None = None, token=token):
        path, _, query = target.partition("?")
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {"host": "127.0.0.1", **({"authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        }
        waiting = [{"type": "http.request", "body": content, "more_body": False}]
        messages = []

        async def receive():
            if not waiting:
                await asyncio.Event().wait()  # connected for as long as it takes
            return waiting.pop()

        async def send(message):
            messages.append(message)

        await app(scope, receive, send)
        start, rest = messages[0], messages[1:]
        return Answer(
            start["status"],
            {name.decode(): value.decode() for name, value in start["headers"]},
            b"".join(message.get("body", b"") for message in rest),
            whole=bool(rest) and not rest[-1].get("more_body", False),
        )

    return call


def settings_in(folder: Path, **environment: str) -> Settings:
    """Return settings whose every file lies in a folder."""
    create = folder / "master.key"
    if not create.exists():
        create_master_key(create)
    if not (folder / "zkp.root").exists():
        create_root(folder / "zkp.root")
    return load({}, {"MESH_DATA_DIR": str(folder), "MESH_CONFIG": "", **environment})


@dataclass
class Mesh:
    """A whole application with one account."""

    services: Services
    app: object
    token: str
    call: Call

    async def user(self, name: str, **arguments) -> Call:
        """Return a caller for another account."""
        account = await self.services.accounts.ensure_user("default", name)
        return caller(self.app, await self.services.accounts.create_token(account, name="test", **arguments))


async def open_mesh(
    folder: Path, *, behind_proxy: bool = False, tracing: Tracing | None = None, **environment: str
) -> Mesh:
    services = await Services.open(settings_in(folder, **environment), tracing=tracing)
    owner = await services.accounts.ensure_local_account()
    token = await services.accounts.create_token(owner, name="test")
    app = services.application(behind_proxy=behind_proxy)
    return Mesh(services, app, token, caller(app, token))


@pytest.fixture
async def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> AsyncIterator[Mesh]:
    monkeypatch.chdir(tmp_path)
    made = await open_mesh(tmp_path, MESH_DATABASE_URL=database_url)
    yield made
    await made.services.close()
