"""Thousands of streams through one worker at a time: whether all of them are whole, and what each takes.

Run by `./dev bench streams [--streams 2000]`. A piece comes each 100 ms, ten seconds long. The second round gives the
server 300 file descriptors and asks for 250 streams: as many as fit are served, the others are not accepted or refused
as too many for this server, and the provider is not taken for broken.
"""

import argparse
import asyncio
import collections
import contextlib
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import uvloop
from gateway import ASK, BIN, HERE, MESH, UPSTREAM, pinned, post, prepare, running, until

PIECES, INTERVAL_MS = 100, 100
#: Descriptors of the second round, and the streams that it asks for.
FEW, MANY_FOR_FEW = 300, 250
_PIECE, _END = b'" token"', b"[DONE]"


@dataclass
class Seen:
    """What the readers saw: how each stream ended, seconds until its first piece, and between its pieces."""

    ends: collections.Counter[str] = field(default_factory=collections.Counter)
    firsts: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)


async def read(token: str, seen: Seen) -> None:
    """Read one stream to its end."""
    body = json.dumps(ASK | {"stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{MESH}\r\nauthorization: Bearer {token}\r\n"
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", MESH)
        began = last = time.perf_counter()
        writer.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        got, pieces = b"", 0
        while data := await reader.read(65_536):
            now = time.perf_counter()
            got = (got + data)[-2_000:] if pieces else got + data
            if found := data.count(_PIECE):
                (seen.gaps if pieces else seen.firsts).append(now - (last if pieces else began))
                last, pieces = now, pieces + found
        writer.close()
    except OSError as problem:
        seen.ends[type(problem).__name__] += 1
        return
    if pieces == PIECES and _END in got:
        seen.ends["whole"] += 1
    else:
        seen.ends["server_overloaded" if b'"server_overloaded"' in got else "broken"] += 1


async def load(token: str, streams: int, server: psutil.Process) -> tuple[Seen, float]:
    """Read so many streams at once; return what was seen, and the megabytes that the server took for them."""
    seen, before = Seen(), server.memory_info().rss
    reading = [asyncio.create_task(read(token, seen)) for _ in range(streams)]
    await asyncio.sleep(PIECES * INTERVAL_MS / 2_000)
    more = server.memory_info().rss - before
    await asyncio.gather(*reading)
    return seen, more / 1e6


@contextlib.contextmanager
def serving(folder: Path, descriptors: int | None) -> Iterator[tuple[str, psutil.Process]]:
    """Run a provider and a server, with a limit of its descriptors; return a token and the server's process."""
    token = prepare(folder)
    provider = pinned(1, [sys.executable, HERE / "gateway_parts/upstream.py", UPSTREAM, PIECES, INTERVAL_MS])
    few = ["prlimit", f"--nofile={descriptors}:{descriptors}"] if descriptors else []
    server = [*few, BIN / "mesh-server", "serve", "--config", folder / "mesh-server.toml", "--port", MESH]
    with running(provider, folder / "provider.log"), running(pinned(0, server), folder / "mesh.log") as process:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        key = f"http://127.0.0.1:{MESH}/api/v1/keys/fast_key"
        until(lambda: post(key, headers, {"value": "sk-bench-1234567890"}, "PUT"))
        yield token, psutil.Process(process.pid)


def measure(name: str, streams: int, descriptors: int | None) -> Seen:
    """Print what came of so many streams at a time, and return it."""
    with tempfile.TemporaryDirectory(prefix="mesh-bench-") as folder, serving(Path(folder), descriptors) as served:
        seen, more = uvloop.run(load(served[0], streams, served[1]))
    gaps = sorted(seen.gaps)
    print(
        f"{name}: {dict(seen.ends)}; {more * 1000 / max(seen.ends['whole'], 1):.0f} KB each; first piece after "
        f"{statistics.median(seen.firsts) * 1000:.0f} ms, p99 gap {gaps[int(len(gaps) * 0.99)] * 1000:.0f} ms "
        f"(a piece each {INTERVAL_MS})"
    )
    return seen


def main() -> int:
    """Measure both, and say what held."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--streams", type=int, default=2_000)
    streams = arguments.parse_args().streams
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the readers need some, too
    many = measure(f"{streams:,} streams at a time", streams, None)
    few = measure(f"{MANY_FOR_FEW} streams with {FEW} descriptors", MANY_FOR_FEW, FEW)
    bars = {
        "every stream whole": many.ends["whole"] == streams,
        "with few descriptors a third is served, and no other is begun": few.ends["whole"] >= MANY_FOR_FEW / 3
        and few.ends["broken"] == 0,
    }
    for name, held in bars.items():
        print(f"  {'held  ' if held else 'MISSED'}  {name}")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
