"""Replies become results or errors; pure."""

import base64
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from mesh._transport import Reply
from mesh.errors import MeshError, error_class
from mesh.results import ChatResult, DeletedKey, KeyInfo, Member, StoredKey, Usage

M = TypeVar("M", bound=Member)

_decoder = msgspec.json.Decoder(dict[str, Any])

#: What Mesh chat adds to the provider's own answer.
_ADDED = frozenset({"success", "provider", "cost_usd", "budget_left_usd", "warnings", "thinking", "request_id"})


def read(reply: Reply) -> dict[str, Any]:
    """Return the body of a successful reply.

    Raises:
        MeshError: the server's own, or `answer_invalid` where what came is no answer of a Mesh server.
    """
    if not 200 <= reply.status < 300:
        raise failure(reply)
    try:
        return _decoder.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise invalid(reply, "no JSON object") from None


def failure(reply: Reply) -> MeshError:
    """Return the error that a reply tells."""
    request_id = reply.headers.get("x-request-id")
    try:
        body = _decoder.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = {}
    error = body.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        return invalid(reply, f"status {reply.status}")
    return told(error, reply.status, body.get("request_id") or request_id, retry_after=reply.headers.get("retry-after"))


def told(
    error: dict[str, Any], status: int | None, request_id: str | None, *, retry_after: str | None = None
) -> MeshError:
    """Return the error that a server's error object tells."""
    code = str(error.get("code"))
    details = error.get("details")
    if retry_after is not None:
        details = {**(details if isinstance(details, dict) else {}), "retry_after": seconds(retry_after)}
    steps = error.get("troubleshooting")
    return error_class(code, error.get("type"))(
        str(error.get("message") or code),
        code=code,
        details=details,
        troubleshooting=[str(step) for step in steps] if isinstance(steps, list) else None,
        status=status,
        request_id=request_id,
    )


def seconds(retry_after: str | None) -> float | None:
    """Return a Retry-After header in seconds; None where it has none (a date counts as none)."""
    try:
        return None if retry_after is None else max(0.0, float(retry_after))
    except ValueError:
        return None


def chat_result(body: dict[str, Any], reply: Reply) -> ChatResult:
    """Return the result of a whole answer of Mesh chat.

    Args:
        body: of the reply.
        reply: that it came with.

    Raises:
        MeshError: `answer_invalid`, if it is none.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        return ChatResult(
            success=True,
            content=message.get("content") or "",
            model=body["model"],
            provider=body["provider"],
            usage=usage(body.get("usage"), body.get("cost_usd")),
            thinking=body.get("thinking"),
            tool_calls=message.get("tool_calls") or [],
            finish_reason=choice.get("finish_reason"),
            warnings=body.get("warnings") or [],
            id=body.get("id"),
            budget_left_usd=amount(body.get("budget_left_usd")),
            replayed=replayed(reply),
            request_id=body.get("request_id") or reply.headers.get("x-request-id"),
            raw=body,
        )
    except (KeyError, IndexError, TypeError, AttributeError):
        raise invalid(reply, "something that is no chat") from None


def replayed(reply: Reply) -> bool:
    """Return whether a reply is the one that was kept of an earlier request with the same `Idempotency-Key`."""
    return reply.headers.get("idempotency-replayed") == "true"


def original(body: dict[str, Any]) -> dict[str, Any]:
    """Return the provider's own body: what Mesh added is taken away."""
    return {name: value for name, value in body.items() if name not in _ADDED}


def usage(spent: Any, cost_usd: Any) -> Usage:
    """Return what a call spent, by the provider's count; what is no number counts as nothing."""
    spent = spent if isinstance(spent, dict) else {}
    taken, given = _count(spent.get("prompt_tokens")), _count(spent.get("completion_tokens"))
    return Usage(
        input_tokens=taken,
        output_tokens=given,
        total_tokens=_count(spent.get("total_tokens")) or taken + given,
        cost_usd=amount(cost_usd),
    )


def total(spent: Sequence[Usage]) -> Usage:
    """Return the sum of what several answers spent; its cost is unknown where one of them is."""
    costs = [one.cost_usd for one in spent]
    return Usage(
        input_tokens=sum(one.input_tokens for one in spent),
        output_tokens=sum(one.output_tokens for one in spent),
        total_tokens=sum(one.total_tokens for one in spent),
        cost_usd=None if any(cost is None for cost in costs) else sum(cost or 0.0 for cost in costs),
    )


def amount(usd: object) -> float | None:
    """Return US dollars; what is no number is unknown."""
    return usd if isinstance(usd, int | float) and not isinstance(usd, bool) else None


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def stored_key(reply: Reply) -> StoredKey:
    """Return what is known of a key after a change."""
    return StoredKey(read(reply))


def deleted_key(reply: Reply) -> DeletedKey:
    """Return what is known of a deletion."""
    return DeletedKey(read(reply))


def key_value(reply: Reply) -> str | bytes:
    """Return the value of a key: text as it was stored, or bytes."""
    body = read(reply)
    if isinstance(body.get("value"), str):
        return str(body["value"])
    try:
        return base64.b64decode(body["value_base64"], validate=True)
    except (KeyError, ValueError, TypeError):
        raise invalid(reply, "no value") from None


def keys(reply: Reply) -> tuple[list[KeyInfo], str | None]:
    """Return what is known of the keys of a page, and the cursor of the next one."""
    found = members(reply, "keys", KeyInfo)
    if not all(isinstance(key.get("name"), str) for key in found):
        raise invalid(reply, "no list of keys")
    return found, read(reply).get("next_cursor")


def members(reply: Reply, name: str, kind: type[M]) -> list[M]:
    """Return the objects of a list, each as its kind."""
    found = read(reply).get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise invalid(reply, f"no list of {name}")
    return [kind(one) for one in found]


def record_names(reply: Reply) -> tuple[list[str], str | None]:
    """Return the names of a page of enrolled values, and the name after which the next one begins."""
    body = read(reply)
    try:
        return [str(record["name"]) for record in body["records"]], body.get("next_after")
    except (KeyError, TypeError):
        raise invalid(reply, "no list of records") from None


def invalid(reply: Reply, what: str) -> MeshError:
    """Return the error of a reply that is not what a Mesh server answers."""
    return error_class("answer_invalid")(
        f"The server answered with {what}, as a Mesh server does not.",
        code="answer_invalid",
        status=reply.status,
        request_id=reply.headers.get("x-request-id") or None,
    )
