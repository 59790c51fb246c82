"""A prover that speaks to the application as the client does, and can be told to misbehave at each step."""

import base64
import os
from dataclasses import dataclass, field

from sqlalchemy import select

from mesh_protocol import zkp
from mesh_protocol.ksf import NONE, Ksf
from mesh_protocol.messages import from_text, to_text
from mesh_server.db.scope import ServerWork
from mesh_server.proofs.models import zk_challenges, zk_enrollments, zk_limits, zk_records

SERVER_ID = "mesh:127.0.0.1"
ZKP = "/api/v1/zkp"


@dataclass
class Prover:
    """One login, and how it calls the server."""

    call: object
    token: str
    account: str
    tenant: str = "default"
    server_id: str = SERVER_ID
    headers: dict = field(default_factory=dict)

    def subject(self, name, namespace=""):
        return zkp.Subject(self.server_id, self.tenant, zkp.user_of(self.account, namespace), name)

    @property
    def bind(self):
        return zkp.bind_of(self.token.encode())

    async def post(self, path, body):
        return await self.call("POST", f"{ZKP}/{path}", body, token=self.token, headers=self.headers)

    def begin(self, name, value, namespace=""):
        return zkp.begin(self.subject(name, namespace), value.encode(), os.urandom(48))

    def opening(self, begun, name, namespace="", **more):
        body = {"suite": zkp.SUITE, "serverId": self.server_id, "keyName": name, "blinded": to_text(begun.blinded)}
        return {**body, **({"userId": namespace} if namespace else {}), **more}

    async def start(self, name, value, namespace="", **more):
        begun = self.begin(name, value, namespace)
        return begun, await self.post("enroll/start", self.opening(begun, name, namespace, **more))

    def ending(self, begun, started, ksf: Ksf = NONE, bind=None):
        record, proof = zkp.enroll(
            begun,
            ksf,
            from_text(started["evaluated"], 33),
            from_text(started["serverPublicKey"], 33),
            from_text(started["challenge"], 32),
            bind or self.bind,
            os.urandom(64),
        )
        return {
            "enrollmentId": started["enrollmentId"],
            "ksf": to_text(ksf.encode()),
            "record": to_text(record),
            "proof": to_text(proof),
        }

    async def enrol(self, name="k", value="v", namespace="", ksf: Ksf = NONE, **more):
        begun, started = await self.start(name, value, namespace, **more)
        if started.status != 200:
            return started
        return await self.post("enroll/finish", self.ending(begun, started.json, ksf))

    async def ask(self, name="k", value="v", namespace="", **more):
        begun = self.begin(name, value, namespace)
        return begun, await self.post("challenge", self.opening(begun, name, namespace, **more))

    def answer(self, begun, challenge, bind=None):
        """Return the proof as text; None where the value is another one."""
        made = zkp.answer(
            begun,
            Ksf.decode(from_text(challenge["ksf"], 10)),
            from_text(challenge["credentialResponse"], 162),
            from_text(challenge["challenge"], 32),
            bind or self.bind,
            os.urandom(32),
        )
        return None if made is None else to_text(made)

    async def submit(self, challenge, proof):
        return await self.post("verify", {"challengeId": challenge["challengeId"], "proof": proof})

    async def verify(self, name="k", value="v", namespace=""):
        """Return whether the server says that the value is right; False where nothing was sent."""
        begun, asked = await self.ask(name, value, namespace)
        assert asked.status == 200, asked.body
        proof = self.answer(begun, asked.json)
        if proof is None:
            return False
        answered = await self.submit(asked.json, proof)
        assert answered.status == 200, answered.body
        return answered.json["verified"]


async def look(mesh, work):
    """Read in the server's database, on whatever it stands."""
    return await mesh.services.database.read(work, ServerWork.PURGE)


async def change(mesh, work):
    """Write in the server's database, behind its back."""
    return await mesh.services.database.write(work, ServerWork.PURGE)


async def dump(mesh):
    """Return everything that a copy of the database holds of the proofs: rows by table."""

    async def work(tx):
        return {table.name: await tx.all(select(table)) for table in TABLES}

    found = await look(mesh, work)
    return {t.name: [dict(zip(t.c.keys(), row, strict=True)) for row in found[t.name]] for t in TABLES}


TABLES = (zk_records, zk_challenges, zk_enrollments, zk_limits)


def junk(length):
    return base64.urlsafe_b64encode(os.urandom(length)).decode().rstrip("=")
