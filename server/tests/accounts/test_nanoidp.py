"""A foreign issuer, so that not everything is tested against what we wrote ourselves."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mesh_server.accounts.oidc.examine import examine
from mesh_server.accounts.oidc.fetch import Fetcher
from mesh_server.accounts.oidc.models import Issuer
from mesh_server.app import Services

from ..conftest import caller, settings_in

SETTINGS = """
config_version: 1
server: {{host: "127.0.0.1", port: {port}}}
oauth:
  issuer: "http://127.0.0.1:{port}"
  audience: "my-app"
  token_expiry_minutes: 60
  clients:
    - {{client_id: "demo-client", client_secret: "demo-secret"}}
"""
USERS = """
config_version: 1
users:
  ann: {password: "test123", email: "ann@example.org", roles: ["USER"], tenant: "default"}
  bob: {password: "test123", email: "ann@example.org", roles: ["USER"], tenant: "default"}
"""


@pytest.fixture(scope="module")
def nanoidp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    folder: Path = tmp_path_factory.mktemp("nanoidp")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "settings.yaml").write_text(SETTINGS.format(port=port))
    (folder / "users.yaml").write_text(USERS)
    command = [sys.executable, "-m", "nanoidp", "--config", str(folder), "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
    yield Issuer(
        url=f"http://127.0.0.1:{port}",
        client_id="demo-client",
        client_secret="demo-secret",
        audience="my-app",
        tenant="default",
    )
    process.terminate()
    process.wait(15)


async def log_in(issuer: Issuer, name: str = "ann") -> dict:
    fetcher = Fetcher()
    form = {"grant_type": "password", "username": name, "password": "test123", "scope": "openid email offline_access"}
    answer = await fetcher.post_form(f"{issuer.url}/token", form, basic=("demo-client", "demo-secret"))
    await fetcher.close()
    assert answer.status == 200
    return answer.body


@pytest.fixture
async def call(nanoidp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    services = await Services.open(replace(settings_in(tmp_path), issuers=(nanoidp,)))
    yield caller(services.application(), None)
    await services.close()


async def test_its_access_token_gets_in(call, nanoidp):
    ann, bob = await asyncio.gather(log_in(nanoidp), log_in(nanoidp, "bob"))
    first = (await call("GET", "/api/v1/auth/profile", token=ann["access_token"])).json
    other = (await call("GET", "/api/v1/auth/profile", token=bob["access_token"])).json
    again = (await call("GET", "/api/v1/auth/profile", token=(await log_in(nanoidp))["access_token"])).json
    assert first["id"] == again["id"] != other["id"]


async def test_its_id_token_is_refused_as_one(call, nanoidp):
    answer = await call("GET", "/api/v1/auth/profile", token=(await log_in(nanoidp))["id_token"])
    assert (answer.status, answer.code) == (401, "token_is_id_token")


async def test_its_refresh_token_which_is_a_jwt_for_our_audience_is_refused(call, nanoidp):
    answer = await call("GET", "/api/v1/auth/profile", token=(await log_in(nanoidp))["refresh_token"])
    assert (answer.status, answer.code) == (401, "token_invalid")


async def test_its_refresh_token_is_used_through_the_server(call, nanoidp):
    tokens = await log_in(nanoidp)
    answer = await call("POST", "/auth/refresh-token", {"refresh_token": tokens["refresh_token"]})
    assert answer.status == 200
    assert (await call("GET", "/auth/validate", token=answer.json["access_token"])).status == 200


async def test_a_refresh_token_that_is_none_is_refused(call):
    answer = await call("POST", "/auth/refresh-token", {"refresh_token": "nothing"})
    assert (answer.status, answer.code) == (400, "login_refused")
    assert answer.json["error"]["details"]["error"] == "invalid_grant"


async def test_the_doctor_finds_its_flows(nanoidp):
    found = await examine(nanoidp)
    assert (found.problem, found.has_device_flow, found.has_browser_flow) == (None, True, True)
    assert abs(found.clock_skew_s) < 5
