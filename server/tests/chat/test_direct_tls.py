"""TLS to providers: what can't be trusted gets no request."""

import asyncio
import ssl

import pytest

from mesh_server.chat.upstream.direct import Direct
from mesh_server.chat.upstream.failures import Unreachable

from .bytes_server import OK, Bytes, ask, certificate


async def test_tls_works_with_a_trusted_certificate(tmp_path):
    context, pem = certificate(tmp_path)
    direct = Direct(ssl.create_default_context(cafile=str(pem)))
    async with Bytes(OK, tls=context) as server:
        assert await ask(direct, server) == (200, b"hi")
        assert await ask(direct, server) == (200, b"hi")
        assert server.connections == 1
        await direct.close()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("wrong", ["untrusted", "name", "expired"])
async def test_tls_refuses_what_it_can_not_trust(tmp_path, wrong):
    context, pem = certificate(
        tmp_path, name="other.example" if wrong == "name" else "127.0.0.1", days=-1 if wrong == "expired" else 1
    )
    direct = Direct(None if wrong == "untrusted" else ssl.create_default_context(cafile=str(pem)))
    async with Bytes(OK, tls=context) as server:
        with pytest.raises(Unreachable):
            await ask(direct, server)
        assert not server.requests
        await direct.close()
        await asyncio.sleep(0.05)
