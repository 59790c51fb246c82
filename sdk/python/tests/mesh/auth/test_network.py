"""Certificate authorities of a company, and proxies: a login goes the way that the environment says."""

import datetime as dt
import http.server
import ipaddress
import os
import ssl
import subprocess
import sys
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DISCOVER = """
import sys
from mesh._plan import drive
from mesh._transport import HTTPTransport
from mesh.auth import discovery
from mesh.auth.overrides import Overrides
from mesh.errors import MeshError
transport = HTTPTransport()
try:
    given = Overrides(domain=sys.argv[1], client_id="c", audience="a")
    found = drive(discovery.discover("http://127.0.0.1:9", given), transport)
    print("issuer:", found.issuer)
except MeshError as problem:
    print("refused:", problem.code)
transport.close()
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority of a test, and a server certificate of it."""
    folder = tmp_path_factory.mktemp("ca")
    key, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
    now = dt.datetime.now(dt.UTC)

    def signed(subject, public, *extensions):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(9))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    (folder / "ca.pem").write_bytes(
        signed(name, key.public_key(), (x509.BasicConstraints(ca=True, path_length=0), True))
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    (folder / "server.pem").write_bytes(
        signed(subject, leaf.public_key(), (names, False), (x509.BasicConstraints(ca=False, path_length=None), True))
        + leaf.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder


def serving(handler, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


@pytest.fixture
def secure_issuer(authority):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            url = f"https://127.0.0.1:{self.server.server_address[1]}/"
            body = f'{{"issuer": "{url}", "token_endpoint": "{url}token"}}'.encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "server.pem")
    server = serving(Handler, context)
    yield f"https://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def discover(url, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    done = subprocess.run(
        [sys.executable, "-c", DISCOVER, url], env=kept | environment, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip() or done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system's own store decides")
def test_an_authority_of_a_company_is_trusted_where_ssl_cert_file_names_it(secure_issuer, authority):
    assert discover(secure_issuer) == "refused: login_unavailable"
    assert discover(secure_issuer, SSL_CERT_FILE=str(authority / "ca.pem")) == f"issuer: {secure_issuer}"


def test_a_proxy_is_used_for_others_and_never_for_this_machine(issuer):
    asked = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self):
            asked.append(self.path)
            self.send_error(502)

        def log_message(self, *_):
            pass

    proxy = serving(Proxy)
    address = f"http://127.0.0.1:{proxy.server_address[1]}"
    try:
        assert discover("https://issuer.example.com/", HTTPS_PROXY=address) == "refused: login_unavailable"
        assert asked[0] == "issuer.example.com:443"
        assert discover(issuer.url, HTTPS_PROXY=address, HTTP_PROXY=address) == f"issuer: {issuer.issuer}"
        assert set(asked) == {"issuer.example.com:443"}
    finally:
        proxy.shutdown()
        proxy.server_close()
