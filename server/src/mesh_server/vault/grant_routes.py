"""HTTP endpoints of sharing."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from mesh_server.asgi import ANY, Endpoint, Parameter, Request, Send, send_json
from mesh_server.errors import InvalidRequest
from mesh_server.ids import microseconds, moment
from mesh_server.vault.grants import Grants, NewGrant
from mesh_server.vault.models import GrantRecord
from mesh_server.vault.shapes import Moment, optional_moment

ActionName = Literal["chat", "read", "verify", "write"]


class ShareKeys(msgspec.Struct, forbid_unknown_fields=True):
    """What to share, with whom, and for what."""

    pattern: Annotated[str, msgspec.Meta(min_length=1, max_length=257)]
    grantee: Annotated[str, msgspec.Meta(min_length=1)]
    actions: Annotated[list[ActionName], msgspec.Meta(min_length=1)]
    user_id: str | None = None
    expires_at: Moment | None = None


class Grant(msgspec.Struct):
    """What `owner` lets `grantee` do with the keys whose names fit `pattern`."""

    id: str
    owner: str
    user_id: str | None
    pattern: str
    grantee: str
    grantee_kind: Literal["account", "token"]
    actions: list[str]
    created_at: datetime
    expires_at: datetime | None


class MadeGrant(Grant):
    """A new grant."""

    success: bool = True


class GrantList(msgspec.Struct):
    """Grants, oldest first."""

    grants: list[Grant]
    success: bool = True


class RevokedGrant(msgspec.Struct):
    """A grant that is no longer there."""

    id: str
    success: bool = True


_share_keys = msgspec.json.Decoder(ShareKeys)


class GrantRoutes:
    """Handlers of the grant endpoints."""

    def __init__(self, grants: Grants) -> None:
        self._grants = grants

    async def list_grants(self, request: Request, send: Send) -> None:
        """Answer what the caller shares, or what is shared with the caller."""
        direction = request.parameters("direction").get("direction", "given")
        if direction not in {"given", "received"}:
            raise InvalidRequest("`direction` is `given` or `received`.")
        find = self._grants.given if direction == "given" else self._grants.received
        await send_json(send, GrantList([Grant(**_shown(grant)) for grant in await find(request.principal)]))

    async def give(self, request: Request, send: Send) -> None:
        """Share keys."""
        body = await request.json(_share_keys)
        made = await self._grants.give(
            request.principal,
            NewGrant(
                pattern=body.pattern,
                grantee=body.grantee,
                actions=frozenset(body.actions),
                namespace=body.user_id or "",
                expires_at=None if body.expires_at is None else microseconds(body.expires_at),
            ),
        )
        await send_json(send, MadeGrant(**_shown(made)), status=201)

    async def revoke(self, request: Request, send: Send) -> None:
        """Take a grant back."""
        grant_id = request.path_params["id"]
        await self._grants.revoke(request.principal, grant_id)
        await send_json(send, RevokedGrant(grant_id))

    def endpoints(self) -> list[Endpoint]:
        """Return what this capability serves."""
        path = "/api/v1/grants"
        direction = Parameter(
            name="direction",
            description="`given`, the default: by you; `received`: to you or to your token.",
            schema=Literal["given", "received"],
        )
        return [
            Endpoint(
                method="GET",
                path=path,
                handler=self.list_grants,
                summary="List what you share, or what is shared with you",
                access=ANY,
                answer=GrantList,
                parameters=(direction,),
                errors=("vault_damaged",),
            ),
            Endpoint(
                method="POST",
                path=path,
                handler=self.give,
                summary="Share a key, or all keys whose names begin alike",
                access=ANY,
                status=201,
                body=ShareKeys,
                answer=MadeGrant,
                errors=("grantee_not_found", "vault_damaged", "storage_read_only"),
            ),
            Endpoint(
                method="DELETE",
                path=f"{path}/{{id}}",
                handler=self.revoke,
                summary="Take a grant back",
                access=ANY,
                answer=RevokedGrant,
                errors=("grant_not_found", "vault_damaged", "storage_read_only"),
            ),
        ]


def _shown(grant: GrantRecord) -> dict[str, Any]:
    return {
        "id": grant.id,
        "owner": grant.owner_id,
        "user_id": grant.namespace or None,
        "pattern": grant.pattern,
        "grantee": grant.grantee_id,
        "grantee_kind": grant.grantee_kind,
        "actions": sorted(grant.actions),
        "created_at": moment(grant.created_at),
        "expires_at": optional_moment(grant.expires_at),
    }
