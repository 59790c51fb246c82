"""What a proof costs: the server's part, the client's part, and both beside what they can't do without.

Run by `./dev bench proofs`. Every figure is processor time of one thread, the median of several rounds. `opaque-snake`
(OPAQUE in Rust, another group, with a key exchange of its own) is a figure to see ours against, where it is installed:
`uv sync --inexact --group bench`.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from mesh_protocol import opaque, proof, zkp
from mesh_protocol.ksf import DEFAULT, NONE
from mesh_protocol.messages import from_text, to_text
from mesh_server import telemetry
from mesh_server.app import Services
from mesh_server.proofs.roots import create_root
from mesh_server.settings import load
from mesh_server.vault.crypto import create_master_key

ROUNDS, EACH = 15, 40
SUBJECT = zkp.Subject("mesh:127.0.0.1", "default", "account", "key")
BIND, CHALLENGE = os.urandom(32), os.urandom(32)


def median_ms(work, each=EACH, rounds=ROUNDS, clock=time.process_time) -> float:
    """Return milliseconds for one call of `work`."""
    work()
    found = []
    for _ in range(rounds):
        started = clock()
        for _ in range(each):
            work()
        found.append((clock() - started) / each * 1000)
    return statistics.median(found)


def bar(what: str, found: float, limit: float, unit: str = "ms") -> None:
    """Print a figure beside its limit."""
    verdict = "holds" if found <= limit else "MISSED"
    print(f"  {what:<58} {found:8.3f} {unit}   limit {limit:g} {unit}: {verdict} ({found / limit:.2f} of it)")


def protocol() -> float:
    """Measure the arithmetic alone; return the server's milliseconds."""
    seeds = zkp.Seeds.derive(os.urandom(32), "default")
    begun = zkp.begin(SUBJECT, b"value", os.urandom(48))
    evaluated = seeds.evaluate(SUBJECT, 1, begun.blinded)
    record, _ = zkp.enroll(begun, NONE, evaluated, seeds.server_public_key, CHALLENGE, BIND, os.urandom(64))
    stored = opaque.Record.split(record)

    def challenge():
        response = seeds.respond(stored, SUBJECT, 1, begun.blinded, os.urandom(32))
        return response, zkp.verify_digest(SUBJECT, NONE.encode(), begun.blinded, response, CHALLENGE, BIND)

    response, digest = challenge()
    made = zkp.answer(begun, NONE, response, CHALLENGE, BIND, os.urandom(32))
    assert made is not None

    def verify():
        assert proof.verify(stored.public_key, zkp.tag_of(digest), made)

    def begin():
        zkp.begin(SUBJECT, b"value", os.urandom(48))

    def answer():
        zkp.answer(begun, NONE, response, CHALLENGE, BIND, os.urandom(32))

    asked, judged, begins, answers = map(median_ms, (challenge, verify, begin, answer))
    print("The arithmetic")
    print(f"  server: challenge {asked:.3f} ms, verify {judged:.3f} ms")
    print(f"  client: blind {begins:.3f} ms, answer {answers:.3f} ms")
    bar("server, challenge and verify", asked + judged, 1.0)
    bar("client, without key stretching", begins + answers, 2.0)
    return asked + judged


async def handing_over() -> None:
    """Measure what it costs to do a challenge's arithmetic in another thread than the event loop's."""
    seeds = zkp.Seeds.derive(os.urandom(32), "default")
    begun = zkp.begin(SUBJECT, b"value", os.urandom(48))

    def work():
        seeds.respond(seeds.fake, SUBJECT, 1, begun.blinded, os.urandom(32))

    async def spent(*, threaded: bool) -> float:
        started = time.process_time()
        for _ in range(EACH):
            if threaded:
                await asyncio.to_thread(work)
            else:
                work()
        return (time.process_time() - started) / EACH * 1000

    pairs = [(await spent(threaded=False), await spent(threaded=True)) for _ in range(ROUNDS)]
    inline, threaded = (statistics.median(found) for found in zip(*pairs, strict=True))
    print(f"\nThe event loop is held for {inline:.3f} ms by a challenge; in a thread it would cost {threaded:.3f} ms")
    print(f"  in a thread over on the loop: {threaded / inline:.2f}")


def stretching() -> None:
    """Measure a whole client's flow with the default parameters beside Argon2id alone, in turns."""
    seeds = zkp.Seeds.derive(os.urandom(32), "default")
    begun = zkp.begin(SUBJECT, b"value", os.urandom(48))
    evaluated = seeds.evaluate(SUBJECT, 1, begun.blinded)
    record, _ = zkp.enroll(begun, DEFAULT, evaluated, seeds.server_public_key, CHALLENGE, BIND, os.urandom(64))
    stored = opaque.Record.split(record)

    def whole():
        flow = zkp.begin(SUBJECT, b"value", os.urandom(48))
        response = seeds.respond(stored, SUBJECT, 1, flow.blinded, os.urandom(32))
        started = time.process_time()
        begin = zkp.begin(SUBJECT, b"value", os.urandom(48))
        assert begin.blinded
        assert zkp.answer(flow, DEFAULT, response, CHALLENGE, BIND, os.urandom(32)) is not None
        return time.process_time() - started

    def bare():
        started = time.process_time()
        DEFAULT.stretch(bytes(32))
        return time.process_time() - started

    whole(), bare()
    pairs = [(whole(), bare()) for _ in range(15)]
    ours, theirs = (statistics.median(times) * 1000 for times in zip(*pairs, strict=True))
    print(f"\nA client's whole flow with Argon2id, 64 MiB, 3 passes, 4 lanes: {ours:.1f} ms")
    print(f"  Argon2id alone: {theirs:.1f} ms")
    bar("whole flow, over Argon2id alone", statistics.median(a / b for a, b in pairs), 1.05, "x ")


class InProcess:
    """A server without its sockets."""

    def __init__(self, services: Services, token: str) -> None:
        self.app, self.token = services.application(), token

    async def post(self, path: str, body: dict) -> dict:
        """Return the answer to one message."""
        waiting = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
        sent = []

        async def receive():
            return waiting.pop()

        async def send(message):
            sent.append(message)

        headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {self.token}".encode())]
        where = f"/api/v1/zkp/{path}"
        scope = {"type": "http", "method": "POST", "path": where, "raw_path": where.encode(), "query_string": b"",
                 "headers": headers, "client": ("127.0.0.1", 1)}  # fmt: skip
        await self.app(scope, receive, send)
        assert sent[0]["status"] == 200, sent
        return json.loads(sent[1]["body"])


async def served(folder: Path, server_ms: float) -> None:
    """Measure both requests through the whole server, with SQLite on this disk."""
    create_master_key(folder / "master.key")
    create_root(folder / "zkp.root")
    telemetry.configure("error", "json")
    services = await Services.open(load({}, {"MESH_DATA_DIR": str(folder)}))
    owner = await services.accounts.ensure_local_account()
    token = await services.accounts.create_token(owner, name="bench")
    server, bind = InProcess(services, token), zkp.bind_of(token.encode())
    subject = zkp.Subject("mesh:127.0.0.1", "default", owner.account_id, "key")

    def opening(begun):
        return {"suite": zkp.SUITE, "serverId": subject.server_id, "keyName": "key", "blinded": to_text(begun.blinded)}

    begun = zkp.begin(subject, b"value", os.urandom(48))
    started = await server.post("enroll/start", opening(begun))
    parts = (from_text(started["evaluated"], 33), from_text(started["serverPublicKey"], 33))
    record, made = zkp.enroll(begun, NONE, *parts, from_text(started["challenge"], 32), bind, os.urandom(64))
    ending = {"enrollmentId": started["enrollmentId"], "ksf": to_text(NONE.encode())}
    await server.post("enroll/finish", {**ending, "record": to_text(record), "proof": to_text(made)})

    spent, elapsed, count = 0.0, 0.0, 300
    for _ in range(count):
        body = opening(begun)
        cpu, wall = time.process_time(), time.perf_counter()
        asked = await server.post("challenge", body)
        spent, elapsed = spent + time.process_time() - cpu, elapsed + time.perf_counter() - wall
        challenge = from_text(asked["challenge"], 32)
        made = zkp.answer(begun, NONE, from_text(asked["credentialResponse"], 162), challenge, bind, os.urandom(32))
        assert made is not None
        body = {"challengeId": asked["challengeId"], "proof": to_text(made)}
        cpu, wall = time.process_time(), time.perf_counter()
        answered = await server.post("verify", body)
        spent, elapsed = spent + time.process_time() - cpu, elapsed + time.perf_counter() - wall
        assert answered["verified"]
    each = spent / count * 1000
    print("\nBoth requests through the whole server: JSON, login, limits, SQLite with two durable commits")
    print(f"  processor {each:.3f} ms, elapsed {elapsed / count * 1000:.3f} ms")
    print(f"  the arithmetic is {server_ms / each:.0%} of it")
    await services.close()


def peer(server_ms: float) -> None:
    """Measure a login of opaque-snake, where it is installed."""
    try:
        from opaque_snake import OpaqueClient, OpaqueServer
    except ImportError:
        print("\nopaque-snake is not installed: no figure beside ours (`uv sync --inexact --group bench` installs it).")
        return
    server, client = OpaqueServer(), OpaqueClient()
    request, state = client.start_registration("value")
    registered = client.finish_registration(server.create_registration_response(request, "key"), state, "value")
    file = server.finish_registration(registered.upload)

    servers, clients = [], []
    for _ in range(100):
        marks = [time.process_time()]
        request, client_state = client.start_login("value")
        marks.append(time.process_time())
        response, server_state = server.create_credential_response(request, "key", file)
        marks.append(time.process_time())
        result = client.finish_login(response, client_state, "value")
        marks.append(time.process_time())
        server.finish_login(result.finalization, server_state)
        marks.append(time.process_time())
        a, b, c, d = (later - earlier for earlier, later in pairwise(marks))
        clients.append((a + c) * 1000)
        servers.append((b + d) * 1000)
    theirs_server, theirs_client = statistics.median(servers), statistics.median(clients)
    print("\nopaque-snake's login (Rust, ristretto255, with its key exchange; its client stretches as it is built to)")
    print(f"  server {theirs_server:.3f} ms, client {theirs_client:.3f} ms")
    print(f"  ours over theirs, server: {server_ms / theirs_server:.2f}")


def main() -> None:
    """Print all of it."""
    server_ms = protocol()
    stretching()
    asyncio.run(handing_over())
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(served(Path(folder), server_ms))
    peer(server_ms)


if __name__ == "__main__":
    main()
