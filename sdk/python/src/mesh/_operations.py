"""What each method does, once for both clients: plans that send requests and return results."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mesh import _answers, _billing, _requests
from mesh._endpoints import reach
from mesh._plan import Plan
from mesh._register import Registration, before_chat
from mesh._send import Found, Ready
from mesh._transport import Reply
from mesh.errors import MeshError, local_error
from mesh.models.catalog import Model, bundled, usable
from mesh.models.choose import Aim, choose
from mesh.results import (
    ChatResult,
    DeletedKey,
    Grant,
    KeyInfo,
    KeyTest,
    KeyVersion,
    ModelList,
    Result,
    StoredKey,
)
from mesh.usage import Budget, UsageReport

if TYPE_CHECKING:
    from mesh.keys.cache import KeyCache

#: Seconds for which a client believes what the server said of its models.
_KNOWN_S = 300.0


@dataclass(frozen=True, slots=True)
class KeyArguments:
    """What `store_key` was told beside name and value."""

    user_id: str | None
    tags: Mapping[str, str] | None
    note: str | None
    expires_at: datetime | None
    if_rev: int | None
    if_absent: bool
    owner: str | None = None


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
    reply = yield from reach(found, request, left)
    body = _answers.read(reply)
    if original:
        return _answers.original(body)
    return _answers.chat_result(body, reply)


def open_stream(
    found: Found, registration: Registration, request: _requests.Request, timeout: float | None
) -> Plan[Reply]:
    """Begin a streamed chat, and return the reply that has the stream."""
    yield from before_chat(found, registration, timeout)  # of a stream the timeout is a silence, not a sum
    reply = yield from reach(found, request, timeout)
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
        owner=arguments.owner,
    )


def store_key(
    found: Found,
    name: str,
    value: str | bytes,
    arguments: KeyArguments,
    *,
    provable: str | None = None,
    cache: "KeyCache | None" = None,
) -> Plan[StoredKey]:
    """Store a key; `provable` names the enrolment that is of this value."""
    request = store_request(name, value, arguments, provable=provable)
    stored = _answers.stored_key((yield from reach(found, request, None)))
    yield from forget(found, cache, name, arguments.user_id, arguments.owner)
    return stored


def get_key(
    found: Found,
    name: str,
    user_id: str | None,
    *,
    owner: str | None = None,
    version: int | None = None,
    cache: "KeyCache | None" = None,
) -> Plan[str | bytes | None]:
    """Read a key's value; None where there is no such key. With a cache, a value read before may stand in for it."""
    request = _requests.on_key("GET", name, user_id=user_id, owner=owner, version=version)
    where = (user_id or "", owner or "", name)
    if version is not None or isinstance(found, MeshError):
        cache = None
    try:
        reply = yield from reach(found, request, None)
        value = _answers.key_value(reply)
    except MeshError as problem:
        if cache is not None and isinstance(found, Ready):
            kept = yield from cache.after(found, where, problem)
            if kept is not None:
                return kept
        if problem.code == "key_not_found":
            return None
        raise
    if cache is not None and isinstance(found, Ready):
        yield from cache.keep(found, where, value, _answers.read(reply).get("expires_at"))
    return value


def forget(found: Found, cache: "KeyCache | None", name: str, user_id: str | None, owner: str | None) -> Plan[None]:
    """Take a value out of the cache: it was changed."""
    if cache is not None and isinstance(found, Ready):
        yield from cache.forget(found, (user_id or "", owner or "", name))


def list_keys(
    found: Found, user_id: str | None, prefix: str | None, tag: tuple[str, str] | None, owner: str | None = None
) -> Plan[list[str]]:
    """List the names of all keys, page after page."""
    return [key["name"] for key in (yield from find_keys(found, user_id, prefix, tag, owner))]


def find_keys(
    found: Found, user_id: str | None, prefix: str | None, tag: tuple[str, str] | None, owner: str | None = None
) -> Plan[list[KeyInfo]]:
    """List what is known of all keys, page after page."""
    keys: list[KeyInfo] = []
    cursor: str | None = None
    while True:
        request = _requests.list_keys(user_id=user_id, prefix=prefix, tag=tag, cursor=cursor, owner=owner)
        page, cursor = _answers.keys((yield from reach(found, request, None)))
        keys += page
        if not cursor:
            return keys


def list_provable_keys(found: Found, user_id: str | None) -> Plan[list[str]]:
    """List the names that can be verified, page after page."""
    names: list[str] = []
    after: str | None = None
    while True:
        request = _requests.list_records(user_id=user_id, after=after)
        page, after = _answers.record_names((yield from reach(found, request, None)))
        names += page
        if not after:
            return names


def delete_key(
    found: Found, name: str, user_id: str | None, *, owner: str | None = None, cache: "KeyCache | None" = None
) -> Plan[DeletedKey]:
    """Delete a key."""
    request = _requests.on_key("DELETE", name, user_id=user_id, owner=owner)
    deleted = _answers.deleted_key((yield from reach(found, request, None)))
    yield from forget(found, cache, name, user_id, owner)
    return deleted


def restore_key(found: Found, name: str, user_id: str | None, *, owner: str | None = None) -> Plan[StoredKey]:
    """Take a deletion back."""
    request = _requests.on_key("POST", name, "/restore", user_id=user_id, owner=owner)
    return _answers.stored_key((yield from reach(found, request, None)))


def key_versions(found: Found, name: str, user_id: str | None, owner: str | None) -> Plan[list[KeyVersion]]:
    """List a key's versions."""
    request = _requests.on_key("GET", name, "/versions", user_id=user_id, owner=owner)
    return _answers.members((yield from reach(found, request, None)), "versions", KeyVersion)


def rollback_key(
    found: Found, name: str, version: int, user_id: str | None, *, owner: str | None, cache: "KeyCache | None"
) -> Plan[StoredKey]:
    """Make an earlier version's value the newest."""
    if isinstance(version, bool) or not isinstance(version, int):
        raise TypeError(f"version must be an int, not {type(version).__name__}")
    request = _requests.on_key("POST", name, "/rollback", user_id=user_id, owner=owner, body={"version": version})
    stored = _answers.stored_key((yield from reach(found, request, None)))
    yield from forget(found, cache, name, user_id, owner)
    return stored


def test_key(found: Found, name: str, provider: str | None, owner: str | None) -> Plan[KeyTest]:
    """Let the server ask the provider about a key."""
    body = {} if provider is None else {"provider": provider}
    request = _requests.on_key("POST", name, "/test", user_id=None, owner=owner, body=body)
    return KeyTest(_answers.read((yield from reach(found, request, None))))


def share_keys(found: Found, request: _requests.Request) -> Plan[Grant]:
    """Share keys."""
    return Grant(_answers.read((yield from reach(found, request, None))))


def unshare_keys(found: Found, grant_id: str) -> Plan[Result]:
    """Take a grant back."""
    return Result(_answers.read((yield from reach(found, _requests.unshare(grant_id), None))))


def list_grants(found: Found, direction: str) -> Plan[list[Grant]]:
    """List grants."""
    if direction not in {"given", "received"}:
        raise ValueError(f"direction must be 'given' or 'received', not {direction!r}")
    request = _requests.read(f"/grants?direction={direction}")
    return _answers.members((yield from reach(found, request, None)), "grants", Grant)


class Known:
    """The models that a client's account can use, as the server said last."""

    def __init__(self) -> None:
        self.models: tuple[Model, ...] = ()
        self.until = 0.0


def get_models(found: Found) -> Plan[ModelList]:
    """Read which models the caller can use."""
    return ModelList(_answers.read((yield from reach(found, _requests.read("/models"), None))))


def get_usage(found: Found, request: _requests.Request) -> Plan[UsageReport]:
    """Read what the caller has spent."""
    return _billing.report((yield from reach(found, request, None)))


def get_budget(found: Found) -> Plan[Budget]:
    """Read what the caller may still spend."""
    return _billing.budget((yield from reach(found, _requests.read("/budget"), None)))


def pick(found: Found, known: Known, aim: Aim, provider: str | None, *, thinks: bool = False) -> Plan[Model]:
    """Return the model that fits an aim best, of those that the caller can use.

    An old server does not say which those are; then the catalog of this version counts.

    Raises:
        NotFoundError: `model_not_found`, if there is none.
        MeshError: if the server can't be asked.
    """
    if time.monotonic() >= known.until:
        try:
            known.models = usable((yield from get_models(found)))
        except MeshError as problem:
            if problem.code not in {"all_endpoints_failed", "answer_invalid"}:
                raise
            known.models = ()
        known.models = known.models or bundled()
        known.until = time.monotonic() + _KNOWN_S
    model = choose(aim, known.models, provider, thinks=thinks)
    if model is None:
        what = f"no model of {provider!r}" if provider is not None else "no model"
        able = " that can think" if thinks else ""
        raise local_error("model_not_found", f"There is {what}{able} among those that you can use.")
    return model
