"""Opens many streams and leaves each after its first piece: leaver.py URL MODEL STREAMS AT_ONCE. Prints the seconds.

Headers come as JSON on stdin, so that no token is in a command line.
"""

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

import uvloop


async def leave(where, request: bytes) -> None:
    """Read the first piece of one stream, and hang up without a word."""
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(request)
    await reader.readuntil(b'" token"')
    writer.transport.abort()


async def main() -> None:
    """Leave all of them."""
    url, model, streams, at_once = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    headers = json.loads(sys.stdin.read())
    where = urlsplit(url)
    body = json.dumps({"model": model, "stream": True, "messages": [{"role": "user", "content": "x"}]}).encode()
    lines = [f"POST {where.path} HTTP/1.1", f"host: {where.netloc}", *(f"{n}: {v}" for n, v in headers.items())]
    request = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body
    left = iter(range(streams))

    async def some() -> None:
        for _ in left:
            await leave(where, request)

    started = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(at_once)))
    print(time.perf_counter() - started)


uvloop.run(main())
