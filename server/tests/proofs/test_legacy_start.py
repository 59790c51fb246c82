"""A server that answers the old scheme says so when it starts."""

import asyncio
import os

import pytest

from ..serving import Server


@pytest.mark.parametrize("said", [None, "true"])
async def test_whoever_starts_the_server_is_warned_once_in_its_log(tmp_path, database_url, said):
    many = ("--workers", "2") if database_url.startswith("postgres") and hasattr(os, "fork") else ()
    server = Server(tmp_path, database_url, *many)
    server.environment |= {} if said is None else {"MESH_LEGACY_ZKP": said}

    def story():
        server.token()
        with server:
            status = server.ask("GET", "/api/v1/getChallenge?userId=u&keyName=k")[0]
            assert status == (426 if said is None else 401)

    await asyncio.to_thread(story)
    assert server.log.read_text().count("MESH_LEGACY_ZKP") == (0 if said is None else 1)
