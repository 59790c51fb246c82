"""The dev issuer's endpoints for programs: discovery, keys, tokens, devices, revocation, who is it."""

from typing import Any

from mesh_server.asgi import PUBLIC, Endpoint, Request, Send, send_bytes, send_json
from mesh_server.dev_issuer.errors import OAuthProblem
from mesh_server.dev_issuer.forms import (
    NO_STORE,
    check_audience,
    check_client,
    form,
    needed,
    refuse_other_sites,
    scope_of,
    send_oauth_error,
)
from mesh_server.dev_issuer.issuer import DevIssuer
from mesh_server.dev_issuer.settings import PATH
from mesh_server.dev_issuer.state import Grant


class IssuerRoutes:
    """Handlers of the issuer's endpoints for programs."""

    def __init__(self, issuer: DevIssuer) -> None:
        self._issuer = issuer

    async def discovery(self, _request: Request, send: Send) -> None:
        """Answer what this issuer offers, and where."""
        await send_json(send, self._issuer.discovery())

    async def jwks(self, _request: Request, send: Send) -> None:
        """Answer the public keys."""
        await send_json(send, await self._issuer.jwks())

    async def device_authorization(self, request: Request, send: Send) -> None:
        """Begin the login of a device (RFC 8628, section 3.1)."""
        fields = await self._fields(request)
        check_audience(fields)
        code, device = self._issuer.grants.begin_device(scope_of(fields), self._issuer.now())
        await self._issuer.save()
        url, shown = f"{self._issuer.settings.url}/device", shown_code(device.user_code)
        answer = {
            "device_code": code,
            "user_code": shown,
            "verification_uri": url,
            "verification_uri_complete": f"{url}?user_code={shown}",
            "expires_in": int(self._issuer.settings.device_life_s),
            "interval": max(1, round(device.interval_s)),
        }
        await send_json(send, answer, headers=[NO_STORE])

    async def _fields(self, request: Request) -> dict[str, str]:
        refuse_other_sites(request)
        fields = await form(request)
        check_client(fields)
        return fields

    async def token(self, request: Request, send: Send) -> None:
        """Answer tokens for a grant (RFC 6749, section 3.2)."""
        fields = await self._fields(request)
        try:
            grant = self._redeem(fields)
        except OAuthProblem as problem:
            if problem.error == "invalid_grant":
                await self._issuer.save()  # a reuse ended the login: it must stay ended after a restart
            raise
        await send_json(send, await self._issuer.tokens(grant), headers=[NO_STORE])

    def _redeem(self, fields: dict[str, str]) -> Grant:
        grants, now = self._issuer.grants, self._issuer.now()
        match needed(fields, "grant_type"):
            case "authorization_code":
                code, redirect_uri = needed(fields, "code"), needed(fields, "redirect_uri")
                return grants.redeem_code(code, redirect_uri, needed(fields, "code_verifier"), now)
            case "refresh_token":
                return grants.refresh(needed(fields, "refresh_token"), now)
            case "urn:ietf:params:oauth:grant-type:device_code":
                return grants.poll_device(needed(fields, "device_code"), now)
        raise OAuthProblem("unsupported_grant_type", "This grant type is not offered here.")

    async def revoke(self, request: Request, send: Send) -> None:
        """End the login of a refresh token (RFC 7009)."""
        fields = await self._fields(request)
        self._issuer.grants.revoke(needed(fields, "token"))
        await self._issuer.save()
        await send_bytes(send, 200, b"", [NO_STORE])

    async def userinfo(self, request: Request, send: Send) -> None:
        """Answer who the bearer of an access token is (OpenID Connect Core 1.0, section 5.3)."""
        scheme, _, token = (request.header(b"authorization") or b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise OAuthProblem("invalid_token", "Send the access token as `Authorization: Bearer`.", status=401)
        now = self._issuer.now()
        claims = self._issuer.signer.claims(token.strip(), now)
        if not self._issuer.grants.is_live(claims["sid"], now):
            raise OAuthProblem("invalid_token", "The login of this token has ended.", status=401)
        names = ("sub", "name", "email", "email_verified")
        await send_json(send, {name: claims[name] for name in names if name in claims}, headers=[NO_STORE])

    def endpoints(self) -> list[Endpoint]:
        """Return what this module serves."""
        shared: dict[str, Any] = {"access": PUBLIC, "send_error": send_oauth_error, "listed": False}
        return [
            Endpoint(method=method, path=f"{PATH}{path}", handler=handler, summary=summary, **shared)
            for method, path, handler, summary in (
                ("GET", "/.well-known/openid-configuration", self.discovery, "Discovery"),
                ("GET", "/jwks", self.jwks, "Public keys"),
                ("POST", "/device_authorization", self.device_authorization, "Begin the login of a device"),
                ("POST", "/token", self.token, "Tokens for a grant"),
                ("POST", "/revoke", self.revoke, "End a login"),
                ("GET", "/userinfo", self.userinfo, "Who it is"),
                ("POST", "/userinfo", self.userinfo, "Who it is"),
            )
        ]


def shown_code(user_code: str) -> str:
    """Return a user code as people read it."""
    return f"{user_code[:4]}-{user_code[4:]}"
