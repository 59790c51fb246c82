"""The device login of `mesh-sdk`, at an issuer as it needs one: over HTTPS, at Auth0's paths."""

import json
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import RSAKey

from ..conftest import new_machine
from .published import MODULE, Published, values

CLIENT_ID, AUDIENCE = "client-1", "mesh-api"
SIGNING = RSAKey.generate_key(2048, parameters={"kid": "k"})


class Auth0(BaseHTTPRequestHandler):
    """Lets the second question for a token succeed."""

    protocol_version = "HTTP/1.1"

    @property
    def issuer(self):
        return f"https://localhost:{self.server.server_port}/"

    def do_GET(self):
        documents = {
            "/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}jwks",
                "authorization_endpoint": f"{self.issuer}authorize",
                "token_endpoint": f"{self.issuer}oauth/token",
                "device_authorization_endpoint": f"{self.issuer}oauth/device/code",
            },
            "/jwks": {"keys": [SIGNING.as_dict(private=False)]},
        }
        self.answer(200 if self.path in documents else 404, documents.get(self.path, {}))

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        self.server.asked.append((self.path, form))
        if self.path == "/oauth/device/code":
            page = f"{self.issuer}activate?user_code=AB"
            codes = {"device_code": "d", "user_code": "AB", "interval": 1, "expires_in": 60}
            self.answer(200, codes | {"verification_uri": page, "verification_uri_complete": page})
        elif [path for path, _ in self.server.asked].count("/oauth/token") == 1:
            self.answer(400, {"error": "authorization_pending"})
        else:
            self.answer(200, {"access_token": self.token(), "expires_in": 3600, "refresh_token": "r-1"})

    def token(self):
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": "auth0|ada", "aud": [AUDIENCE], "azp": CLIENT_ID, "iat": now}
        return jwt.encode({"alg": "RS256", "kid": "k"}, claims | {"exp": now + 3600, "scope": "openid"}, SIGNING)

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def certificate(folder):
    """Write a certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*private))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def issuer(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Auth0) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(tmp_path))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def machine(issuer, tmp_path):
    made = new_machine(
        tmp_path,
        AUTH0_DOMAIN=f"localhost:{issuer.server_port}",
        AUTH0_CLIENT_ID=CLIENT_ID,
        AUTH0_AUDIENCE=AUDIENCE,
        SSL_CERT_FILE=str(tmp_path / "cert.pem"),
    )
    made.start("--no-model")
    yield made
    assert made.stop() == 0, made.log.read_text()


def test_a_device_login_makes_an_account_and_an_api_key(sdk_python, machine, issuer, tmp_path):
    made = Published(sdk_python, tmp_path / "person", machine.url)
    made.environment["REQUESTS_CA_BUNDLE"] = str(tmp_path / "cert.pem")
    token, stored, value, key = values(
        made.run(
            MODULE.authenticate(headless=True),
            MODULE.store_key("k", "v"),
            MODULE.get_key("k"),
            MODULE.get_key("MESH_API_KEY"),
        )
    )
    assert token["refresh_token"] == "r-1"
    assert (stored["success"], value) == (True, "v")
    assert json.loads(key)["api_key"].startswith("mesh_")  # it makes one at every such login, and stores it
    asked = [form for path, form in issuer.asked if path == "/oauth/device/code"]
    assert [(form["client_id"], form["audience"]) for form in asked] == [([CLIENT_ID], [AUDIENCE])]
