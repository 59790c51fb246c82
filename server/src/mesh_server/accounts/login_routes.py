"""HTTP endpoints of a login: what a client must know of the issuer, and help for those that leave it to us.

Each is at three addresses, since the published clients ask at all of them.
"""

from typing import Any

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.accounts.oidc.exchange import Exchange
from mesh_server.accounts.oidc.models import LOGIN_SCOPE
from mesh_server.asgi import ANY, PUBLIC, Endpoint, Handler, Request, Send, send_json
from mesh_server.ratelimit import AddressLimit

#: Where the endpoints of a login are; the first is theirs, the others are those of published clients.
PREFIXES = ("/api/v1/auth", "/auth", "/v1/mesh/auth")
#: Largest body in bytes; a code or a refresh token is a few KiB at most.
_MOST_BODY = 32 * 1024
_NO_STORE = (b"cache-control", b"no-store")


class LoginConfig(msgspec.Struct):
    """What a client needs for a login at this server's issuer."""

    issuer: str
    domain: str
    client_id: str
    audience: str
    flows: list[str]
    scope: str
    success: bool = True


class WantedURL(Quiet, msgspec.Struct):
    """A login in the browser that a client is about to begin."""

    redirect_uri: str
    state: str
    scope: str | None = None
    code_challenge: str | None = None


class AuthURL(msgspec.Struct):
    """Where to send the browser."""

    auth_url: str
    success: bool = True


class WantedTokens(Quiet, msgspec.Struct):
    """An authorization code that came back through the browser."""

    code: str
    redirect_uri: str
    code_verifier: str | None = None


class WantedRefresh(Quiet, msgspec.Struct):
    """A refresh token to be used."""

    refresh_token: str


class LoginTokens(Quiet, msgspec.Struct, omit_defaults=True):
    """Tokens as the issuer gave them out."""

    success: bool
    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str | None = None
    id_token: str | None = None
    scope: str | None = None


class Valid(msgspec.Struct):
    """That the credential is accepted."""

    valid: bool = True
    success: bool = True


_wanted_url = msgspec.json.Decoder(WantedURL)
_wanted_tokens = msgspec.json.Decoder(WantedTokens)
_wanted_refresh = msgspec.json.Decoder(WantedRefresh)


class LoginRoutes:
    """Handlers of the login's endpoints."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        # Nobody has to be known here, so each address gets only as much as a few people on it can use.
        self._limit = AddressLimit(burst=30, every_s=2.0)

    async def config(self, _request: Request, send: Send) -> None:
        """Answer where and how to log in."""
        issuer = self._exchange.issuer()
        config = LoginConfig(
            issuer=await self._exchange.issuer_id(),
            domain=issuer.domain,
            client_id=issuer.client_id,
            audience=issuer.audience,
            flows=list(issuer.flows),
            scope=LOGIN_SCOPE,
        )
        await send_json(send, config)

    async def auth_url(self, request: Request, send: Send) -> None:
        """Answer where to send the browser."""
        self._limit.take(request.address)
        wanted = await request.json(_wanted_url, _MOST_BODY)
        url = await self._exchange.authorization_url(
            redirect_uri=wanted.redirect_uri,
            state=wanted.state,
            scope=wanted.scope,
            code_challenge=wanted.code_challenge,
        )
        await send_json(send, AuthURL(url))

    async def exchange_token(self, request: Request, send: Send) -> None:
        """Answer the tokens for a code."""
        self._limit.take(request.address)
        wanted = await request.json(_wanted_tokens, _MOST_BODY)
        made = await self._exchange.code(
            code=wanted.code, redirect_uri=wanted.redirect_uri, code_verifier=wanted.code_verifier
        )
        await send_json(send, LoginTokens(success=True, **made), headers=[_NO_STORE])

    async def refresh_token(self, request: Request, send: Send) -> None:
        """Answer new tokens for a refresh token, which is always among them."""
        self._limit.take(request.address)
        wanted = await request.json(_wanted_refresh, _MOST_BODY)
        made = await self._exchange.refresh(wanted.refresh_token)
        await send_json(send, LoginTokens(success=True, **made), headers=[_NO_STORE])

    async def validate(self, _request: Request, send: Send) -> None:
        """Answer that the credential is good: it was checked on the way here."""
        await send_json(send, Valid())

    def endpoints(self) -> list[Endpoint]:
        """Return what this module serves."""
        public: dict[str, Any] = {"access": PUBLIC, "errors": ("login_not_configured",)}
        helper: dict[str, Any] = {
            "access": PUBLIC,
            "errors": ("login_not_configured", "login_refused", "issuer_unavailable", "rate_limited"),
        }
        return [
            *_everywhere("GET", "config", self.config, "Where and how to log in", answer=LoginConfig, **public),
            *_everywhere(
                "POST",
                "get-auth-url",
                self.auth_url,
                "Where to send the browser for a login",
                body=WantedURL,
                answer=AuthURL,
                **helper,
            ),
            *_everywhere(
                "POST",
                "exchange-token",
                self.exchange_token,
                "Tokens for an authorization code",
                body=WantedTokens,
                answer=LoginTokens,
                **helper,
            ),
            *_everywhere(
                "POST",
                "refresh-token",
                self.refresh_token,
                "New tokens for a refresh token",
                body=WantedRefresh,
                answer=LoginTokens,
                **helper,
            ),
            *_everywhere("GET", "validate", self.validate, "Is this credential good?", answer=Valid, access=ANY),
        ]


def endpoints(exchange: Exchange) -> list[Endpoint]:
    """Return what this module serves."""
    return LoginRoutes(exchange).endpoints()


def _everywhere(method: str, name: str, handler: Handler, summary: str, **more: Any) -> list[Endpoint]:
    return [
        Endpoint(
            method=method,
            path=f"{prefix}/{name}",
            handler=handler,
            summary=summary,
            deprecated=prefix != PREFIXES[0],
            **more,
        )
        for prefix in PREFIXES
    ]
