"""`mesh-server dev --dev-issuer` as a process, and where it is refused."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from ..dev_issuer.browser import CLIENT, SCOPE, Person, get, poll, post

INHERITED = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "TMP")


@pytest.fixture
def environment(tmp_path):
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return inherited | {
        "MESH_DATA_DIR": str(tmp_path / "data"),
        "MESH_CONFIG_DIR": str(tmp_path / "config"),
        "PYTHONUTF8": "1",
    }


def run(environment, folder, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mesh_server.cli", *arguments],
        env=environment | more,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def server(environment, tmp_path):
    """Return the log of a running dev server with its issuer."""
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mesh_server.cli", "dev", "--dev-issuer", "--no-model", "--port", "0"],
            env=environment | {"MESH_DEV_ISSUER_INTERVAL": "1", "MESH_LOG_LEVEL": "debug"},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    deadline = time.monotonic() + 60
    while "Serving on" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    yield log
    process.send_signal(signal.SIGTERM)
    assert process.wait(45) == 0, log.read_text()


async def test_a_device_logs_in_with_the_code_of_the_console(server):
    url = re.search(r"Serving on (\S+)", server.read_text())[1]
    status, config = await get(f"{url}/api/v1/auth/config")
    assert (status, config["issuer"], config["client_id"]) == (200, f"{url}/dev-issuer", CLIENT)
    _, begun = await post(
        f"{config['issuer']}/device_authorization", client_id=CLIENT, scope=SCOPE, audience=config["audience"]
    )
    person = Person(config["issuer"], [])
    page = await person.submit(await person.go(begun["verification_uri_complete"]), user_code=begun["user_code"])
    person.codes.append("".join(re.findall(r"one-time code\s+(\d{3}) (\d{3})", server.read_text())[-1]))
    assert "All set" in (await person.sign_in(page, "ann@example.org")).text
    status, tokens = await poll(config["issuer"], begun)
    assert status == 200
    status, profile = await get(f"{url}/api/v1/auth/profile", authorization=f"Bearer {tokens['access_token']}")
    assert (status, profile["email"]) == (200, "ann@example.org")
    logged = server.read_text()
    for secret in (tokens["access_token"], tokens["refresh_token"], begun["device_code"]):
        assert secret not in logged


async def test_the_profile_for_the_client_keeps_its_token(server, tmp_path):
    url = re.search(r"Serving on (\S+)", server.read_text())[1]
    token = (tmp_path / "config/dev.token").read_text().strip()
    status, _ = await get(f"{url}/api/v1/auth/profile", authorization=f"Bearer {token}")
    assert status == 200


def test_it_is_refused_beside_a_real_issuer(environment, tmp_path):
    auth0 = {"AUTH0_DOMAIN": "x.auth0.com", "AUTH0_CLIENT_ID": "c", "AUTH0_AUDIENCE": "a"}
    ended = run(environment, tmp_path, "dev", "--dev-issuer", "--no-model", "--port", "0", **auth0)
    assert ended.returncode == 1
    assert "x.auth0.com is configured" in ended.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1"])
def test_it_is_refused_on_an_address_of_the_network(environment, tmp_path, host):
    ended = run(environment, tmp_path, "dev", "--dev-issuer", "--no-model", "--host", host)
    assert (ended.returncode, "loopback" in ended.stderr) == (1, True)


def test_serve_does_not_know_it(environment, tmp_path):
    ended = run(environment, tmp_path, "serve", "--dev-issuer")
    assert ended.returncode == 2
    assert "--dev-issuer" in ended.stderr


def test_a_knob_that_is_no_number_is_named(environment, tmp_path):
    ended = run(
        environment, tmp_path, "dev", "--dev-issuer", "--no-model", "--port", "0", MESH_DEV_ISSUER_TOKEN_LIFE="soon"
    )
    assert (ended.returncode, "MESH_DEV_ISSUER_TOKEN_LIFE" in ended.stderr) == (1, True)


def test_the_doctor_says_what_an_issuer_that_is_down_means(environment, tmp_path):
    oidc = {
        "MESH_OIDC_ISSUER": "http://127.0.0.1:9/",
        "MESH_OIDC_CLIENT_ID": "c",
        "MESH_OIDC_AUDIENCE": "a",
        "OPENAI_BASE_URL": "http://127.0.0.1:9",
    }
    ended = run(environment, tmp_path, "doctor", **oidc)
    assert ended.returncode == 1
    assert re.search(r"FAIL\s+issuer\s+The issuer at 127\.0\.0\.1:9 can't be used now", ended.stdout)


def test_serve_needs_an_issuer_or_a_token(environment, tmp_path):
    run(environment, tmp_path, "init", "mesh.toml")
    ended = run(environment, tmp_path, "serve", "--config", "mesh.toml", "--port", "0")
    assert (ended.returncode, "AUTH0_DOMAIN" in ended.stderr) == (3, True)
