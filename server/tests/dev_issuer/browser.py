"""A person with a browser, who follows the dev issuer's pages as HTML without JavaScript; and a program."""

import base64
import json
import re
from dataclasses import dataclass, field
from html import unescape
from urllib.parse import parse_qs, urlencode, urlsplit

from pyreqwest.client import ClientBuilder

from mesh_server.dev_issuer.grants import s256

CLIENT = "mesh-dev"
SCOPE = "openid profile email offline_access"


@dataclass
class Page:
    """What a browser shows."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def hidden(self) -> str:
        return unescape(re.search(r'name="sign_in" value="([^"]+)"', self.text)[1])

    @property
    def action(self) -> str:
        return unescape(re.search(r'action="([^"]+)"', self.text)[1])

    @property
    def answer(self) -> dict[str, str]:
        """The query that the browser is sent back with."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.headers["location"]).query).items()}


@dataclass
class Person:
    """Reads codes off the console, and keeps one browser's cookies.

    Attributes:
        codes: what the console shows; the last one counts.
    """

    url: str
    codes: list[str]
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    async def go(self, url: str) -> Page:
        return await self._send("GET", url)

    async def submit(self, page: Page, **fields: str) -> Page:
        return await self._send("POST", self.origin + page.action, urlencode(fields).encode())

    async def sign_in(self, page: Page, name: str = "ann", code: str | None = None, action: str = "allow") -> Page:
        fields = {"name": name, "code": self.codes[-1] if code is None else code, "action": action}
        return await self.submit(page, sign_in=page.hidden, **fields)

    async def _send(self, method: str, url: str, body: bytes | None = None) -> Page:
        async with ClientBuilder().no_proxy().follow_redirects(enable=False).build() as client:
            request = client.request(method, url)
            sent = {"cookie": self.cookie} if self.cookie else {}
            if body is not None:
                sent |= {"content-type": "application/x-www-form-urlencoded", "origin": self.origin}
                request = request.body_bytes(body)
            for name, value in (sent | self.headers).items():
                request = request.header(name, value)
            response = await request.build().send()
            headers = dict(response.headers.items())
            if "set-cookie" in headers:
                self.cookie = headers["set-cookie"].partition(";")[0]
            return Page(response.status, headers, await response.text())


async def post(url: str, **form: str) -> tuple[int, dict]:
    """Send a form as a program does."""
    async with ClientBuilder().no_proxy().build() as client:
        response = await client.post(url).form(form).build().send()
        text = await response.text()
        return response.status, json.loads(text) if text else {}


async def get(url: str, **headers: str) -> tuple[int, dict]:
    async with ClientBuilder().no_proxy().build() as client:
        request = client.get(url)
        for name, value in headers.items():
            request = request.header(name, value)
        response = await request.build().send()
        return response.status, await response.json()


VERIFIER = "v" * 43
REDIRECT = "http://localhost:45678/callback"
ASKED = {
    "response_type": "code",
    "client_id": CLIENT,
    "redirect_uri": REDIRECT,
    "scope": SCOPE,
    "audience": "mesh",
    "state": "s&t",
    "nonce": "n-1",
    "code_challenge": s256(VERIFIER),
    "code_challenge_method": "S256",
}


def authorize(url: str, **changes: str | None) -> str:
    asked = {name: value for name, value in (ASKED | changes).items() if value is not None}
    return f"{url}/authorize?{urlencode(asked)}"


def claims(token: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


async def redeem(url: str, code: str, **changes: str) -> tuple[int, dict]:
    form = {"grant_type": "authorization_code", "client_id": CLIENT, "code": code, "redirect_uri": REDIRECT}
    return await post(f"{url}/token", **(form | {"code_verifier": VERIFIER} | changes))


async def begin_device(url: str) -> dict:
    _, begun = await post(f"{url}/device_authorization", client_id=CLIENT, scope=SCOPE, audience="mesh")
    return begun


async def poll(url: str, begun: dict) -> tuple[int, dict]:
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    return await post(f"{url}/token", grant_type=grant, client_id=CLIENT, device_code=begun["device_code"])


async def log_in(person: Person, name: str = "ann") -> dict:
    page = await person.sign_in(await person.go(authorize(person.url)), name)
    return (await redeem(person.url, page.answer["code"]))[1]
