"""An issuer on a real socket that does what a test tells it, and counts who asks."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from mesh_server.accounts.oidc.models import Issuer

AUDIENCE = "mesh-api"
CLIENT = "client-1"
RSA = RSAKey.generate_key(2048, parameters={"kid": "rsa"})  # one for all tests: making it takes a while
OTHER_RSA = RSAKey.generate_key(2048, parameters={"kid": "rsa"})
EC = ECKey.generate_key("P-256", parameters={"kid": "ec"})


@dataclass
class FakeIssuer:
    """What the issuer answers; tests change it as they go."""

    url: str = ""
    keys: list = field(default_factory=lambda: [RSA, EC])
    status: int = 200
    delay_s: float = 0.0
    document: dict = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    padding: int = 0
    token_answer: tuple[int, object] = (200, {})
    asked: list[str] = field(default_factory=list)
    forms: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)

    @property
    def configuration(self) -> Issuer:
        return Issuer(url=self.url, client_id=CLIENT, client_secret=None, audience=AUDIENCE, tenant="default")

    def configured(self, **changes) -> Issuer:
        return replace(self.configuration, **changes)

    def fetches(self, path: str = "/jwks") -> int:
        return self.asked.count(path)

    def claims(self, **changes) -> dict:
        """Return the claims of a good access token, with changes; a value of None leaves the claim out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": "auth0|ann",
            "aud": [AUDIENCE, f"{self.url}/userinfo"],
            "azp": CLIENT,
            "scope": "openid profile email offline_access",
            "iat": now,
            "exp": now + 3600,
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, *, key=RSA, header: dict | None = None, **changes) -> str:
        algorithm = "RS256" if key.key_type == "RSA" else "ES256"
        return sign({"alg": algorithm, "kid": key.kid, "typ": "JWT", **(header or {})}, self.claims(**changes), key)

    def answer(self, path: str) -> tuple[int, object]:
        if path == "/.well-known/openid-configuration":
            return self.status, {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/jwks",
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "padding": "x" * self.padding,
            } | self.document
        if path == "/jwks":
            public = [key.as_dict(private=False) if hasattr(key, "kid") else key for key in self.keys]
            return self.status, {"keys": public}
        if path == "/token":
            return self.token_answer
        return 404, {}


def sign(header: dict, claims: dict, key) -> str:
    """Return a JWT with this very header, whatever is in it."""
    registry = jwt.JWSRegistry(algorithms=["RS256", "ES256"], strict_check_header=False)
    return jwt.encode(header, claims, key, registry=registry, default_type=None)


@contextlib.asynccontextmanager
async def issuing() -> AsyncIterator[FakeIssuer]:
    """Serve an issuer for as long as the context lasts."""
    issuer = FakeIssuer()
    open_writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.add(writer)
        try:
            while line := await reader.readline():
                path, headers = line.decode().split(" ")[1], {}
                while (header := await reader.readline()) not in {b"\r\n", b""}:
                    name, _, value = header.decode().partition(":")
                    headers[name.lower()] = value.strip()
                issuer.forms.append((await reader.readexactly(int(headers.get("content-length", 0)))).decode())
                issuer.authorizations.append(headers.get("authorization", ""))
                issuer.asked.append(path)
                await asyncio.sleep(issuer.delay_s)
                status, body = issuer.answer(path)
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                extra = "".join(f"{name}: {value}\r\n" for name, value in issuer.headers.items())
                head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{extra}"
                writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            open_writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield issuer
    finally:
        server.close()
        for writer in list(open_writers):  # `close_clients` is newer than Python 3.11
            writer.close()
        await server.wait_closed()
