"""Anything at all from a provider's socket ends cleanly. MESH_FUZZ_EXAMPLES=100000 looks longer."""

import asyncio
import contextlib
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh_server.chat.upstream.direct import Direct
from mesh_server.chat.upstream.failures import UpstreamFailure

from .bytes_server import Bytes, ask

PARTS = st.sampled_from(
    [
        b"HTTP/1.1 ",
        b"200 OK",
        b"100 Continue",
        b"\r\n",
        b"\r\n\r\n",
        b"content-length: 3",
        b"transfer-encoding: chunked",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"connection: close",
        b"abc",
        b"\0",
        b": ",
        b"x: y",
        b"\n",
    ]
)


@settings(max_examples=int(os.environ.get("MESH_FUZZ_EXAMPLES", "300")), deadline=None)
@given(st.lists(st.one_of(PARTS, st.binary(max_size=12)), max_size=24), st.integers(1, 64), st.booleans())
def test_whatever_comes_ends_cleanly(parts, cut, close):
    """No exception but ours, no hang, and a connection is kept only if nothing was left over on it."""

    async def run():
        content = b"".join(parts)

        async def pieces(writer):
            for start in range(0, len(content), cut):
                writer.write(content[start : start + cut])
                await writer.drain()

        direct = Direct()
        async with Bytes(pieces, close=close) as server, asyncio.timeout(5):
            with contextlib.suppress(UpstreamFailure):
                await ask(direct, server, idle_s=0.05)
            for origin in direct._origins.values():
                assert origin.open == len(origin.idle)
                assert all(not connection._parts for connection in origin.idle)
            await direct.close()

    asyncio.run(run())
