"""Bodies and answers of the key endpoints, and how a request's parameters are read."""

import base64
import binascii
import re
from datetime import datetime
from typing import Annotated, Any

import msgspec

from mesh_protocol.group import DecodingError
from mesh_protocol.messages import ID_BYTES, from_text
from mesh_protocol.quiet import Quiet
from mesh_server.asgi import Parameter, Request
from mesh_server.errors import InvalidRequest
from mesh_server.ids import microseconds, moment
from mesh_server.vault.checks import ANYHOW, Precondition
from mesh_server.vault.idempotency import Once
from mesh_server.vault.models import KeyRecord, NewValue, VersionRecord
from mesh_server.vault.service import MAX_PAGE

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
PageSize = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]
VersionNumber = Annotated[int, msgspec.Meta(ge=1, le=999_999_999)]
TagPair = Annotated[str, msgspec.Meta(pattern="^[^:]*:")]


class StoreKey(Quiet, msgspec.Struct, forbid_unknown_fields=True):
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


class RollBack(msgspec.Struct, forbid_unknown_fields=True):
    """The version whose value becomes the newest one."""

    version: VersionNumber


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


class OpenedKeyAnswer(Quiet, Key):
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


class Version(msgspec.Struct):
    """One version of a key without its value; `kind` is `text` or `bytes`."""

    version: int
    kind: str
    created_at: datetime
    destroyed_at: datetime | None
    current: bool


class VersionList(msgspec.Struct):
    """The versions of a key, newest first."""

    name: str
    versions: list[Version]
    success: bool = True


class VersionAnswer(Version):
    """A version after a change."""

    success: bool = True


_REVISION = re.compile(r'\s*"(\d{1,18})"\s*')
_ID = re.compile(r"[0-9a-f-]{1,36}")
_IDEMPOTENCY_KEY = re.compile(rb"[\x21-\x7e]{1,255}")

USER_ID = Parameter(name="user_id", description="A namespace inside the account that holds the key; none by default.")
OWNER = Parameter(
    name="owner",
    description="The account that shares the key with you; yourself by default.",
    schema=Annotated[str, msgspec.Meta(max_length=36, pattern="^[0-9a-f-]*$")],
)
IF_MATCH = Parameter(
    name="If-Match",
    location="header",
    description='Change the key only at this revision: `"<rev>"`, or `*` for any.',
    schema=Annotated[str, msgspec.Meta(pattern=r'^(\*|"[0-9]{1,18}"(, *"[0-9]{1,18}")*)$')],
)
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    location="header",
    description="1 to 255 visible characters. The same request with the same key is done once within 24 hours.",
    schema=Annotated[str, msgspec.Meta(pattern="^[!-~]{1,255}$")],
)


def whose(request: Request, *names: str) -> dict[str, Any]:
    """Return namespace and owner as the vault's methods take them."""
    query = request.parameters("user_id", "owner", *names)
    return {"namespace": query.get("user_id", ""), "owner": account_id(query.get("owner"), "owner")}


def account_id(text: str | None, what: str) -> str | None:
    """Return an account's id from a query; empty counts as not given.

    Raises:
        InvalidRequest: if it can't be one.
    """
    if text and not _ID.fullmatch(text):
        raise InvalidRequest(f"`{what}` is the id of an account.")
    return text or None


def number(text: str, what: str) -> int:
    """Return a whole number of a query or a path.

    Raises:
        InvalidRequest: if it is none.
    """
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InvalidRequest(f"`{what}` must be a whole number.")
    return int(text)


async def once(request: Request) -> Once | None:
    """Return what makes a retry of this request the same request; None where it has no `Idempotency-Key`."""
    key = request.header(b"idempotency-key")
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest("`Idempotency-Key` has 1 to 255 visible ASCII characters.")
    parts = (
        request.scope["method"].encode(),
        request.scope["raw_path"],
        request.scope["query_string"],
        request.header(b"if-match") or b"",
        request.header(b"if-none-match") or b"",
        await request.body(),
    )
    return Once(key.decode("ascii"), b"".join(len(part).to_bytes(8, "little") + part for part in parts))


def precondition(request: Request) -> Precondition:
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


def new_value(body: StoreKey) -> NewValue:
    """Return the value of a body."""
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


def shown(record: KeyRecord) -> dict[str, Any]:
    """Return the fields of a key."""
    return {
        "name": record.name,
        "user_id": record.namespace or None,
        "version": record.version,
        "rev": record.rev,
        "tags": record.tags,
        "note": record.note,
        "created_at": moment(record.created_at),
        "updated_at": moment(record.updated_at),
        "expires_at": optional_moment(record.expires_at),
    }


def shown_version(record: VersionRecord) -> dict[str, Any]:
    """Return the fields of a version."""
    return {
        "version": record.version,
        "kind": "text" if record.is_text else "bytes",
        "created_at": moment(record.created_at),
        "destroyed_at": optional_moment(record.destroyed_at),
        "current": record.is_current,
    }


def optional_moment(microseconds_: int | None) -> datetime | None:
    """Return a moment, or None for none."""
    return None if microseconds_ is None else moment(microseconds_)
