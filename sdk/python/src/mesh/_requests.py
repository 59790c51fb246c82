"""Arguments of calls become requests; pure. What is wrong with a call is said here, before anything is sent."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from mesh_protocol.wire import API_PREFIX, MAX_KEY_NAME_BYTES, MAX_KEY_VALUE_BYTES

Messages = Sequence[Mapping[str, Any]]

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to the API. `repr` shows nothing of what it carries.

    Attributes:
        method: of HTTP.
        route: the path's pattern, which may stand in a log.
        path: the path itself with its query.
        headers: beside those that every request has.
        body: JSON.
        chat: counts as a chat, which may take longer.
        streamed: the reply is a stream.
    """

    method: str
    route: str
    path: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    chat: bool = False
    streamed: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether doing it twice is the same as doing it once."""
        return self.method == "GET"


def chat_body(
    message: str | None,
    *,
    messages: Messages | None,
    system: str | None,
    stream: bool,
    images: Sequence[Any] | None = None,
    files: Sequence[Any] | None = None,
    options: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the body of a chat request, without model and provider.

    Args:
        message: the user's words; `prompt` in `extra` is another word for it.
        messages: instead of it, in OpenAI's shape.
        system: instructions before everything else.
        stream: answer piece by piece.
        images: that go with the message.
        files: that go with the message.
        options: parameters by name; None is left out.
        extra: members for the provider.

    Raises:
        TypeError, ValueError: if the call is wrong.
    """
    extra = dict(extra)
    prompt = extra.pop("prompt", None)
    if prompt is not None:
        if message is not None:
            raise TypeError("message and prompt are the same argument: give one of them")
        message = prompt
    _check_options(options)
    body = {name: value for name, value in options.items() if value is not None}
    clash = sorted(extra.keys() & {"model", "provider", "stream", *body})
    if clash:
        raise TypeError(f"{clash[0]} is given twice")
    body |= extra
    body["messages"] = _messages(message, messages, system)
    if images is not None or files is not None:
        if message is None:
            raise TypeError("images and files go with message; in messages=[...] use mesh.image and mesh.file")
        from mesh._chat import media  # noqa: PLC0415 - most calls have none

        body["messages"][-1] = {"role": "user", "content": media.parts(message, images, files)}
    if stream:
        body["stream"] = True
    return body


def chat(
    body: Mapping[str, Any], *, model: str | None, provider: str | None, idempotency_key: str | None = None
) -> Request:
    """Return the request of a chat.

    Args:
        body: as `chat_body` makes it.
        model: who answers; None where the body, or the server, says.
        provider: as the model.
        idempotency_key: by which the server knows a repetition; default: a new one, which every try has.

    Raises:
        TypeError: if the body holds something that JSON has no word for.
    """
    chosen = {name: value for name, value in (("model", model), ("provider", provider)) if value is not None}
    return Request(
        method="POST",
        route=f"{API_PREFIX}/chat/completions",
        path=f"{API_PREFIX}/chat/completions",
        headers=(("idempotency-key", idempotency_key or os.urandom(16).hex()),),
        body=_encoder.encode({**body, **chosen}),
        chat=True,
        streamed=bool(body.get("stream")),
    )


def read(path: str) -> Request:
    """Return the request that reads something of the account's own."""
    return Request(method="GET", route=f"{API_PREFIX}{path}", path=f"{API_PREFIX}{path}")


def store_key(
    name: str,
    value: str | bytes,
    *,
    user_id: str | None,
    tags: Mapping[str, str] | None,
    note: str | None,
    expires_at: datetime | None,
    if_rev: int | None,
    if_absent: bool,
    provable: str | None = None,
    owner: str | None = None,
) -> Request:
    """Return the request that stores a key.

    Raises:
        TypeError, ValueError: if the call is wrong; the value is never part of the message.
    """
    body = _value(value)
    if if_rev is not None and if_absent:
        raise ValueError("if_rev and if_absent exclude each other")
    _check_moment(expires_at)
    described = {"tags": tags, "note": note, "expires_at": expires_at, "provable": provable}
    body |= {member: given for member, given in described.items() if given is not None}
    headers: list[tuple[str, str]] = []
    if if_rev is not None:
        headers.append(("if-match", f'"{int(if_rev)}"'))
    if if_absent:
        headers.append(("if-none-match", "*"))
    return replace(on_key("PUT", name, user_id=user_id, owner=owner, body=body), headers=tuple(headers))


def share(
    pattern: str, grantee: str, actions: Sequence[str], *, user_id: str | None, expires_at: datetime | None
) -> Request:
    """Return the request that shares keys.

    Raises:
        TypeError, ValueError: if the call is wrong.
    """
    if isinstance(actions, str) or not actions:
        raise TypeError('actions must be a list, such as ["read", "chat"]')
    _check_moment(expires_at)
    given = {"user_id": _namespace(user_id) or None, "expires_at": expires_at}
    body: dict[str, Any] = {"pattern": pattern, "grantee": grantee, "actions": list(actions)}
    body |= {member: value for member, value in given.items() if value is not None}
    path = f"{API_PREFIX}/grants"
    return Request(method="POST", route=path, path=path, body=_encoder.encode(body))


def unshare(grant_id: str) -> Request:
    """Return the request that takes a grant back.

    Raises:
        ValueError: if the id is empty.
    """
    if not grant_id:
        raise ValueError("grant_id is empty")
    path = f"{API_PREFIX}/grants"
    return Request(method="DELETE", route=f"{path}/{{id}}", path=f"{path}/{quote(grant_id, safe='')}")


def _check_moment(expires_at: datetime | None) -> None:
    if expires_at is not None and (not isinstance(expires_at, datetime) or expires_at.tzinfo is None):
        raise TypeError(
            "expires_at must be a datetime with a time zone, such as datetime.now(UTC) + timedelta(days=90)"
        )


def _value(value: str | bytes) -> dict[str, Any]:
    content = value_bytes(value)
    return {"value": value} if isinstance(value, str) else {"value_base64": content}  # bytes are base64 to msgspec


def value_bytes(value: str | bytes) -> bytes:
    """Return the bytes of a value: of text its UTF-8.

    Raises:
        TypeError, ValueError: if it can't be one; never with the value in the message.
    """
    if isinstance(value, str):
        content = _utf8(value, "key_value")
    elif isinstance(value, bytes | bytearray | memoryview):
        content = bytes(value)
    else:
        raise TypeError(f"key_value must be str or bytes, not {type(value).__name__}")
    if not content:
        raise ValueError("key_value is empty; to take a key away, use delete_key")
    if len(content) > MAX_KEY_VALUE_BYTES:
        raise ValueError(f"key_value has {len(content)} bytes; the limit is {MAX_KEY_VALUE_BYTES}")
    return content


def on_key(
    method: str, name: str, after: str = "", *, user_id: str | None, body: Any = None, **query: str | int | None
) -> Request:
    """Return a request about one key.

    Args:
        method: of HTTP.
        name: of the key.
        after: what follows the name in the path.
        user_id: a namespace inside the account that holds the key.
        body: JSON; None for none.
        **query: `owner`, and what else is asked; None is left out.

    Raises:
        TypeError, ValueError: if the name can't be one.
    """
    asked = {"user_id": check_names(name, user_id), **query}
    shown = urlencode({member: value for member, value in asked.items() if value not in {None, ""}}, quote_via=quote)
    segment = quote(name, safe="")
    return Request(
        method=method,
        route=f"{API_PREFIX}/keys/{{name}}{after}",
        path=f"{API_PREFIX}/keys/{segment}{after}" + (f"?{shown}" if shown else ""),
        body=None if body is None else _encoder.encode(body),
    )


def list_keys(
    *,
    user_id: str | None,
    prefix: str | None,
    tag: tuple[str, str] | None,
    cursor: str | None,
    owner: str | None = None,
) -> Request:
    """Return the request for a page of the keys' names."""
    query = {"user_id": _namespace(user_id), "owner": owner, "prefix": prefix, "cursor": cursor}
    if tag is not None:
        name, value = tag
        query["tag"] = f"{name}:{value}"
    shown = urlencode({name: value for name, value in query.items() if value})
    path = f"{API_PREFIX}/keys"
    return Request(method="GET", route=path, path=f"{path}?{shown}" if shown else path)


def list_records(*, user_id: str | None, after: str | None) -> Request:
    """Return the request for a page of the names that can be verified."""
    query = {"user_id": _namespace(user_id), "after": after}
    shown = urlencode({name: value for name, value in query.items() if value})
    path = f"{API_PREFIX}/zkp/records"
    return Request(method="GET", route=path, path=f"{path}?{shown}" if shown else path)


def check_timeout(timeout: float | None) -> None:
    """Refuse a time that is none.

    Raises:
        TypeError, ValueError: if it is not a positive number of seconds.
    """
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds, not {type(timeout).__name__}")
    if not 0 < timeout < float("inf"):
        raise ValueError("timeout must be a positive number of seconds")


def _messages(message: str | None, messages: Messages | None, system: str | None) -> list[Any]:
    if (message is None) == (messages is None):
        raise TypeError("give either message (a str) or messages=[...]")
    for name, text in (("message", message), ("system", system)):
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{name} must be a str, not {type(text).__name__}")
    found: list[Any]
    if messages is None:
        found = [{"role": "user", "content": message}]
    else:
        if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
            raise TypeError("messages must be a list of mappings with role and content")
        if not messages or not all(isinstance(one, Mapping) and "role" in one for one in messages):
            raise ValueError("messages must be a list, not empty, of mappings with role and content")
        found = list(messages)
    return found if system is None else [{"role": "system", "content": system}, *found]


def _check_options(options: Mapping[str, Any]) -> None:
    _check_kind(options, "max_tokens", int)
    _check_kind(options, "thinking_budget", int)
    _check_kind(options, "thinking", bool)
    _check_kind(options, "temperature", int, float)
    _check_kind(options, "strict_models", bool)
    most = options.get("max_tokens")
    if most is not None and most < 1:
        raise ValueError("max_tokens must be at least 1")
    budget = options.get("thinking_budget")
    if budget is not None and budget < 1:
        raise ValueError("thinking_budget must be at least 1")


def _check_kind(options: Mapping[str, Any], name: str, *kinds: type) -> None:
    value = options.get(name)
    if value is None:
        return
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"{name} must be {' or '.join(kind.__name__ for kind in kinds)}, not {type(value).__name__}")


def check_names(name: str, user_id: str | None) -> str:
    """Refuse a name that can't be one, and return the namespace.

    Raises:
        TypeError, ValueError: naming the argument and its limit.
    """
    if not isinstance(name, str):
        raise TypeError(f"key_name must be a str, not {type(name).__name__}")
    size = len(_utf8(name, "key_name"))
    if not name:
        raise ValueError("key_name is empty")
    if size > MAX_KEY_NAME_BYTES:
        raise ValueError(f"key_name has {size} bytes; the limit is {MAX_KEY_NAME_BYTES}")
    if name in {".", ".."}:
        raise ValueError(f"key_name can't be {name!r}: in a path it means another place, however it is encoded")
    return _namespace(user_id)


def _namespace(user_id: str | None) -> str:
    if user_id is None:
        return ""
    if not isinstance(user_id, str):
        raise TypeError(f"user_id must be a str, not {type(user_id).__name__}")
    if len(_utf8(user_id, "user_id")) > MAX_KEY_NAME_BYTES:
        raise ValueError(f"user_id is longer than {MAX_KEY_NAME_BYTES} bytes")
    return user_id


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} is not valid Unicode: it holds half of a surrogate pair") from None
