"""`mesh-auth` as a person runs it: what it prints where, what it leaves, and its exit status."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mesh.keys import cache

COMMAND = [sys.executable, "-c", "from mesh.cli.mesh_auth import main; main()"]


@pytest.fixture
def environment(folder, issuer):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MESH_", "AUTH0_"))}
    return kept | {"MESH_CONFIG_DIR": str(folder), "MESH_KEYRING": "off", "MESH_API_URL": issuer.url}


@pytest.fixture
def run(environment):
    def call(*arguments, **more):
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr
        return done

    return call


def test_a_login_without_a_browser(run, issuer, store, profile_text):
    issuer.decision = "approve"
    done = run("--headless")
    assert (done.returncode, done.stdout) == (0, "")
    assert "ABCD-EFGH" in done.stderr
    assert f"Logged in as ada@example.com at {issuer.url}." in done.stderr
    assert store.load().subject == "user|1"
    assert profile_text().startswith('default = "127.0.0.1-')
    for secret in issuer.access:
        assert secret not in done.stderr


def test_the_whole_life_of_a_login(run, issuer, store):
    issuer.decision = "approve"
    assert run("status").returncode == 3
    assert run("login", "--headless").returncode == 0
    shown = run("status")
    assert shown.returncode == 0
    for word in (issuer.url, "ada@example.com", issuer.issuer, "by itself"):
        assert word in shown.stderr
    known = json.loads(run("status", "--json").stdout)
    assert (known["logged_in"], known["refreshable"], known["name"]) == (True, True, "ada@example.com")
    token = run("token")
    assert token.stdout.strip() in issuer.access
    assert token.stderr == ""
    assert token.stdout.strip() not in shown.stderr
    refresh = store.load().refresh_token.reveal()
    done = run("logout")
    assert (done.returncode, issuer.revoked) == (0, [refresh])
    assert "Logged out" in done.stderr
    assert run("status").returncode == 3
    assert json.loads(run("status", "--json").stdout)["logged_in"] is False
    assert run("token").returncode == 3
    assert "There was no login" in run("logout").stderr


def test_a_token_that_is_due_is_renewed_first(run, issuer, logged_in):
    logged_in(expires_in=0)
    assert run("token").stdout.strip() in issuer.access
    assert len(issuer.refreshes) == 1


def test_a_logout_works_without_the_issuer(run, issuer, logged_in, store):
    logged_in()
    issuer.fault("/oauth/revoke", (503, {}))
    done = run("logout")
    assert done.returncode == 0
    assert "could not be told" in done.stderr
    assert not store.exists()


def test_a_logout_takes_the_cached_keys_of_its_server_along(run, issuer, logged_in, folder):
    logged_in()
    mine, other = (cache.folder_of(folder, url) for url in (issuer.url, "https://other.example.com"))
    for place in (mine, other):
        place.mkdir(parents=True)
        (place / "a.key").write_bytes(b"sealed")
    assert run("logout").returncode == 0
    assert not mine.exists()
    assert other.exists()


def test_a_logout_works_where_the_login_is_damaged(run, logged_in, store):
    logged_in()
    store.path.write_bytes(b"garbage")
    assert run("status").returncode == 1
    assert run("logout").returncode == 0
    assert not store.exists()


@pytest.mark.parametrize(("decision", "status"), [("deny", 3), ("expired", 3)])
def test_a_login_that_fails_stores_nothing(run, issuer, store, folder, decision, status):
    issuer.decision = decision
    done = run("--headless")
    assert done.returncode == status
    assert "mesh-auth" in done.stderr
    assert not store.exists()
    assert not (folder / "config.toml").exists()


def test_a_login_that_the_server_does_not_accept_stores_nothing(run, issuer, store):
    issuer.decision = "approve"
    body = {"success": False, "error": {"code": "token_invalid", "message": "The audience is wrong."}}
    issuer.fault("/api/v1/auth/profile", (401, body))
    done = run("--headless")
    assert done.returncode == 3
    assert "The audience is wrong." in done.stderr
    assert not store.exists()


def test_a_server_without_a_login_says_what_else_there_is(run, issuer):
    body = {"success": False, "error": {"code": "login_not_configured", "message": "No."}}
    issuer.fault("/api/v1/auth/config", (404, body))
    done = run("--headless")
    assert done.returncode != 0
    assert "MESH_AUTH_TOKEN" in done.stderr


def test_exit_statuses_of_what_can_not_be_reached_and_of_wrong_usage(run):
    assert run("--headless", "--server", "http://127.0.0.1:9").returncode == 5
    assert run("--nonsense").returncode == 2
    assert run("nonsense").returncode == 2
    assert run("--port", "0").returncode == 2
    assert run("login", AUTH0_CALLBACK_PORT="x").returncode == 2
    assert run("status", MESH_API_URL="").returncode == 1
    assert run("login", "--server", "http://example.com").returncode == 1


def test_in_ci_nobody_is_waited_for(run, issuer):
    done = run("--headless", CI="true")
    assert done.returncode == 3
    assert "CI" in done.stderr
    assert not issuer.asked


def test_help_and_version(run):
    for command in ([], ["login"], ["status"], ["logout"], ["token"], ["doctor"]):
        done = run(*command, "--help")
        assert done.returncode == 0
        assert "Usage: mesh-auth" in done.stdout
    assert "mesh-auth, version" in run("--version").stdout


def test_a_port_that_is_taken_is_told(run, issuer):
    import socket

    issuer.announced = {"flows": ["browser"]}
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run("--port", str(port))
    assert done.returncode == 3
    assert f"port {port} is in use" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("flows", [["device"], ["browser"]])
def test_ctrl_c_leaves_nothing_behind(environment, issuer, folder, flows):
    issuer.announced = {"flows": flows}
    child = subprocess.Popen(COMMAND, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    path = "/oauth/token" if flows == ["device"] else "/.well-known/openid-configuration"
    deadline = time.monotonic() + 30
    while not issuer.requests(path):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    _, shown = child.communicate(timeout=20)
    assert child.returncode == 130, shown
    assert "Traceback" not in shown
    assert not [path for path in folder.rglob("*") if path.is_file()]


def test_a_login_keeps_a_persons_own_profile_file(run, issuer, folder, profile_text):
    issuer.decision = "approve"
    folder.mkdir()
    mine = f'# mine\ndefault = "work"   # always\n[profiles.work]\nserver_url = "{issuer.url}/" # here\n'
    (folder / "config.toml").write_text(mine)
    assert run("--headless").returncode == 0
    assert profile_text() == mine + 'server_id = "mesh:127.0.0.1"\n'


def test_a_profile_file_that_is_no_toml_is_not_touched(run, issuer, folder, profile_text):
    folder.mkdir()
    (folder / "config.toml").write_text("not toml [")
    done = run("--headless")
    assert done.returncode == 1
    assert "config.toml" in done.stderr
    assert profile_text() == "not toml ["


def test_the_doctor_finds_nothing_wrong(run, issuer, logged_in):
    logged_in()
    done = run("doctor")
    assert done.returncode == 0, done.stderr
    for name in ("Server", "Issuer", "Clock", "Audience", "Device flow", "Browser flow", "Renewal", "Callback ports"):
        assert f"{name}: " in done.stderr
    assert "✗" not in done.stderr


def test_the_doctor_knows_what_auth0_needs(run, issuer, logged_in):
    issuer.give_refresh = False
    logged_in()
    issuer.metadata_extra = {"mfa_challenge_endpoint": issuer.issuer + "mfa/challenge"}
    issuer.announced = {"audience": None}
    issuer.fault("/oauth/device/code", (403, {"error": "unauthorized_client"}))
    issuer.fault("/authorize", (403, b"Callback URL mismatch"))
    done = run("doctor")
    assert done.returncode == 1
    for words in (
        "type Native",
        "Device Code",
        "Allow Offline Access",
        "Allowed Callback URLs",
        "http://localhost:45687/callback",
        "Rotation Overlap Period 30 s",
        "AUTH0_AUDIENCE",
    ):
        assert words in " ".join(done.stderr.split()), words


def test_the_doctor_notices_a_clock_that_is_wrong(run, issuer):
    def early(ask):
        ask.handler.send_response_only(200)
        ask.handler.send_header("date", "Tue, 01 Jan 2030 00:00:00 GMT")
        ask.handler.send_header("content-length", "2")
        ask.handler.end_headers()
        ask.handler.wfile.write(b"{}")

    issuer.fault("/.well-known/openid-configuration", issuer.metadata, early)
    done = run("doctor")
    assert done.returncode == 1
    assert "Clock: " in done.stderr
    assert "behind the issuer's" in done.stderr


@pytest.mark.parametrize(
    ("url", "words"),
    [("https://nobody.invalid", "is not known (DNS)"), ("http://127.0.0.1:9", "No connection")],
)
def test_the_doctor_says_why_a_server_can_not_be_reached(run, url, words):
    done = run("doctor", "--server", url)
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_the_doctor_notices_who_else_may_read(run, logged_in, store):
    logged_in()
    store.key_path.chmod(0o644)
    done = run("doctor")
    assert done.returncode == 1
    assert f"chmod go-rwx {store.key_path}" in done.stderr


def test_the_doctor_shows_no_secret(run, issuer, logged_in):
    login = logged_in()
    done = run("doctor", HTTPS_PROXY="http://user:pass-word@proxy.example.com:3128", AUTH0_CLIENT_SECRET="s3cret")
    text = done.stdout + done.stderr
    assert "proxy.example.com" in text
    for secret in (login.access_token.reveal(), login.refresh_token.reveal(), "pass-word", "s3cret"):
        assert secret not in text


def test_the_command_is_installed():
    import tomllib

    project = Path(__file__).parents[3] / "pyproject.toml"
    assert tomllib.loads(project.read_text("utf-8"))["project"]["scripts"] == {
        "mesh": "mesh.cli.mesh:main",
        "mesh-auth": "mesh.cli.mesh_auth:main",
    }
