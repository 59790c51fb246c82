"""The arithmetic of the two published clients, and what they send; neither knows how the server judges."""

import hashlib
from dataclasses import dataclass


def digest(*parts):
    return hashlib.sha256("".join(parts).encode()).hexdigest()


@dataclass
class OldClient:
    """What both have in common: `call` sends one request as whoever is logged in."""

    call: object
    user: str

    async def ask(self, name, path="/api/v1/getChallenge"):
        return await self.call("GET", f"{path}?userId={self.user}&keyName={name}")

    async def told(self, name):
        answer = await self.call("GET", f"/api/v1/getCommitment?userId={self.user}&keyName={name}")
        return answer.json.get("commitment") if answer.status == 200 else None

    async def send(self, name, **members):
        return await self.call("POST", "/api/v1/verifyProof", {"userId": self.user, "keyName": name, **members})

    async def keep(self, name, commitment):
        body = {"userId": self.user, "keyName": name, "commitment": commitment}
        return await self.call("POST", "/api/v1/storeKeyZKP", body)

    async def verify(self, name, value):
        return (await self.prove(name, value)).json["verified"]


class ClientB(OldClient):
    """Sends the bare name and the nullifier; takes the server's commitment where it is told one."""

    async def store(self, name, value):
        return await self.keep(name, digest(value, ":", digest(name, ":", value)))

    async def prove(self, name, value):
        challenge = (await self.ask(name)).json["challenge"]
        told = await self.told(name)
        nullifier = digest(name, ":", value)
        proof = digest(nullifier, challenge, told or digest(value, ":", nullifier))
        given = told or "not provided"
        return await self.send(name, proof=proof, nullifier=nullifier, challenge=challenge, clientCommitment=given)


class ClientS(OldClient):
    """Puts the user's id before the name, sends proof and challenge only, and needs the server's commitment."""

    def full(self, name):
        return f"{self.user}_{name}"

    async def store(self, name, value):
        return await self.keep(self.full(name), digest(value, ":", digest(self.full(name), ":", value)))

    async def prove(self, name, value):
        challenge = (await self.ask(self.full(self.full(name)))).json["challenge"]
        told = await self.told(self.full(name)) or ""
        proof = digest(digest(self.full(name), ":", value), challenge, told)
        return await self.send(self.full(name), proof=proof, challenge=challenge)
