"""The network's faults on real sockets: the right error, the right advice, never a second execution; own transports."""

import asyncio
import datetime as dt
import socket
import ssl
import struct
import threading

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import mesh
from mesh.httpx2_transport import AsyncHttpx2Transport, Httpx2Transport

from .server import LAST, chunk, completion, slow


def half(exchange):
    exchange.head(200, content_type="application/json", content_length=1000)
    exchange.send(b'{"choices": [')
    exchange.connection.shutdown(socket.SHUT_RDWR)


def drip(exchange):
    exchange.head(200, content_type="application/json", content_length=1000)
    exchange.send(b"{")
    threading.Event().wait(2)


HTML = b"<html>Sign in to the Wi-Fi</html>"
#: What the other side does; the code that is told; how many times it may be asked at most; a word of the advice.
FAULTS = {
    "half an answer": (half, "connection_failed", "firewalls"),
    "reset after the request": (lambda exchange: exchange.reset(), "connection_failed", "firewalls"),
    "slow answer": (slow(2), "timeout", "timeout="),
    "answer that drips": (drip, "timeout", "timeout="),
    "wrong JSON": (lambda exchange: exchange.answer(200, b'{"choices": [}'), "answer_invalid", "Mesh server"),
    "HTML from a proxy": (lambda exchange: exchange.answer(200, HTML), "answer_invalid", "proxy"),
    "HTML and 403": (lambda exchange: exchange.answer(403, HTML), "answer_invalid", "proxy"),
    "HTML and 502": (lambda exchange: exchange.answer(502, HTML), "answer_invalid", "proxy"),
    "HTML and 503": (lambda exchange: exchange.answer(503, HTML, retry_after=0), "answer_invalid", "proxy"),
    "429 without a time": (
        lambda exchange: exchange.refuse("provider_rate_limited", 429),
        "provider_rate_limited",
        None,
    ),
    "503 without a time": (lambda exchange: exchange.refuse("provider_unavailable", 503), "provider_unavailable", None),
    "redirect": (
        lambda exchange: exchange.answer(307, b"", location="http://127.0.0.1:1/"),
        "answer_invalid",
        "Mesh server",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_network_is_told_and_nothing_is_done_twice(make, server, fault):
    script, code, word = FAULTS[fault]
    server.script(script)
    answer = make(timeout=0.7, max_retries=3).chat("hi")
    assert (answer.success, answer.code) == (False, code)
    assert word is None or any(word in step for step in answer.troubleshooting)
    assert len(server.asked) == 1


@pytest.mark.parametrize(("code", "status"), [("provider_rate_limited", 429), ("provider_unavailable", 503)])
def test_a_refusal_that_names_a_time_is_tried_again_with_the_same_idempotency_key(make, server, code, status):
    server.script(
        lambda exchange: exchange.refuse(code, status, retry_after=0),
        lambda exchange: exchange.answer(200, completion()),
    )
    assert make(max_retries=1).chat("hi").success
    first, second = (exchange.headers["idempotency-key"] for exchange in server.asked)
    assert first == second
    make().chat("hi")
    assert server.asked[-1].headers["idempotency-key"] != first


def test_a_name_without_an_address_says_so(make):
    answer = make("https://no-such-host.invalid", max_retries=0).chat("hi")
    assert answer.code == "host_not_found"
    assert "no-such-host.invalid" in answer.error


@pytest.fixture
def cuts_off():
    """Return the address of a server that takes the beginning of a request and then resets, and what it took."""
    listening = socket.create_server(("127.0.0.1", 0))
    taken = []

    def serve():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            taken.append(connection.recv(4096))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}", taken
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(5)


@pytest.mark.parametrize("stream", [False, True])
def test_a_reset_in_the_middle_of_a_post_is_told_and_nothing_is_sent_twice(make, cuts_off, stream):
    url, taken = cuts_off
    answer = make(url, max_retries=3).chat("x" * 16_000_000, stream=stream)
    if stream:
        answer = answer.response
    assert (answer.success, answer.code) == (False, "connection_failed")
    assert any("firewalls" in step for step in answer.troubleshooting)
    assert len(taken) == 1
    assert "xxx" not in answer.error


@pytest.mark.parametrize("method", ["get_usage", "get_budget"])
@pytest.mark.parametrize("fault", [name for name in FAULTS if "without" not in name])
def test_so_are_those_of_a_read(make, server, fault, method):
    script, code, _ = FAULTS[fault]
    server.script(script)
    assert getattr(make(timeout=0.7, max_retries=0), method)().code == code


# --- TLS ---


def issue(folder):
    """Write the certificate of an authority, and one for localhost that it signed."""
    now = dt.datetime.now(dt.UTC)
    names = {name: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "localhost")}
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in names}
    for name, extension in (
        ("authority", x509.BasicConstraints(ca=True, path_length=None)),
        ("localhost", x509.SubjectAlternativeName([x509.DNSName("localhost")])),
    ):
        made = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names["authority"])
            .public_key(keys[name].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(extension, critical=False)
            .sign(keys["authority"], hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = keys["localhost"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "localhost.key").write_bytes(private)


@pytest.fixture
def tls(tmp_path):
    """Return the address of a TLS server whose authority nobody knows, and the folder with its certificate."""
    issue(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "localhost.pem", tmp_path / "localhost.key")
    listening = socket.create_server(("127.0.0.1", 0))
    body = b'{"success": true, "models": {}}'

    def serve():
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            except OSError:
                plain.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"https://localhost:{listening.getsockname()[1]}", tmp_path
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(5)


def test_a_certificate_that_nobody_knows_is_refused_once_with_what_to_do(make, tls):
    answer = make(tls[0], max_retries=3).get_models()
    assert (answer.success, answer.code) == (False, "certificate_refused")
    assert "SSL_CERT_FILE" in answer.troubleshooting[0]


def test_an_own_authority_is_trusted_when_it_is_named(make, tls):
    assert make(tls[0], verify=tls[1] / "authority.pem").get_models().success


def test_so_it_is_by_the_environment(make, tls, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1] / "authority.pem"))
    assert make(tls[0]).get_models().success


def test_no_check_at_all_must_be_allowed(make, tls):
    with pytest.raises(ValueError, match="allow_insecure"):
        make(tls[0], verify=False)
    assert make(tls[0], verify=False, allow_insecure=True).get_models().success


@pytest.mark.parametrize("verify", [5, None, b"x"])
def test_a_verify_that_is_none_is_refused(make, verify):
    with pytest.raises(TypeError, match="verify"):
        make(verify=verify)


def test_a_verify_without_a_certificate_is_refused(make, tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ValueError, match="certificate"):
        make(verify=tmp_path / "empty.pem")
    with pytest.raises(FileNotFoundError):
        make(verify=tmp_path / "missing.pem")


# --- a caller's own client ---


class Own:
    """An httpx2 client of either kind, behind a Mesh client."""

    def __init__(self, kind, url, **arguments):
        self.kind = kind
        self.arguments = {"timeout": 1.0, "max_retries": 0, **arguments}
        self.url = url

    def __call__(self, work):
        """Run `work(client)`, which may be awaited."""
        if self.kind == "sync":
            with (
                httpx2.Client() as own,
                mesh.MeshClient(self.url, "mesh_x", transport=Httpx2Transport(own), **self.arguments) as client,
            ):
                return work(client)

        async def run():
            async with (
                httpx2.AsyncClient() as own,
                mesh.AsyncMeshClient(
                    self.url, "mesh_x", transport=AsyncHttpx2Transport(own), **self.arguments
                ) as client,
            ):
                return await work(client)

        return asyncio.run(run())


@pytest.fixture(params=["sync", "async"])
def own(request, server):
    return Own(request.param, server.url)


def test_an_own_client_sends_and_reads(own, server):
    answer = own(lambda client: client.chat("hi"))
    assert (str(answer), server.asked[0].headers["authorization"]) == ("Hello", "Bearer mesh_x")


def test_it_streams(own, server):
    server.script(lambda exchange: exchange.stream(chunk("a"), chunk("b"), chunk(finish="stop"), LAST))
    if own.kind == "sync":
        assert [piece.text for piece in own(lambda client: list(client.chat("hi", stream=True)))] == ["a", "b"]
        return

    async def work(client):
        return [piece.text async for piece in await client.chat("hi", stream=True)]

    assert own(work) == ["a", "b"]


@pytest.mark.parametrize("fault", [name for name in FAULTS if "without" not in name])
def test_its_faults_are_told_the_same(own, server, fault):
    script, code, _ = FAULTS[fault]
    server.script(script)
    assert own(lambda client: client.chat("hi")).code == code
    assert len(server.asked) == 1


def test_where_no_one_listens_nothing_was_sent(own):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        own.url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    assert own(lambda client: client.chat("hi")).code == "connection_failed"


def test_a_client_that_was_closed_says_so(server):
    closed = httpx2.Client()
    closed.close()
    assert mesh.MeshClient(server.url, "mesh_x", transport=Httpx2Transport(closed)).chat("hi").code == "client_closed"


def test_another_thing_is_no_client():
    for kind in (Httpx2Transport, AsyncHttpx2Transport):
        with pytest.raises(TypeError):
            kind(object())


def test_its_own_transport_can_be_a_function(server):
    """As people test with httpx2."""
    answered = httpx2.MockTransport(lambda request: httpx2.Response(200, json=completion("mock")))
    with httpx2.Client(transport=answered) as own_client:
        client = mesh.MeshClient("http://127.0.0.1:1", "mesh_x", transport=Httpx2Transport(own_client))
        assert str(client.chat("hi")) == "mock"
