"""The dev issuer's endpoints for people: the code of a device, signing in, being sent back.

A form is taken only from our own page in the browser that got it: by the cookie, which another site's request does not
carry, and by what the browser says of where the request comes from.
"""

import re
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlencode, urlsplit

from mesh_server.asgi import PUBLIC, Endpoint, Headers, Request, Send, send_bytes
from mesh_server.dev_issuer import pages
from mesh_server.dev_issuer.errors import OAuthProblem
from mesh_server.dev_issuer.forms import (
    check_audience,
    check_client,
    form,
    needed,
    query,
    refuse_other_sites,
    scope_of,
    send_page_error,
)
from mesh_server.dev_issuer.issuer import DevIssuer
from mesh_server.dev_issuer.routes import shown_code
from mesh_server.dev_issuer.settings import PATH
from mesh_server.dev_issuer.signin import LIFE_S, Authorization, SignIn, WrongCode
from mesh_server.dev_issuer.state import Device

#: The name to begin with.
DEFAULT_NAME = "local"
#: A native application's redirect URI: loopback, its exact path, any port (RFC 8252, section 7.3).
_REDIRECT = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\]):(\d{1,5})/callback")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
_COOKIE = "mesh-dev-issuer"
_MOST_STATE = 2048
#: Wrong device codes within `LIFE_S`, over all (RFC 8628, section 5.1).
_MOST_WRONG_DEVICES = 30


class PageRoutes:
    """Handlers of the issuer's pages."""

    def __init__(self, issuer: DevIssuer) -> None:
        self._issuer = issuer
        self._wrong_devices: list[float] = []

    # --- authorization in the browser ---

    async def authorize(self, request: Request, send: Send) -> None:
        """Begin a login in the browser (RFC 6749, section 4.1.1)."""
        _must_be_a_visit(request)
        fields = query(request)
        # First whether we may send anybody there at all: a wrong one gets a page, never a redirect.
        check_client(fields)
        redirect_uri = needed(fields, "redirect_uri")
        if not is_redirect_uri(redirect_uri):
            raise OAuthProblem(
                "invalid_request",
                "The redirect URI must be http://localhost:PORT/callback, or the same with 127.0.0.1 or [::1].",
            )
        try:
            wanted = _wanted(fields, redirect_uri)
        except OAuthProblem as problem:
            answer = {"error": problem.error, "error_description": problem.message}
            await self._send_back(send, redirect_uri, fields.get("state"), answer)
            return
        browser, cookie = _browser(request)
        sign_in = self._issuer.sign_ins.begin(wanted, browser, self._issuer.now())
        await self._ask(send, sign_in, headers=cookie)

    # --- devices ---

    async def enter_code(self, request: Request, send: Send) -> None:
        """Ask for the code that a device shows."""
        _must_be_a_visit(request)
        user_code = query(request).get("user_code", "")[:20]
        await send_bytes(send, 200, pages.device(action=f"{PATH}/device", user_code=user_code), pages.headers())

    async def found_code(self, request: Request, send: Send) -> None:
        """Take the code of a device, and ask for a sign-in."""
        refuse_other_sites(request)
        fields = await form(request)
        now = self._issuer.now()
        self._wrong_devices = [moment for moment in self._wrong_devices if moment > now - LIFE_S]
        if len(self._wrong_devices) >= _MOST_WRONG_DEVICES:
            raise OAuthProblem("slow_down", "Too many wrong codes; wait ten minutes.", status=429)
        user_code = fields.get("user_code", "")[:20]
        device = self._issuer.grants.waiting_device(user_code, now)
        if device is None:
            self._wrong_devices.append(now)
            page = pages.device(
                action=f"{PATH}/device",
                user_code=user_code,
                problem="No device waits with this code. Was it mistyped, used, or is it too old?",
            )
            await send_bytes(send, 400, page, pages.headers())
            return
        browser, cookie = _browser(request)
        sign_in = self._issuer.sign_ins.begin(device, browser, now)
        await self._ask(send, sign_in, headers=cookie)

    # --- signing in ---

    async def sign_in(self, request: Request, send: Send) -> None:
        """Take a name and the one-time code, and grant what was asked for; or deny it."""
        refuse_other_sites(request)
        fields = await form(request)
        now = self._issuer.now()
        sign_in = self._issuer.sign_ins.find(needed(fields, "sign_in"), _cookie(request) or "", now)
        if fields.get("action") != "allow":
            self._issuer.sign_ins.close(sign_in)
            await self._deny(send, sign_in.target, now)
            return
        name = fields.get("name", "").strip()
        if not _NAME.fullmatch(name):
            problem = "The name may have letters, digits and . _ @ + - only, 64 at most."
            await self._ask(send, sign_in, status=400, name=name[:64], problem=problem)
            return
        try:
            self._issuer.sign_ins.check(sign_in, fields.get("code", ""), now)
        except WrongCode as problem:
            await self._ask(send, sign_in, status=problem.status, name=name, problem=problem.message)
            return
        await self._allow(send, sign_in.target, name, now)

    async def _allow(self, send: Send, target: Authorization | Device, name: str, now: float) -> None:
        if isinstance(target, Device):
            if target.status != "waiting" or target.expires_at <= now:
                raise OAuthProblem("expired_token", "The device's code has expired, or was decided on before.")
            self._issuer.grants.decide_device(target, name, now)
            await self._issuer.save()
            text = f"The device is logged in as {name}. You can close this page and go back to it."
            await send_bytes(send, 200, pages.done(title="All set", text=text), pages.headers())
            return
        code = self._issuer.grants.issue_code(
            redirect_uri=target.redirect_uri,
            challenge=target.challenge,
            scope=target.scope,
            nonce=target.nonce,
            name=name,
            now=now,
        )
        await self._issuer.save()
        await self._send_back(send, target.redirect_uri, target.state, {"code": code})

    async def _deny(self, send: Send, target: Authorization | Device, now: float) -> None:
        if isinstance(target, Authorization):
            answer = {"error": "access_denied", "error_description": "The login was cancelled."}
            await self._send_back(send, target.redirect_uri, target.state, answer)
            return
        if target.status == "waiting":
            self._issuer.grants.decide_device(target, None, now)
            await self._issuer.save()
        text = "The device was not logged in. You can close this page."
        await send_bytes(send, 200, pages.done(title="Cancelled", text=text), pages.headers())

    async def _ask(
        self,
        send: Send,
        sign_in: SignIn,
        *,
        status: int = 200,
        name: str = DEFAULT_NAME,
        problem: str = "",
        headers: Headers = (),
    ) -> None:
        target = sign_in.target
        form_action = "'self'"
        if isinstance(target, Authorization):
            form_action += f" {_source(target.redirect_uri)}"
        page = pages.sign_in(
            action=f"{PATH}/sign-in",
            sign_in_id=sign_in.id,
            scope=target.scope,
            user_code=shown_code(target.user_code) if isinstance(target, Device) else None,
            where="a device or terminal"
            if isinstance(target, Device)
            else f"an application at {urlsplit(target.redirect_uri).netloc}",
            name=name,
            problem=problem,
        )
        await send_bytes(send, status, page, [*pages.headers(form_action=form_action), *headers])

    async def _send_back(self, send: Send, redirect_uri: str, state: str | None, answer: dict[str, str]) -> None:
        """Send the browser back to the application, saying which issuer this is (RFC 9207)."""
        if state is not None:
            answer["state"] = state
        answer["iss"] = self._issuer.settings.url
        location = f"{redirect_uri}?{urlencode(answer)}"
        # 303: the form was posted, the application is asked with GET.
        await send_bytes(send, 303, b"", [*pages.headers(), (b"location", location.encode())])

    def endpoints(self) -> list[Endpoint]:
        """Return what this module serves."""
        shared: dict[str, Any] = {"access": PUBLIC, "send_error": send_page_error, "listed": False}
        return [
            Endpoint(method=method, path=f"{PATH}{path}", handler=handler, summary=summary, **shared)
            for method, path, handler, summary in (
                ("GET", "/authorize", self.authorize, "Begin a login in the browser"),
                ("GET", "/device", self.enter_code, "Enter the code of a device"),
                ("POST", "/device", self.found_code, "Take the code of a device"),
                ("POST", "/sign-in", self.sign_in, "Sign in, or cancel"),
            )
        ]


def is_redirect_uri(text: str) -> bool:
    """Return whether the browser may be sent back there."""
    found = _REDIRECT.fullmatch(text)
    return found is not None and 0 < int(found[2]) < 65536


def _wanted(fields: dict[str, str], redirect_uri: str) -> Authorization:
    if fields.get("response_type") != "code":
        raise OAuthProblem("unsupported_response_type", "The response type here is `code`.")
    if fields.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(fields.get("code_challenge", "")):
        raise OAuthProblem("invalid_request", "PKCE with S256 is required (RFC 7636).")
    if len(fields.get("state", "")) > _MOST_STATE or len(fields.get("nonce", "")) > _MOST_STATE:
        raise OAuthProblem("invalid_request", "`state` or `nonce` is too long.")
    if fields.get("prompt") == "none":
        raise OAuthProblem("login_required", "Nobody stays signed in here: a person must type the one-time code.")
    check_audience(fields)
    return Authorization(
        redirect_uri=redirect_uri,
        state=fields.get("state"),
        scope=scope_of(fields),
        challenge=fields["code_challenge"],
        nonce=fields.get("nonce"),
    )


def _must_be_a_visit(request: Request) -> None:
    """Refuse to open a sign-in for an image or a frame in some page: a code would appear for nobody."""
    if request.header(b"sec-fetch-dest") not in {None, b"document"}:
        raise OAuthProblem("invalid_request", "This is a page of its own and nothing to embed.", status=403)


def _source(redirect_uri: str) -> str:
    """Return where the form may lead, as a source of the Content-Security-Policy; those know no IPv6 address."""
    parts = urlsplit(redirect_uri)
    return "http:" if ":" in (parts.hostname or "") else f"http://{parts.netloc}"


def _browser(request: Request) -> tuple[str, list[tuple[bytes, bytes]]]:
    """Return the cookie of this browser, and the header that sets it where it has none yet."""
    known = _cookie(request)
    if known is not None and re.fullmatch(r"[A-Za-z0-9_-]{43}", known):
        return known, []
    made = secrets.token_urlsafe()
    attributes = f"Path={PATH}; Max-Age={round(LIFE_S) * 6}; HttpOnly; SameSite=Strict"
    return made, [(b"set-cookie", f"{_COOKIE}={made}; {attributes}".encode())]


def _cookie(request: Request) -> str | None:
    try:
        cookies = SimpleCookie((request.header(b"cookie") or b"").decode("latin-1"))
    except CookieError:
        return None
    found = cookies.get(_COOKIE)
    return found.value if found is not None else None
