"""HTTP endpoints of the vault. A value is in an answer only where it was asked for by its name."""

import base64
from typing import Literal

import msgspec

from mesh_server.asgi import Endpoint, Parameter, Request, Send, send_json
from mesh_server.errors import InvalidRequest
from mesh_server.ids import moment
from mesh_server.vault import grant_routes, shapes
from mesh_server.vault.models import KeyRecord
from mesh_server.vault.service import MAX_PAGE, Vault
from mesh_server.vault.shapes import IDEMPOTENCY_KEY, IF_MATCH, OWNER, USER_ID

_store_key = msgspec.json.Decoder(shapes.StoreKey)
_roll_back = msgspec.json.Decoder(shapes.RollBack)
_NO_STORE = (b"cache-control", b"no-store")
#: What any change can meet.
_CHANGE_ERRORS = ("grant_insufficient", "idempotency_mismatch", "vault_damaged", "storage_read_only")


class VaultRoutes:
    """Handlers of the key endpoints."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def put(self, request: Request, send: Send) -> None:
        """Store a new version of a key."""
        whose, precondition = shapes.whose(request), shapes.precondition(request)
        body = await request.json(_store_key)
        record = await self._vault.put(
            request.principal,
            request.path_params["name"],
            shapes.new_value(body),
            **whose,
            precondition=precondition,
            once=await shapes.once(request),
        )
        await _send_record(send, record)

    async def get(self, request: Request, send: Send) -> None:
        """Answer a key with its value."""
        whose, version = shapes.whose(request, "version"), request.query().get("version")
        opened = await self._vault.get(
            request.principal,
            request.path_params["name"],
            **whose,
            version=None if version is None else shapes.number(version, "version"),
        )
        answer = shapes.OpenedKeyAnswer(**{**shapes.shown(opened.record), "version": opened.version})
        if opened.is_text:
            answer.value = opened.value.decode()
        else:
            answer.value_base64 = base64.b64encode(opened.value).decode()
        await send_json(send, answer, headers=[_NO_STORE, _etag(opened.record)])

    async def delete(self, request: Request, send: Send) -> None:
        """Delete a key, restorable for a while."""
        deleted = await self._vault.delete(
            request.principal,
            request.path_params["name"],
            **shapes.whose(request),
            precondition=shapes.precondition(request),
            once=await shapes.once(request),
        )
        until = moment(deleted.restorable_until)
        await send_json(send, shapes.DeletedKey(deleted.name, moment(deleted.deleted_at), until))

    async def restore(self, request: Request, send: Send) -> None:
        """Take a deletion back."""
        record = await self._vault.restore(
            request.principal,
            request.path_params["name"],
            **shapes.whose(request),
            once=await shapes.once(request),
        )
        await _send_record(send, record)

    async def versions(self, request: Request, send: Send) -> None:
        """Answer a key's versions, without values."""
        name = request.path_params["name"]
        found = await self._vault.history.versions(request.principal, name, **shapes.whose(request))
        shown = [shapes.Version(**shapes.shown_version(record)) for record in found]
        await send_json(send, shapes.VersionList(name, shown), headers=[_NO_STORE])

    async def roll_back(self, request: Request, send: Send) -> None:
        """Store an earlier version's value as the newest one."""
        whose = shapes.whose(request)
        body = await request.json(_roll_back)
        record = await self._vault.history.roll_back(
            request.principal,
            request.path_params["name"],
            body.version,
            **whose,
            once=await shapes.once(request),
        )
        await _send_record(send, record)

    async def destroy(self, request: Request, send: Send) -> None:
        """Destroy a version's value for good."""
        query = request.parameters("user_id")
        destroyed = await self._vault.history.destroy(
            request.principal,
            request.path_params["name"],
            shapes.number(request.path_params["version"], "version"),
            namespace=query.get("user_id", ""),
            once=await shapes.once(request),
        )
        await send_json(send, shapes.VersionAnswer(**shapes.shown_version(destroyed)))

    async def list_keys(self, request: Request, send: Send) -> None:
        """Answer what is known of keys, a page at a time."""
        whose, query = shapes.whose(request, "prefix", "tag", "limit", "cursor"), request.query()
        tag = query.get("tag")
        if tag is not None and ":" not in tag:
            raise InvalidRequest("`tag` must be a name and a value with `:` between them.")
        records, cursor = await self._vault.list_keys(
            request.principal,
            **whose,
            prefix=query.get("prefix", ""),
            tag=None if tag is None else _pair(tag),
            limit=shapes.number(query.get("limit", str(MAX_PAGE)), "limit"),
            cursor=query.get("cursor") or None,
        )
        keys = [shapes.ListedKey(**shapes.shown(record), provable=record.provable) for record in records]
        await send_json(send, shapes.KeyList(keys, cursor), headers=[_NO_STORE])

    def endpoints(self) -> list[Endpoint]:
        """Return what this capability serves."""
        return [*self._keys(), *self._history()]

    def _keys(self) -> list[Endpoint]:
        key = "/api/v1/keys/{name}"
        if_none_match = Parameter(
            name="If-None-Match",
            location="header",
            description="`*`: only if there is no such key.",
            schema=Literal["*"],
        )
        version = Parameter(
            name="version", description="An earlier version; the current one by default.", schema=shapes.VersionNumber
        )
        return [
            Endpoint(
                method="PUT",
                path=key,
                handler=self.put,
                summary="Store a key: a new one, or a new version",
                access="keys:write",
                body=shapes.StoreKey,
                answer=shapes.KeyAnswer,
                parameters=(USER_ID, OWNER, IF_MATCH, if_none_match, IDEMPOTENCY_KEY),
                errors=("key_exists", "key_not_found", "revision_conflict", "key_too_large", *_CHANGE_ERRORS),
            ),
            Endpoint(
                method="GET",
                path=key,
                handler=self.get,
                summary="Read a key with its value",
                access="keys:read",
                answer=shapes.OpenedKeyAnswer,
                parameters=(USER_ID, OWNER, version),
                errors=(
                    *("key_not_found", "version_not_found", "version_destroyed", "grant_insufficient"),
                    *("vault_damaged", "storage_read_only"),
                ),
            ),
            Endpoint(
                method="DELETE",
                path=key,
                handler=self.delete,
                summary="Delete a key; it can be restored for a while",
                access="keys:write",
                answer=shapes.DeletedKey,
                parameters=(USER_ID, OWNER, IF_MATCH, IDEMPOTENCY_KEY),
                errors=("key_not_found", "key_exists", "revision_conflict", *_CHANGE_ERRORS),
            ),
            Endpoint(
                method="POST",
                path=f"{key}/restore",
                handler=self.restore,
                summary="Take a deletion back",
                access="keys:write",
                answer=shapes.KeyAnswer,
                parameters=(USER_ID, OWNER, IDEMPOTENCY_KEY),
                errors=("key_not_found", "key_not_deleted", *_CHANGE_ERRORS),
            ),
            Endpoint(
                method="GET",
                path="/api/v1/keys",
                handler=self.list_keys,
                summary="List keys, without values",
                access="keys:read",
                answer=shapes.KeyList,
                parameters=(
                    USER_ID,
                    OWNER,
                    Parameter(name="prefix", description="Only names that begin with it, literally."),
                    Parameter(name="tag", description="Only keys with this tag: `name:value`.", schema=shapes.TagPair),
                    Parameter(name="limit", description=f"1 to {MAX_PAGE}.", schema=shapes.PageSize),
                    Parameter(name="cursor", description="`next_cursor` of the page before."),
                ),
                errors=("vault_damaged",),
            ),
        ]

    def _history(self) -> list[Endpoint]:
        key = "/api/v1/keys/{name}"
        gone = ("key_not_found", "version_not_found", "version_in_use")
        return [
            Endpoint(
                method="GET",
                path=f"{key}/versions",
                handler=self.versions,
                summary="List a key's newest thousand versions, without values",
                access="keys:read",
                answer=shapes.VersionList,
                parameters=(USER_ID, OWNER),
                errors=("key_not_found", "grant_insufficient", "vault_damaged"),
            ),
            Endpoint(
                method="POST",
                path=f"{key}/rollback",
                handler=self.roll_back,
                summary="Store an earlier version's value as the newest one",
                access="keys:write",
                body=shapes.RollBack,
                answer=shapes.KeyAnswer,
                parameters=(USER_ID, OWNER, IDEMPOTENCY_KEY),
                errors=(*gone, "version_destroyed", *_CHANGE_ERRORS),
            ),
            Endpoint(
                method="DELETE",
                path=f"{key}/versions/{{version}}",
                handler=self.destroy,
                summary="Destroy a version's value for good",
                access="keys:write",
                answer=shapes.VersionAnswer,
                parameters=(USER_ID, IDEMPOTENCY_KEY),
                errors=(*gone, *_CHANGE_ERRORS),
            ),
        ]


def endpoints(vault: Vault) -> list[Endpoint]:
    """Return what this capability serves."""
    return [*VaultRoutes(vault).endpoints(), *grant_routes.GrantRoutes(vault.grants).endpoints()]


def _pair(tag: str) -> tuple[str, str]:
    name, _, value = tag.partition(":")
    return name, value


def _etag(record: KeyRecord) -> tuple[bytes, bytes]:
    return b"etag", f'"{record.rev}"'.encode()


async def _send_record(send: Send, record: KeyRecord) -> None:
    await send_json(send, shapes.KeyAnswer(**shapes.shown(record)), headers=[_etag(record)])
