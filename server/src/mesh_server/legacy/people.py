"""Accounts, credits and API keys as the published clients ask for them."""

from datetime import datetime
from typing import Annotated

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.accounts.routes import Credits
from mesh_server.accounts.service import Accounts
from mesh_server.asgi import ANY, PUBLIC, Endpoint, Request, Send, send_json
from mesh_server.ids import moment
from mesh_server.legacy.refusals import MOVED, send_moved_error

_NO_STORE = (b"cache-control", b"no-store")
#: Largest body in bytes.
_MOST_BODY = 16 * 1024
#: The name of an API key that was given none.
_NAMELESS = "made by a published client"

UserId = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class OldUser(msgspec.Struct):
    """A user to be there. Members that are not named here are not looked at."""

    id: UserId


class OldUserKnown(msgspec.Struct):
    """What was asked, said back: nothing is made, and nothing is told of who is there."""

    id: UserId
    success: bool = True


class OldCredits(msgspec.Struct):
    """What the caller may still spend, in US cents."""

    credits: int
    success: bool = True


class NewOldKey(msgspec.Struct):
    """An API key to make. Members that are not named here are not looked at."""

    name: str | None = None


class OldApiKey(Quiet, msgspec.Struct):
    """An API key, whose text is shown this once."""

    api_key: str
    key_id: str
    name: str
    created_at: datetime
    expires_at: datetime | None

    def __repr__(self) -> str:
        """Return everything but the text."""
        return f"<OldApiKey {self.key_id} {self.name!r}>"


class OldApiKeyMade(Quiet, msgspec.Struct):
    """A new API key."""

    api_key: OldApiKey
    success: bool = True


_user = msgspec.json.Decoder(OldUser)
_new_key = msgspec.json.Decoder(NewOldKey)


class LegacyPeople:
    """Handlers of the endpoints.

    Args:
        accounts: makes API keys.
        credits_of: returns what a caller may still spend.
    """

    def __init__(self, accounts: Accounts, credits_of: Credits) -> None:
        self._accounts = accounts
        self._credits_of = credits_of

    async def ensure_user(self, request: Request, send: Send) -> None:
        """Say the id back. The client sends no credential, so this is nobody's request: it must do and tell nothing."""
        body = await request.json(_user, _MOST_BODY)
        await send_json(send, OldUserKnown(body.id))

    async def credits(self, request: Request, send: Send) -> None:
        """Answer the caller's own credits, whatever the path's id says: it is a name inside the caller's account."""
        await send_json(send, OldCredits(await self._credits_of(request.principal)), headers=[_NO_STORE])

    async def create_key(self, request: Request, send: Send) -> None:
        """Make an API token; with 200, since the client takes 201 for a failure and makes two more."""
        body = await request.json(_new_key, _MOST_BODY)
        token, made = await self._accounts.issue_token(
            request.principal, name=body.name or _NAMELESS, scopes=None, expires_at=None
        )
        expires_at = None if made.expires_at is None else moment(made.expires_at)
        key = OldApiKey(token, made.id, made.name, moment(made.created_at), expires_at)
        await send_json(send, OldApiKeyMade(key), headers=[_NO_STORE])

    def endpoints(self) -> list[Endpoint]:
        """Return what this module serves."""
        return [
            Endpoint(
                method="POST",
                path="/v1/mesh/users",
                handler=self.ensure_user,
                summary="Does nothing: an account is made by its first login (published clients)",
                access=PUBLIC,
                body=OldUser,
                answer=OldUserKnown,
                deprecated=True,
            ),
            Endpoint(
                method="GET",
                path="/v1/mesh/users/{id}/credits",
                handler=self.credits,
                summary="What you may still spend, in US cents (published clients)",
                access="chat",
                answer=OldCredits,
                send_error=send_moved_error,
                moved=MOVED,
                deprecated=True,
            ),
            *(
                Endpoint(
                    method="POST",
                    path=f"{prefix}/api-keys",
                    handler=self.create_key,
                    summary="Make an API token (published clients)",
                    access=ANY,
                    body=NewOldKey,
                    answer=OldApiKeyMade,
                    deprecated=True,
                )
                for prefix in ("/api/v1", "/v1/mesh")
            ),
        ]
