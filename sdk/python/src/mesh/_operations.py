"""What each method does, once for both clients: plans that send requests and return results."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mesh import _answers, _requests
from mesh._plan import Plan
from mesh._register import Registration, before_chat
from mesh._send import Found, send
from mesh._transport import Reply
from mesh.errors import NotFoundError
from mesh.results import ChatResult, DeletedKey, StoredKey


@dataclass(frozen=True, slots=True)
class KeyArguments:
    """What `store_key` was told beside name and value."""

    user_id: str | None
    tags: Mapping[str, str] | None
    note: str | None
    expires_at: datetime | None
    if_rev: int | None
    if_absent: bool


def chat(
    found: Found,
    registration: Registration,
    request: _requests.Request,
    timeout: float | None,
    *,
    original: bool,
) -> Plan[ChatResult | dict[str, Any]]:
    """Chat, and return the whole answer."""
    left = yield from before_chat(found, registration, timeout)
    body = _answers.read(reply := (yield from send(found, request, left)))
    if original:
        return _answers.original(body)
    return _answers.chat_result(body, status=reply.status, request_id=reply.headers.get("x-request-id"))


def open_stream(
    found: Found, registration: Registration, request: _requests.Request, timeout: float | None
) -> Plan[Reply]:
    """Begin a streamed chat, and return the reply that has the stream."""
    yield from before_chat(found, registration, timeout)  # of a stream the timeout is a silence, not a sum
    reply = yield from send(found, request, timeout)
    if reply.stream is None:
        raise _answers.failure(reply)
    return reply


def store_request(
    name: str, value: str | bytes, arguments: KeyArguments, *, provable: str | None = None
) -> _requests.Request:
    """Return the request that stores a key."""
    return _requests.store_key(
        name,
        value,
        user_id=arguments.user_id,
        tags=arguments.tags,
        note=arguments.note,
        expires_at=arguments.expires_at,
        if_rev=arguments.if_rev,
        if_absent=arguments.if_absent,
        provable=provable,
    )


def store_key(
    found: Found, name: str, value: str | bytes, arguments: KeyArguments, *, provable: str | None = None
) -> Plan[StoredKey]:
    """Store a key; `provable` names the enrolment that is of this value."""
    request = store_request(name, value, arguments, provable=provable)
    return _answers.stored_key((yield from send(found, request, None)))


def get_key(found: Found, name: str, user_id: str | None) -> Plan[str | bytes | None]:
    """Read a key's value; None where there is no such key."""
    reply = yield from send(found, _requests.get_key(name, user_id=user_id), None)
    try:
        return _answers.key_value(reply)
    except NotFoundError as problem:
        if problem.code == "key_not_found":
            return None
        raise


def list_keys(found: Found, user_id: str | None, prefix: str | None, tag: tuple[str, str] | None) -> Plan[list[str]]:
    """List the names of all keys, page after page."""
    names: list[str] = []
    cursor: str | None = None
    while True:
        request = _requests.list_keys(user_id=user_id, prefix=prefix, tag=tag, cursor=cursor)
        page, cursor = _answers.key_names((yield from send(found, request, None)))
        names += page
        if not cursor:
            return names


def list_provable_keys(found: Found, user_id: str | None) -> Plan[list[str]]:
    """List the names that can be verified, page after page."""
    names: list[str] = []
    after: str | None = None
    while True:
        request = _requests.list_records(user_id=user_id, after=after)
        page, after = _answers.record_names((yield from send(found, request, None)))
        names += page
        if not after:
            return names


def delete_key(found: Found, name: str, user_id: str | None) -> Plan[DeletedKey]:
    """Delete a key."""
    return _answers.deleted_key((yield from send(found, _requests.delete_key(name, user_id=user_id), None)))


def restore_key(found: Found, name: str, user_id: str | None) -> Plan[StoredKey]:
    """Take a deletion back."""
    return _answers.stored_key((yield from send(found, _requests.restore_key(name, user_id=user_id), None)))
