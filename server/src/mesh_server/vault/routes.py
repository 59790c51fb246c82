"""HTTP endpoints of the vault. A value is in an answer only where it was asked for by its name."""

import base64
import binascii
import re
from datetime import datetime
from typing import Annotated, Any

import msgspec

from mesh_protocol.group import DecodingError
from mesh_protocol.messages import ID_BYTES, from_text
from mesh_server.asgi import Endpoint, Parameter, Request, Send, send_json
from mesh_server.errors import InvalidRequest
from mesh_server.ids import microseconds, moment
from mesh_server.vault.models import KeyRecord, NewValue
from mesh_server.vault.service import ANYHOW, MAX_PAGE, Precondition, Vault

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class StoreKey(msgspec.Struct, forbid_unknown_fields=True):
    """A value to store: text, or bytes in base64; one of the two.

    Storing ends what could verify the old value, and every enrolment of it that is under way. `provable` spares
    enrolments that are of the new value: the one whose `enrollmentId` it is, or with `true` all of them.
    """

    value: str | None = None
    value_base64: str | None = None
    tags: dict[str, str] | None = None
    note: str | None = None
    expires_at: Moment | None = None
    provable: bool | str = False

    def __repr__(self) -> str:
        """Return nothing of the value."""
        return "<StoreKey>"


class Key(msgspec.Struct):
    """What is known of a key without its value."""

    name: str
    user_id: str | None
    version: int
    rev: int
    tags: dict[str, str]
    note: str | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None


class KeyAnswer(Key):
    """A key after a change."""

    success: bool = True


class OpenedKeyAnswer(Key):
    """A key with its value: `value` for text, `value_base64` for bytes."""

    success: bool = True
    value: str | msgspec.UnsetType = msgspec.UNSET
    value_base64: str | msgspec.UnsetType = msgspec.UNSET

    def __repr__(self) -> str:
        """Return nothing of the value."""
        return f"<OpenedKeyAnswer {self.name!r}>"


class ListedKey(Key):
    """A key in a list: `provable` where it can be verified without its value being shown."""

    provable: bool


class KeyList(msgspec.Struct):
    """A page of keys by name, and the cursor of the next page."""

    keys: list[ListedKey]
    next_cursor: str | None
    success: bool = True


class DeletedKey(msgspec.Struct):
    """A deleted key and until when the deletion can be taken back."""

    name: str
    deleted_at: datetime
    restorable_until: datetime
    success: bool = True


_store_key = msgspec.json.Decoder(StoreKey)
_NO_STORE = (b"cache-control", b"no-store")
_REVISION = re.compile(r'\s*"(\d{1,18})"\s*')

_USER_ID = Parameter(name="user_id", description="A namespace inside your own account; none by default.")
_IF_MATCH = Parameter(
    name="If-Match",
    location="header",
    description='Change the key only at this revision: `"<rev>"`, or `*` for any.',
)


class VaultRoutes:
    """Handlers of the key endpoints."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def put(self, request: Request, send: Send) -> None:
        """Store a new version of a key."""
        namespace = request.parameters("user_id").get("user_id", "")
        precondition = _precondition(request)
        body = await request.json(_store_key)
        record = await self._vault.put(
            request.principal,
            request.path_params["name"],
            _new_value(body),
            namespace=namespace,
            precondition=precondition,
        )
        await _send_record(send, record)

    async def get(self, request: Request, send: Send) -> None:
        """Answer a key with its value."""
        namespace = request.parameters("user_id").get("user_id", "")
        opened = await self._vault.get(request.principal, request.path_params["name"], namespace=namespace)
        answer = OpenedKeyAnswer(**_shown(opened.record))
        if opened.is_text:
            answer.value = opened.value.decode()
        else:
            answer.value_base64 = base64.b64encode(opened.value).decode()
        await send_json(send, answer, headers=[_NO_STORE, _etag(opened.record)])

    async def delete(self, request: Request, send: Send) -> None:
        """Delete a key, restorable for a while."""
        namespace = request.parameters("user_id").get("user_id", "")
        deleted = await self._vault.delete(
            request.principal,
            request.path_params["name"],
            namespace=namespace,
            precondition=_precondition(request),
        )
        await send_json(send, DeletedKey(deleted.name, moment(deleted.deleted_at), moment(deleted.restorable_until)))

    async def restore(self, request: Request, send: Send) -> None:
        """Take a deletion back."""
        namespace = request.parameters("user_id").get("user_id", "")
        record = await self._vault.restore(request.principal, request.path_params["name"], namespace=namespace)
        await _send_record(send, record)

    async def list_keys(self, request: Request, send: Send) -> None:
        """Answer what is known of the caller's keys, a page at a time."""
        query = request.parameters("user_id", "prefix", "tag", "limit", "cursor")
        limit = query.get("limit", str(MAX_PAGE))
        if not re.fullmatch(r"[0-9]{1,9}", limit):
            raise InvalidRequest("`limit` must be a whole number.")
        tag = query.get("tag")
        if tag is not None and ":" not in tag:
            raise InvalidRequest("`tag` must be a name and a value with `:` between them.")
        records, cursor = await self._vault.list_keys(
            request.principal,
            namespace=query.get("user_id", ""),
            prefix=query.get("prefix", ""),
            tag=None if tag is None else _pair(tag),
            limit=int(limit),
            cursor=query.get("cursor") or None,
        )
        shown = [ListedKey(**_shown(record), provable=record.provable) for record in records]
        await send_json(send, KeyList(shown, cursor), headers=[_NO_STORE])

    def endpoints(self) -> list[Endpoint]:
        """Return what this capability serves."""
        key = "/api/v1/keys/{name}"
        return [
            Endpoint(
                method="PUT",
                path=key,
                handler=self.put,
                summary="Store a key: a new one, or a new version",
                access="keys:write",
                body=StoreKey,
                answer=KeyAnswer,
                parameters=(
                    _USER_ID,
                    _IF_MATCH,
                    Parameter(
                        name="If-None-Match", location="header", description="`*`: only if there is no such key."
                    ),
                ),
                errors=("key_exists", "revision_conflict", "key_too_large", "storage_read_only"),
            ),
            Endpoint(
                method="GET",
                path=key,
                handler=self.get,
                summary="Read a key with its value",
                access="keys:read",
                answer=OpenedKeyAnswer,
                parameters=(_USER_ID,),
                errors=("key_not_found", "vault_damaged"),
            ),
            Endpoint(
                method="DELETE",
                path=key,
                handler=self.delete,
                summary="Delete a key; it can be restored for 30 days",
                access="keys:write",
                answer=DeletedKey,
                parameters=(_USER_ID, _IF_MATCH),
                errors=("key_not_found", "revision_conflict", "storage_read_only"),
            ),
            Endpoint(
                method="POST",
                path=f"{key}/restore",
                handler=self.restore,
                summary="Take a deletion back",
                access="keys:write",
                answer=KeyAnswer,
                parameters=(_USER_ID,),
                errors=("key_not_found", "key_not_deleted", "storage_read_only"),
            ),
            Endpoint(
                method="GET",
                path="/api/v1/keys",
                handler=self.list_keys,
                summary="List your keys, without values",
                access="keys:read",
                answer=KeyList,
                parameters=(
                    _USER_ID,
                    Parameter(name="prefix", description="Only names that begin with it, literally."),
                    Parameter(name="tag", description="Only keys with this tag: `name:value`."),
                    Parameter(name="limit", description=f"1 to {MAX_PAGE}.", schema=int),
                    Parameter(name="cursor", description="`next_cursor` of the page before."),
                ),
            ),
        ]


def endpoints(vault: Vault) -> list[Endpoint]:
    """Return what this capability serves."""
    return VaultRoutes(vault).endpoints()


def _pair(tag: str) -> tuple[str, str]:
    name, _, value = tag.partition(":")
    return name, value


def _precondition(request: Request) -> Precondition:
    """Read If-Match and If-None-Match (RFC 9110, section 13.1)."""
    if_match, if_none_match = request.header(b"if-match"), request.header(b"if-none-match")
    if if_none_match is not None:
        if if_none_match.strip() != b"*" or if_match is not None:
            raise InvalidRequest("`If-None-Match` takes `*` only, and not together with `If-Match`.")
        return Precondition(present=False)
    if if_match is None:
        return ANYHOW
    if if_match.strip() == b"*":
        return Precondition(present=True)
    found = [_REVISION.fullmatch(part) for part in if_match.decode("latin-1").split(",")]
    revisions = frozenset(int(match[1]) for match in found if match)
    if len(found) != sum(match is not None for match in found):
        raise InvalidRequest('`If-Match` must be `"<rev>"`, as the ETag of an answer has it, or `*`.')
    return Precondition(revisions=revisions)


def _new_value(body: StoreKey) -> NewValue:
    if (body.value is None) == (body.value_base64 is None):
        raise InvalidRequest("Send either `value` (text) or `value_base64` (bytes).")
    if body.value is not None:
        content, is_text = body.value.encode(), True
    else:
        try:
            content, is_text = base64.b64decode(body.value_base64 or "", validate=True), False
        except (binascii.Error, ValueError):
            raise InvalidRequest("`value_base64` is not base64.") from None
    return NewValue(
        value=content,
        is_text=is_text,
        tags=body.tags,
        note=body.note,
        expires_at=None if body.expires_at is None else microseconds(body.expires_at),
        provable=body.provable if isinstance(body.provable, bool) else _enrollment(body.provable),
    )


def _enrollment(text: str) -> bytes:
    try:
        return from_text(text, ID_BYTES)
    except DecodingError:
        raise InvalidRequest("`provable` must be true, false, or the `enrollmentId` of an enrolment.") from None


def _shown(record: KeyRecord) -> dict[str, Any]:
    return {
        "name": record.name,
        "user_id": record.namespace or None,
        "version": record.version,
        "rev": record.rev,
        "tags": record.tags,
        "note": record.note,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
        "expires_at": None if record.expires_at is None else moment(record.expires_at),
    }


def _etag(record: KeyRecord) -> tuple[bytes, bytes]:
    return b"etag", f'"{record.rev}"'.encode()


async def _send_record(send: Send, record: KeyRecord) -> None:
    await send_json(send, KeyAnswer(**_shown(record)), headers=[_etag(record)])
