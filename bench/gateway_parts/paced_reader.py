"""Reads many streams at once and tells the gaps between their pieces, as JSON: paced_reader.py URL MODEL STREAMS.

Headers come as JSON on stdin, so that no token is in a command line.
"""

import asyncio
import json
import statistics
import sys
import time
from urllib.parse import urlsplit

import uvloop

PIECES, INTERVAL_S = 400, 0.010


async def read(where, request: bytes, gaps: list[float], firsts: list[float], seen: list[int]) -> None:
    """Read one stream to its end."""
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    started = time.perf_counter()
    writer.write(request)
    last, count = None, 0
    while True:
        data = await reader.read(65536)
        now = time.perf_counter()
        pieces = data.count(b'" token"')
        if pieces:
            if last is None:
                firsts.append(now - started)
            else:
                gaps.append(now - last)
            last = now
            count += pieces
        if not data or b"[DONE]" in data:
            break
    seen.append(count)
    writer.close()


async def main() -> None:
    """Read all of them and print what was seen."""
    url, model, streams = sys.argv[1], sys.argv[2], int(sys.argv[3])
    headers = json.loads(sys.stdin.read())
    where = urlsplit(url)
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()
    lines = [f"POST {where.path} HTTP/1.1", f"host: {where.netloc}", *(f"{n}: {v}" for n, v in headers.items())]
    request = "\r\n".join([*lines, f"content-length: {len(body)}", "connection: close", "", ""]).encode() + body
    firsts: list[float] = []
    for _ in range(5):  # one at a time: how much later does the first piece come
        await read(where, request, [], firsts, [])
    first = statistics.median(firsts)
    gaps: list[float] = []
    seen: list[int] = []
    started = time.perf_counter()
    await asyncio.gather(*(read(where, request, gaps, [], seen) for _ in range(streams)))
    took = time.perf_counter() - started
    gaps.sort()
    offered = streams * PIECES * min(1.0, PIECES * INTERVAL_S * 1.10 / took)
    print(
        json.dumps(
            {
                "share": min(sum(seen) / (streams * PIECES), offered / (streams * PIECES)),
                "p99_ms": gaps[int(len(gaps) * 0.99)] * 1000,
                "first_ms": first * 1000,
                "seconds": took,
            }
        )
    )


uvloop.run(main())
