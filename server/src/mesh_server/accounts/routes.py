"""HTTP endpoints of accounts: the caller's profile and API tokens."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.accounts.login_routes import PREFIXES
from mesh_server.accounts.models import Principal, TokenRecord
from mesh_server.accounts.service import Accounts
from mesh_server.asgi import ANY, Endpoint, Request, Send, send_json
from mesh_server.ids import microseconds, moment

ScopeName = Literal["admin", "act-as", "chat", "keys:read", "keys:write", "verify"]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class ProfileContent(msgspec.Struct):
    """The account that the credential belongs to; `credits` are the US cents that its budgets leave."""

    id: str
    tenant: str
    email: str | None
    credits: int


class Profile(ProfileContent):
    """The account once at the top and once in `profile`: published clients read either."""

    profile: ProfileContent
    success: bool = True


class NewToken(msgspec.Struct, forbid_unknown_fields=True):
    """An API token to make."""

    name: str = ""
    scopes: list[ScopeName] | None = None
    expires_at: Moment | None = None


class Token(msgspec.Struct):
    """What is known of an API token."""

    id: str
    name: str
    hint: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None


class MadeToken(Quiet, Token):
    """A new API token with its text, which is shown this once."""

    token: str

    def __repr__(self) -> str:
        """Return everything but the text."""
        return f"<MadeToken {self.id}>"

    success: bool = True


class Tokens(msgspec.Struct):
    """The caller's API tokens, oldest first."""

    tokens: list[Token]
    success: bool = True


class Done(msgspec.Struct):
    """That something was done to an object."""

    id: str
    success: bool = True


#: Returns what a caller may still spend, as the profile tells it.
Credits = Callable[[Principal], Awaitable[int]]

_NO_STORE = (b"cache-control", b"no-store")
_new_token = msgspec.json.Decoder(NewToken)


class AccountRoutes:
    """Handlers of the account endpoints."""

    def __init__(self, accounts: Accounts, credits_of: Credits) -> None:
        self._accounts = accounts
        self._credits_of = credits_of

    async def profile(self, request: Request, send: Send) -> None:
        """Answer who is calling."""
        who = request.principal
        content = ProfileContent(who.account_id, who.tenant_id, who.email, await self._credits_of(who))
        await send_json(send, Profile(content.id, content.tenant, content.email, content.credits, content))

    async def list_tokens(self, request: Request, send: Send) -> None:
        """Answer the caller's tokens, without their text."""
        found = await self._accounts.list_tokens(request.principal)
        await send_json(send, Tokens([Token(**_shown(record)) for record in found]))

    async def create_token(self, request: Request, send: Send) -> None:
        """Make a token; the only answer that ever holds its text."""
        body = await request.json(_new_token)
        token, made = await self._accounts.issue_token(
            request.principal,
            name=body.name,
            scopes=None if body.scopes is None else frozenset(body.scopes),
            expires_at=None if body.expires_at is None else microseconds(body.expires_at),
        )
        await send_json(send, MadeToken(**_shown(made), token=token), status=201, headers=[_NO_STORE])

    async def revoke_token(self, request: Request, send: Send) -> None:
        """Revoke one of the caller's tokens."""
        token_id = request.path_params["id"]
        await self._accounts.revoke_token(request.principal, token_id)
        await send_json(send, Done(token_id))

    def endpoints(self) -> list[Endpoint]:
        """Return what this capability serves."""
        return [
            *(
                Endpoint(
                    method="GET",
                    path=f"{prefix}/profile",
                    handler=self.profile,
                    summary="Who is calling; a login's account is made on first sight",
                    access=ANY,
                    answer=Profile,
                    deprecated=prefix != PREFIXES[0],
                )
                for prefix in PREFIXES
            ),
            Endpoint(
                method="GET",
                path="/api/v1/tokens",
                handler=self.list_tokens,
                summary="List your API tokens",
                access=ANY,
                answer=Tokens,
            ),
            Endpoint(
                method="POST",
                path="/api/v1/tokens",
                handler=self.create_token,
                summary="Make an API token; its text is shown this once",
                access=ANY,
                status=201,
                body=NewToken,
                answer=MadeToken,
            ),
            Endpoint(
                method="DELETE",
                path="/api/v1/tokens/{id}",
                handler=self.revoke_token,
                summary="Revoke one of your API tokens",
                access=ANY,
                answer=Done,
                errors=("token_not_found",),
            ),
        ]


def endpoints(accounts: Accounts, credits_of: Credits) -> list[Endpoint]:
    """Return what this capability serves."""
    return AccountRoutes(accounts, credits_of).endpoints()


def _shown(record: TokenRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "hint": record.hint,
        "scopes": sorted(record.scopes),
        "created_at": moment(record.created_at),
        "expires_at": None if record.expires_at is None else moment(record.expires_at),
    }
