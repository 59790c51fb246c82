"""A filled database, and whoever can write to it but lacks the master key."""

import asyncio
import sqlite3
from contextlib import closing

from mesh_server.accounts.oidc.models import Issuer, SignedClaims
from mesh_server.audit.retention import Retention
from mesh_server.cli._parts import examine, stored
from mesh_server.errors import MeshError, StartupError

from .conftest import open_mesh, settings_in
from .proofs.prover import Prover


async def cut(services):
    """Remove every event that there is from the trail, as if all were old."""
    hashes = services.keyring.hasher("audit-chain"), services.keyring.hasher("audit-checkpoint")
    return await Retention(services.database, services.audit.record, *hashes).cut(0, pause_us=0)


async def fill(folder, *, aged=False):
    """Make a database with something in every table; an aged one has a trail that was cut, and a few events since."""
    mesh = await open_mesh(folder)
    await mesh.services.background.start()
    bob = await mesh.services.accounts.ensure_user("default", "bob")
    for name in ("a", "b"):
        for value in ("one", "two", "three"):
            await mesh.call("PUT", f"/api/v1/keys/{name}", {"value": value, "tags": {"k": "v"}, "note": "n"})
    await mesh.call("DELETE", "/api/v1/keys/a/versions/1")
    await mesh.call("PUT", "/api/v1/keys/gone", {"value": "x"}, headers={"idempotency-key": "k"})
    await mesh.call("DELETE", "/api/v1/keys/gone")
    await mesh.services.audit.checkpoint()
    for pattern in ("a", "b*"):
        await mesh.call("POST", "/api/v1/grants", {"pattern": pattern, "grantee": bob.account_id, "actions": ["read"]})
    anns = (await mesh.call("GET", "/api/v1/auth/profile")).json["id"]
    bobs = await mesh.services.accounts.create_token(bob, name="bob's")
    assert (await mesh.call("DELETE", f"/api/v1/keys/a?owner={anns}", token=bobs)).code == "grant_insufficient"
    revoked = (await mesh.call("POST", "/api/v1/tokens", {"scopes": ["chat"]})).json["id"]
    await mesh.call("DELETE", f"/api/v1/tokens/{revoked}")
    stranger = await mesh.services.accounts.ensure_user("elsewhere", "eve")
    token = await mesh.services.accounts.create_token(stranger, name="eve's")
    await mesh.call("PUT", "/api/v1/keys/a", {"value": "eve's"}, token=token)
    issuer = Issuer(url="https://i.example/", client_id="c", client_secret=None, audience="a", tenant="default")
    claims = SignedClaims(issuer=issuer, issuer_id=issuer.url, subject="ann", email="ann@i.example", expires_at=0)
    await mesh.services.accounts.identities.account_of(claims)
    prover = Prover(mesh.call, mesh.token, anns)
    for name in ("a", "b"):
        assert (await prover.enrol(name)).status == 200
    if aged:
        grants = (await mesh.call("GET", "/api/v1/grants")).json["grants"]
        await mesh.call("DELETE", f"/api/v1/grants/{grants[0]['id']}")
        for _ in range(2):  # what the first says is all in the past of the second
            await mesh.services.audit.checkpoint()
            assert await cut(mesh.services)
        for number in range(4):
            await mesh.call("PUT", f"/api/v1/keys/new{number}", {"value": "x"})
            await mesh.services.audit.checkpoint()
    await mesh.services.close()


class Victim:
    """A filled database, put back as it was after each attack."""

    def __init__(self, folder):
        self.settings = settings_in(folder)
        self.file = folder / "mesh.db"
        with closing(sqlite3.connect(self.file)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        self.whole = self.file.read_bytes()
        self.head = self.settings.audit_head_files[0]
        self.whole_head = self.head.read_bytes()

    def restore(self):
        for name in ("mesh.db-wal", "mesh.db-shm"):
            (self.file.parent / name).unlink(missing_ok=True)
        self.file.write_bytes(self.whole)
        self.head.write_bytes(self.whole_head)

    def run(self, statement, *values):
        with closing(sqlite3.connect(self.file)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def rows(self, table):
        columns = [row[1] for row in self.run(f"PRAGMA table_info({table})")]
        return columns, self.run(f"SELECT rowid, * FROM {table} ORDER BY rowid")

    def verdict(self):
        """Return what `verify` says, as lines; a refusal to open counts as one."""

        async def look():
            async with stored(self.settings) as parts:
                return await examine(parts)

        try:
            return [f"{problem.kind} {problem.where}: {problem.what}" for problem in asyncio.run(look()).problems]
        except (StartupError, MeshError) as problem:
            return [problem.message]


def changed(value, choice):
    """Return another value of the same type."""
    if isinstance(value, bytes):
        at = choice % len(value) if value else 0
        return value[:at] + bytes([value[at] ^ (1 << choice % 8)]) + value[at + 1 :] if value else b"x"
    if isinstance(value, str):
        at = choice % (len(value) + 1)
        replaced = value[:at] + chr(97 + choice % 26) + value[at + 1 :]
        return replaced if replaced != value else value + "z"
    return 1 if value is None else value + 1 + choice % 5
