"""A scripted server's part of the proofs, with the protocol's own functions: one record, and every way to cheat."""

import json
import os

from mesh_protocol import opaque, proof, zkp
from mesh_protocol.ksf import NONE, Ksf
from mesh_protocol.messages import from_text, to_text

TOKEN = "mesh_test_token"


class ProofServer:
    """Answers the endpoints of the proofs; `asked` has the paths in their order."""

    def __init__(self, server_id="mesh:127.0.0.1", tenant="default", account="acc-1", seeds=None):
        self.server_id, self.tenant, self.account = server_id, tenant, account
        self.seeds = seeds or zkp.Seeds.derive(os.urandom(32), tenant)
        self.records = {}
        self.pending = {}
        self.asked = []
        self.bodies = []
        self.answer_ksf = None
        self.change = {}  # path → function that changes an answer
        self.fail = {}  # path → list of functions that take the exchange instead, first come first
        self.stored = []
        self.reenroll = False

    def __call__(self, exchange):
        path = exchange.path.partition("?")[0].removeprefix("/api/v1/")
        self.asked.append(path)
        body = json.loads(exchange.body) if exchange.body else None
        self.bodies.append(exchange.body)
        if self.fail.get(path):
            self.fail[path].pop(0)(exchange)
            return
        if path == "auth/profile":
            answer = {"id": self.account, "tenant": self.tenant, "email": None}
        elif path.startswith("keys/"):
            self.stored.append(body)
            answer = {"name": path[5:], "version": 1, "rev": 1}
        else:
            answer = getattr(self, path.replace("/", "_"))(body)
        answer = {"success": True, **answer}
        exchange.answer(200, self.change.get(path, lambda a: a)(answer), x_request_id="req_1")

    def subject(self, body):
        user = zkp.user_of(self.account, body.get("userId") or "")
        return zkp.Subject(self.server_id, self.tenant, user, body["keyName"])

    def zkp_enroll_start(self, body):
        name, challenge = to_text(os.urandom(16)), os.urandom(32)
        blinded = from_text(body["blinded"], 33)
        version = self.records.get(body["keyName"], (0,))[0] + 1
        evaluated = self.seeds.evaluate(self.subject(body), version, blinded)
        self.pending[name] = (body, blinded, evaluated, challenge, version)
        return {
            "enrollmentId": name,
            "evaluated": to_text(evaluated),
            "serverPublicKey": to_text(self.seeds.server_public_key),
            "challenge": to_text(challenge),
            "recordVersion": version,
            "expiresAt": "2030-01-01T00:00:00Z",
        }

    def zkp_enroll_finish(self, body):
        opening, blinded, evaluated, challenge, version = self.pending.pop(body["enrollmentId"])
        ksf, record = from_text(body["ksf"], 10), from_text(body["record"], 129)
        answered = evaluated + self.seeds.server_public_key
        digest = zkp.enroll_digest(
            self.subject(opening), ksf, blinded, answered, record, challenge, zkp.bind_of(TOKEN.encode())
        )
        assert proof.verify(record[:33], zkp.tag_of(digest), from_text(body["proof"], 65))
        self.records[opening["keyName"]] = (version, opaque.Record.decode(record), ksf)
        return {"recordVersion": version, "createdAt": "2026-01-01T00:00:00Z"}

    def zkp_challenge(self, body):
        name, challenge = to_text(os.urandom(16)), os.urandom(32)
        blinded = from_text(body["blinded"], 33)
        version, record, ksf = self.records.get(body["keyName"], (1, self.seeds.fake, NONE.encode()))
        ksf = self.answer_ksf.encode() if self.answer_ksf else ksf
        subject = self.subject(body)
        response = self.seeds.respond(record, subject, version, blinded, os.urandom(32))
        bind = zkp.bind_of(TOKEN.encode())
        digest = zkp.verify_digest(subject, ksf, blinded, response, challenge, bind)
        self.pending[name] = (record.public_key, digest)
        return {
            "challengeId": name,
            "challenge": to_text(challenge),
            "ksf": to_text(ksf),
            "credentialResponse": to_text(response),
            "expiresAt": "2030-01-01T00:00:00Z",
        }

    def zkp_verify(self, body):
        public_key, digest = self.pending.pop(body["challengeId"])
        right = proof.verify(public_key, zkp.tag_of(digest), from_text(body["proof"], 65))
        return {"verified": right, **({"reenroll": True} if right and self.reenroll else {})}

    def paths(self):
        """Return what was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked


__all__ = ["TOKEN", "Ksf", "ProofServer"]
