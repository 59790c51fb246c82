"""What can go wrong on a first day: each gets one clear sentence that says what to do, and no traceback."""

import base64
import http.client
import json
import os
import socket
import subprocess
from urllib.parse import urlsplit

import pytest


def one_sentence(done, *words, status=1):
    assert done.returncode == status, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr + done.stdout
    lines = [line for line in done.stderr.strip().splitlines() if line.startswith("mesh-server: ")]
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], lines[0]


@pytest.fixture
def used(machine):
    """A machine on which a server has run once."""
    machine.start("--no-model")
    assert machine.stop() == 0
    return machine


def test_a_wrong_master_key(used):
    wrong = base64.b64encode(os.urandom(32)).decode()
    one_sentence(used.command("dev", "--no-model", "--port", "0", MESH_MASTER_KEY=wrong), "master key")


def test_a_lost_master_key_is_never_replaced_by_a_new_one(used):
    (used.data_dir / "master.key").unlink()
    one_sentence(used.command("dev", "--no-model", "--port", "0"), "master key")
    assert not (used.data_dir / "master.key").exists()


def test_a_port_in_use(machine):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        one_sentence(machine.command("dev", "--no-model", "--port", str(port)), str(port), "--port", status=5)


def test_a_data_folder_that_can_not_be_written(machine):
    machine.data_dir.parent.joinpath("file").write_text("not a folder")
    done = machine.command("dev", "--no-model", MESH_DATA_DIR=str(machine.folder / "file" / "data"))
    one_sentence(done, "data folder")


@pytest.fixture
def read_only_folder(machine):
    """The data folder, which can't be written: by its mode, or for root, who may write everywhere, by its mount."""
    folder = machine.data_dir
    if os.name == "nt":
        pytest.skip("POSIX permissions")
    folder.mkdir(mode=0o500)
    if os.geteuid() != 0:
        yield folder
        return
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("root may write everywhere, and may not mount here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_read_only_data_folder(machine, read_only_folder):
    one_sentence(machine.command("dev", "--no-model"), "data folder")


def test_a_corrupt_database(used):
    (used.data_dir / "mesh.db").write_bytes(b"this is no database" * 1000)
    for name in ("mesh.db-wal", "mesh.db-shm"):
        (used.data_dir / name).unlink(missing_ok=True)
    one_sentence(used.command("dev", "--no-model", "--port", "0"), "mesh.db")


def test_a_configuration_with_a_wrong_name(machine):
    file = machine.folder / "mesh-server.toml"
    file.write_text("prot = 8750\n")
    one_sentence(machine.command("dev", "--no-model"), "mesh-server.toml", "prot")


def test_serving_without_a_master_key(machine):
    one_sentence(machine.command("serve"), "master key")


def test_serving_to_the_network_without_tls(used):
    one_sentence(used.command("serve", "--host", "0.0.0.0", "--port", "0"), "TLS", "--behind-proxy")


def test_a_wrong_option_is_wrong_usage(machine):
    assert machine.command("dev", "--no-such-option").returncode == 2


@pytest.fixture
def missing_model(machine):
    """A server whose model's file is not there."""
    models = machine.folder / "models"
    models.mkdir()
    machine.environment["MESH_MODEL_DIR"] = str(models)
    machine.start("--no-model")
    return machine


def call(server, method, path, body=None, token=None, headers=None):
    """Return (status, headers, JSON) of one request, without any client's help."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    try:
        sent = {"authorization": f"Bearer {token or server.token}", "content-type": "application/json"}
        connection.request(method, path, body=body, headers=sent | (headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())
    finally:
        connection.close()


def refused(answer, status, code, *words):
    got, headers, body = answer
    assert (got, body["error"]["code"]) == (status, code), body
    assert body["success"] is False
    assert body["request_id"] == headers["x-request-id"]
    assert body["error"]["troubleshooting"]
    for word in words:
        assert word in body["error"]["message"], body


CHAT = "/api/v1/chat/completions"


def test_a_missing_model_file(missing_model):
    refused(call(missing_model, "POST", CHAT, b'{"message": "hi"}'), 400, "model_not_installed", "smollm2")


def test_a_damaged_model_file(missing_model):
    file = missing_model.folder / "models" / "smollm2-135m-instruct.gguf"
    file.write_bytes(b"GGUF" + bytes(4096))
    refused(call(missing_model, "POST", CHAT, b'{"message": "hi"}'), 503, "local_model_failed")


def test_an_unknown_model_names_near_ones(mesh_server):
    body = json.dumps({"message": "hi", "model": "smollm2-135m-instrukt"}).encode()
    refused(call(mesh_server, "POST", CHAT, body), 400, "model_not_found", "smollm2-135m-instruct")


def test_an_unknown_provider(mesh_server):
    body = json.dumps({"message": "hi", "provider": "nobody"}).encode()
    refused(call(mesh_server, "POST", CHAT, body), 400, "provider_not_found", "nobody")


@pytest.mark.parametrize("body", [b"", b"not json", b'{"message": ', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_not_json(mesh_server, body):
    refused(call(mesh_server, "POST", CHAT, body), 400, "invalid_json")


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"null", b'{"messages": "text"}', b'{"message": 5}', b"{}"])
def test_a_body_of_another_shape(mesh_server, body):
    refused(call(mesh_server, "POST", CHAT, body), 400, "invalid_request")


def test_a_body_of_30_mib(mesh_server):
    refused(call(mesh_server, "POST", CHAT, bytes(30 * 1024 * 1024)), 413, "body_too_large", "20 MiB")


def test_a_body_of_30_mib_in_chunks(mesh_server):
    chunks = (bytes(1024 * 1024) for _ in range(30))
    try:
        answer = call(mesh_server, "POST", CHAT, chunks)  # an iterator is sent in chunks
    except (BrokenPipeError, ConnectionResetError):
        pytest.fail("the connection was cut before the answer could be read")
    refused(answer, 413, "body_too_large")


@pytest.mark.parametrize("count", [1, 40])
def test_headers_of_more_than_32_kib(mesh_server, count):
    headers = {f"x-filler-{number}": "a" * (40_000 // count) for number in range(count)}
    refused(call(mesh_server, "GET", "/api/v1/keys", headers=headers), 431, "headers_too_large")


def test_an_endless_header_line(mesh_server):
    where = urlsplit(mesh_server.url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nx-endless: ")
        with pytest.raises((ConnectionError, TimeoutError)):  # noqa: PT012 - until the server has had enough
            for _ in range(1000):
                connection.sendall(b"a" * 65536)


def test_bytes_that_are_not_http(mesh_server):
    where = urlsplit(mesh_server.url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_another_host_name(mesh_server):
    refused(call(mesh_server, "GET", "/healthz", headers={"host": "evil.example"}), 421, "host_not_allowed")


@pytest.mark.parametrize(
    ("token", "code"), [("garbage", "token_invalid"), ("mesh_" + "a" * 40, "token_invalid"), (" ", "token_missing")]
)
def test_a_credential_that_is_none(mesh_server, token, code):
    refused(call(mesh_server, "GET", "/api/v1/keys", token=token), 401, code)


def test_a_revoked_token(mesh_server):
    made = call(mesh_server, "POST", "/api/v1/tokens", json.dumps({"name": "t", "scopes": ["keys:read"]}).encode())
    token, name = made[2]["token"], made[2]["id"]
    assert call(mesh_server, "GET", "/api/v1/keys", token=token)[0] == 200
    assert call(mesh_server, "DELETE", f"/api/v1/tokens/{name}")[0] == 200
    refused(call(mesh_server, "GET", "/api/v1/keys", token=token), 401, "token_revoked")


def test_a_token_without_the_scope(mesh_server):
    made = call(mesh_server, "POST", "/api/v1/tokens", json.dumps({"name": "t", "scopes": ["keys:read"]}).encode())
    token = made[2]["token"]
    refused(
        call(mesh_server, "PUT", "/api/v1/keys/a", b'{"value": "b"}', token=token), 403, "scope_missing", "keys:write"
    )
    refused(call(mesh_server, "POST", CHAT, b'{"message": "hi"}', token=token), 403, "scope_missing", "chat")


def test_a_path_that_is_not_there(mesh_server):
    refused(call(mesh_server, "GET", "/api/v1/nothing"), 404, "route_not_found")


def test_a_method_that_the_path_does_not_take(mesh_server):
    answer = call(mesh_server, "PATCH", "/api/v1/keys/a", b"{}")
    refused(answer, 405, "method_not_allowed")
    assert answer[1]["allow"] == "DELETE, GET, PUT"


def test_a_second_server_on_the_same_folder_says_that_the_port_is_taken(mesh_server):
    done = mesh_server.command("dev", "--no-model", "--port", str(urlsplit(mesh_server.url).port))
    one_sentence(done, "in use", status=5)
