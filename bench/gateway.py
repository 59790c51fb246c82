"""The gateway beside nginx on the same machine: `./dev bench gateway`. Needs `wrk` and `nginx` (Debian packages).

One Mesh worker on one core with the full path (token, account, provider key from the vault, accounting); upstream and
load generator on the other. nginx is a plain `proxy_pass`: what the machine allows at most. Ratios are to be compared,
not absolute figures. MESH_BENCH_SECONDS sets the length of each measurement (default 5).
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in found]


HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
SECONDS = int(os.environ.get("MESH_BENCH_SECONDS", "5"))
UPSTREAM, PACED, NGINX, MESH, UNRECORDED = free_ports(5)
PIECES, PACED_PIECES, INTERVAL_MS = 1000, 400, 10
#: Streams that are given up after their first piece, and how many are open at the same time.
GIVEN_UP, AT_ONCE = 10_000, 64
ASK = {"model": "bench-1", "messages": [{"role": "user", "content": "What is the capital of France? In one sentence."}]}

NGINX_CONF = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000; }}
  upstream paced {{ server 127.0.0.1:{paced}; keepalive 256; }}
  server {{
    listen 127.0.0.1:{port}; keepalive_requests 10000000;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    location / {{ proxy_pass http://up; }}
    location /paced {{ proxy_pass http://paced; }}
  }}
}}
"""
#: Rounds in which a server with and one without the recording of usage take turns.
ROUNDS = 4
PRICES = """
revision = "bench"
[prices]
"bench-1" = { input = 1.0, output = 4.0 }
"""
MESH_CONF = """
data_dir = "{folder}/data"
log_level = "warning"
prices_file = "{folder}/prices.toml"
[[providers]]
name = "fast"
base_url = "http://127.0.0.1:{upstream}/v1"
models = ["bench-1"]
key_names = ["fast_key"]
[[providers]]
name = "paced"
base_url = "http://127.0.0.1:{paced}/v1"
models = ["paced-1"]
key_names = ["fast_key"]
"""


@dataclass
class Load:
    """What wrk measured; times in microseconds."""

    rate: float
    p50: float
    p99: float
    requests: int
    bad: int


def wrk(url: str, headers: dict[str, str], body: dict, connections: int, folder: Path, seconds: int = SECONDS) -> Load:
    """Run wrk on the second core and read what it prints."""
    script = folder / "wrk.lua"
    lines = ['wrk.method = "POST"', *(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())]
    script.write_text("\n".join([*lines, f"wrk.body = {json.dumps(json.dumps(body))}"]))
    script.chmod(0o600)
    limits = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    command = ["wrk", *limits, "--latency", "-s", str(script), url]
    done = subprocess.run(pinned(1, command), capture_output=True, text=True, check=True).stdout
    unit = {"us": 1.0, "ms": 1e3, "s": 1e6}

    def time_of(name: str) -> float:
        found = re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", done)
        return float(found[1]) * unit[found[2]] if found else 0.0

    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", done)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done)
    return Load(
        rate=float(re.search(r"Requests/sec:\s+([\d.]+)", done)[1]),
        p50=time_of("50"),
        p99=time_of("99"),
        requests=int(re.search(r"(\d+) requests in", done)[1]),
        bad=(int(bad[1]) if bad else 0) + (sum(map(int, errors.groups())) if errors else 0),
    )


def pinned(core: int, command: list) -> list[str]:
    """Return a command that stays on one core, where the system can do that."""
    pin = ["taskset", "-c", str(core)] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []
    return [*pin, *map(str, command)]


@contextlib.contextmanager
def running(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen]:
    """Run a program in the background."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **environment})
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


def post(url: str, headers: dict[str, str], body: dict, method: str = "POST") -> bytes:
    """Send one request."""
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def until(what, seconds: float = 20.0):
    """Repeat until it works; return the seconds it took."""
    started = time.monotonic()
    while True:
        try:
            what()
        except OSError:
            if time.monotonic() - started > seconds:
                raise
            time.sleep(0.005)
        else:
            return time.monotonic() - started


def prepare(folder: Path) -> str:
    """Write the configurations and return a token."""
    (folder / "data").mkdir(parents=True)
    (folder / "prices.toml").write_text(PRICES)
    config = folder / "mesh-server.toml"
    config.write_text(MESH_CONF.format(folder=folder, upstream=UPSTREAM, paced=PACED))
    (folder / "nginx.conf").write_text(NGINX_CONF.format(folder=folder, upstream=UPSTREAM, paced=PACED, port=NGINX))
    subprocess.run(
        [BIN / "mesh-server", "init", folder / "unused.toml", "--data-dir", folder / "data"],
        check=True,
        capture_output=True,
    )
    return token_of(config, "bench")


def token_of(config: Path, user: str, *limit: str) -> str:
    """Return a token for an account, with a hard limit where one is given."""
    command = [BIN / "mesh-server", "token", "create", "--config", config, "--user", user]
    made = subprocess.run(command, check=True, capture_output=True, text=True)
    if limit:
        command = [BIN / "mesh-server", "budget", "set", "--config", config, "--user", user, *limit]
        subprocess.run(command, check=True, capture_output=True)
    return made.stdout.split()[-1]


@dataclass
class Served:
    """A server of the comparison."""

    port: int
    token: str
    process: psutil.Process

    def load(self, connections: int, seconds: int, folder: Path, **more: int) -> tuple[Load, float]:
        """Return what wrk measured, and the microseconds of CPU that the server needed for a call."""
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        auth = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        before = sum(self.process.cpu_times()[:2])
        found = wrk(url, auth, ASK | more, connections, folder, seconds)
        return found, (sum(self.process.cpu_times()[:2]) - before) * 1e6 / max(found.requests, 1)


def recording(folder: Path, with_usage: Served, without: Served) -> float:
    """Return the rate with recorded usage as a part of that without, of servers that take turns."""
    found: dict[int, list[tuple[Load, float]]] = {with_usage.port: [], without.port: []}
    for _ in range(ROUNDS):
        for served in (with_usage, without):
            found[served.port].append(served.load(32, max(SECONDS // 2, 2), folder))
    rates = [max(load.rate for load, _ in found[served.port]) for served in (with_usage, without)]
    needs = [min(cpu for _, cpu in found[served.port]) for served in (with_usage, without)]
    print(
        f"usage recorded {rates[0]:,.0f} req/s and {needs[0]:.0f} µs of CPU a call, not recorded {rates[1]:,.0f} and "
        f"{needs[1]:.0f}: {rates[0] / rates[1]:.2f} of the rate, {needs[1] / needs[0]:.2f} by CPU"
    )
    return rates[0] / rates[1]


def limited(folder: Path, served: Served) -> Load:
    """Return what a hard limit of money leaves: every answer waits until its usage is committed."""
    plain, _ = served.load(128, SECONDS, folder, max_tokens=100)
    found, cpu = served.load(128, SECONDS, folder, max_tokens=100)
    found = max(plain, found, key=lambda load: load.rate)
    print(
        f"hard limit, 128 connections: {found.rate:,.0f} req/s, p50 {found.p50:,.0f} µs, p99 {found.p99:,.0f}; "
        f"{cpu:.0f} µs of CPU a call"
    )
    return found


def report(name: str, mesh: Load, nginx: Load) -> None:
    """Print one line of the table."""
    print(
        f"{name:<24}{mesh.rate:>10,.0f}{nginx.rate:>12,.0f}{mesh.rate / nginx.rate:>8.2f}"
        f"{mesh.p50:>10,.0f}{mesh.p99:>10,.0f}{nginx.p50:>10,.0f}{nginx.p99:>10,.0f}{mesh.bad:>6}"
    )


def gaps(url: str, headers: dict[str, str], model: str) -> dict:
    """Return what a reader of 128 paced streams saw."""
    done = subprocess.run(
        pinned(1, [sys.executable, HERE / "gateway_parts/paced_reader.py", url, model, 128]),
        input=json.dumps(headers),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@dataclass
class Left:
    """What is left of streams that were given up.

    Attributes:
        mb: that the server takes beyond what it took before.
        descriptors: likewise; what it keeps for a moment to ask again is not counted.
        recorded: how many of them it recorded as given up.
    """

    mb: float
    descriptors: int
    recorded: int


def leaving(url: str, headers: dict[str, str], mesh: psutil.Process) -> Left:
    """Give many streams up, and return what is left of them."""

    def recorded() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{MESH}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        counts = [line for line in lines if line.startswith("mesh_calls_total") and 'outcome="cancelled"' in line]
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in counts))

    memory, descriptors, before = mesh.memory_info().rss, mesh.num_fds(), recorded()
    command = pinned(1, [sys.executable, HERE / "gateway_parts/leaver.py", url, "paced-1", GIVEN_UP, AT_ONCE])
    done = subprocess.run(command, input=json.dumps(headers), capture_output=True, text=True, check=True)
    time.sleep(5)  # connections to providers are kept for a few seconds, and counts are shared once a second
    more = mesh.memory_info().rss - memory
    found = Left(more / 1e6, mesh.num_fds() - descriptors, recorded() - before)
    print(
        f"{GIVEN_UP:,} streams given up after their first piece, {AT_ONCE} at a time, in {float(done.stdout):.0f} s: "
        f"{found.recorded:,} recorded as such, {found.mb:+.1f} MB, {found.descriptors:+d} open descriptors"
    )
    return found


def measure(folder: Path, token: str, mesh: psutil.Process, share: float, paid: Load) -> bool:
    """Print every figure and return whether the bars hold.

    Args:
        folder: for what is needed meanwhile.
        token: of the server.
        mesh: its process.
        share: what `recording` returned.
        paid: what `limited` returned.
    """
    ours = f"http://127.0.0.1:{MESH}/v1/chat/completions"
    limit = f"http://127.0.0.1:{NGINX}/v1/chat/completions"
    auth = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    plain = {"content-type": "application/json"}
    print(
        f"{'':<24}{'Mesh/s':>10}{'nginx/s':>12}{'ratio':>8}"
        f"{'p50 µs':>10}{'p99':>10}{'nginx p50':>10}{'p99':>10}{'bad':>6}"
    )
    wrk(ours, auth, ASK, 32, folder, 2)
    before = mesh.memory_info().rss
    at = {}
    for connections in (1, 32, 128):
        at[connections] = wrk(ours, auth, ASK, connections, folder), wrk(limit, plain, ASK, connections, folder)
        report(f"{connections} connections", *at[connections])
    stream = ASK | {"stream": True}
    chunks = wrk(ours, auth, stream, 32, folder), wrk(limit, plain, stream, 32, folder)
    report(f"32 streams of {PIECES}", *chunks)
    print(f"{'  pieces/s':<24}{chunks[0].rate * PIECES:>10,.0f}{chunks[1].rate * PIECES:>12,.0f}")
    served = sum(pair[0].requests for pair in at.values())
    while served < 100_000:
        served += wrk(ours, auth, ASK, 32, folder).requests
    after = mesh.memory_info().rss
    paced = gaps(ours, auth, "paced-1"), gaps(f"http://127.0.0.1:{NGINX}/paced", plain, "paced-1")
    print(
        f"128 streams, a piece each {INTERVAL_MS} ms: relayed {paced[0]['share']:.1%} of what was offered, "
        f"p99 gap {paced[0]['p99_ms']:.1f} ms (nginx {paced[1]['share']:.1%}, {paced[1]['p99_ms']:.1f} ms); "
        f"first piece after {paced[0]['first_ms']:.2f} ms (nginx {paced[1]['first_ms']:.2f})"
    )
    left = leaving(ours, auth, mesh)
    print(f"resident: {before / 1e6:.0f} MB after warming up, {after / 1e6:.0f} MB after {served:,} requests")
    bars = {
        "≥ 15,000 req/s at 32 connections": at[32][0].rate >= 15_000,
        "p99 ≤ 6 ms at 32": at[32][0].p99 <= 6_000,
        "≥ 0.15 × nginx at 32": at[32][0].rate >= 0.15 * at[32][1].rate,
        "≥ 130,000 pieces/s at 32 streams": chunks[0].rate * PIECES >= 130_000,
        "≤ 200 µs added at one connection": at[1][0].p50 - at[1][1].p50 <= 200,
        "128 paced streams ≥ 99 %, p99 gap ≤ 12 ms": paced[0]["share"] >= 0.99 and paced[0]["p99_ms"] <= 12,
        "first piece within 0.3 ms of nginx": paced[0]["first_ms"] - paced[1]["first_ms"] <= 0.3,
        "≤ 90 MB resident after the load": after <= 90e6,
        "memory flat (≤ 5 MB more)": after - before <= 5e6,
        "nothing left of streams given up": left.mb <= 5 and left.descriptors <= 0 and left.recorded == GIVEN_UP,
        "recording usage costs at most 10 %": share >= 0.9,
        "≥ 5,000 req/s under a hard limit at 128 connections": paid.rate >= 5_000,
        "no failed request": all(load.bad == 0 for load in [*(pair[0] for pair in at.values()), chunks[0], paid]),
    }
    for name, held in bars.items():
        print(f"  {'held  ' if held else 'MISSED'}  {name}")
    return all(bars.values())


def main() -> int:
    """Start everything, measure, stop everything."""
    missing = [
        tool for tool in ("wrk", "nginx") if shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin") is None
    ]
    if missing:
        print(
            f"bench gateway needs {' and '.join(missing)}: on Debian, apt install {' '.join(missing)}", file=sys.stderr
        )
        return 1
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    with tempfile.TemporaryDirectory(prefix="mesh-bench-") as name:
        folder = Path(name)
        token, other = prepare(folder), prepare(folder / "unrecorded")
        limited_token = token_of(folder / "mesh-server.toml", "paid", "--usd", "1000000", "--per", "total")
        fake = HERE / "gateway_parts/upstream.py"
        serve = [BIN / "mesh-server", "serve", "--config", folder / "mesh-server.toml", "--port", MESH]
        bare = [sys.executable, HERE / "gateway_parts/unrecorded.py", "serve", "--port", UNRECORDED]
        bare += ["--config", folder / "unrecorded/mesh-server.toml"]
        with (
            running(pinned(1, [sys.executable, fake, UPSTREAM, PIECES]), folder / "up.log"),
            running(pinned(1, [sys.executable, fake, PACED, PACED_PIECES, INTERVAL_MS]), folder / "paced.log"),
            running(pinned(0, [nginx, "-c", folder / "nginx.conf", "-p", folder]), folder / "nginx.out"),
            running(pinned(0, serve), folder / "mesh.log") as server,
            running(pinned(0, bare), folder / "unrecorded.log") as unrecorded,
        ):
            base = f"http://127.0.0.1:{MESH}"
            auth = {"authorization": f"Bearer {token}", "content-type": "application/json"}
            until(lambda: post(f"{base}/api/v1/keys/fast_key", auth, {"value": "sk-bench-1234567890"}, "PUT"))
            started = until(lambda: post(f"{base}/v1/chat/completions", auth, ASK))
            until(lambda: post(f"http://127.0.0.1:{NGINX}/v1/chat/completions", {}, ASK))
            for port, theirs in ((UNRECORDED, other), (MESH, limited_token)):
                headers = auth | {"authorization": f"Bearer {theirs}"}
                key = f"http://127.0.0.1:{port}/api/v1/keys/fast_key", headers, {"value": "sk-bench-1234567890"}, "PUT"
                until(lambda key=key: post(*key))
            process = psutil.Process(server.pid)
            without = Served(UNRECORDED, other, psutil.Process(unrecorded.pid))
            share = recording(folder, Served(MESH, token, process), without)
            paid = limited(folder, Served(MESH, limited_token, process))
            good = measure(folder, token, process, share, paid)
            print(f"(first answer {started * 1000:.0f} ms after the key was stored)")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
