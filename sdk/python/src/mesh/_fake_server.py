"""What `FakeMesh` answers where a test does not say: keys in memory, and chats in the server's own form."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from mesh._fake_billing import FakeBilling
from mesh._transport import Reply
from mesh_protocol.events import DONE, event
from mesh_protocol.wire import API_PREFIX

_NO_BODY = {"x-request-id": "req_fake"}


class FakeServer:
    """Keys, models, chats and what they cost; knows no network."""

    def __init__(self) -> None:
        self.answer: Callable[[Any], str] = _repeat
        self.models: dict[str, list[str]] = {"fake": ["fake-1"]}
        self.billing = FakeBilling()
        self._keys: dict[tuple[str, str], dict[str, Any]] = {}
        self._gone: dict[tuple[str, str], dict[str, Any]] = {}
        self._grants: dict[str, dict[str, Any]] = {}

    def chat(self, call: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a chat is answered, and by whom."""
        said: dict[str, Any] = {
            "content": self.answer(call),
            "tool_calls": [],
            "thinking": None,
            "finish_reason": "stop",
        }
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        provider = call.json.get("provider") or "fake"
        return said, {
            "provider": provider,
            "model": call.json.get("model") or "fake-1",
            "usage": usage,
            "cost_usd": 0.001,
            "warnings": [],
        }

    def serve(self, call: Any) -> Reply:
        """Return the reply to a request that is no chat."""
        parts = urlsplit(call.path)
        path = parts.path.removeprefix(API_PREFIX)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if path == "/auth/profile":
            return _json(200, {"success": True, "id": "user_fake", "profile": {"id": "user_fake", "email": None}})
        if path == "/models":
            data = [{"id": name, "provider": provider} for provider, names in self.models.items() for name in names]
            return _json(200, {"success": True, "models": self.models, "data": data})
        if path == "/usage":
            return _json(200, self.billing.usage(query))
        if path == "/budget":
            return _json(200, self.billing.budget())
        if path.startswith(("/keys", "/grants")):
            return self._vault(call, path, query)
        return _refused(404, "route_not_found", f"There is no {parts.path}.")

    def _vault(self, call: Any, path: str, query: dict[str, str]) -> Reply:
        if path == "/keys":
            return self._list(query)
        if path.startswith("/grants"):
            return self._grant(call, path.removeprefix("/grants").strip("/"))
        name, _, rest = path.removeprefix("/keys/").partition("/")
        return self._key(call, (query.get("user_id", ""), unquote(name)), rest, query)

    def _list(self, query: dict[str, str]) -> Reply:
        wanted, _, value = query.get("tag", "").partition(":")
        found = [
            _shown(key)
            for (user, name), key in sorted(self._keys.items())
            if user == query.get("user_id", "")
            and name.startswith(query.get("prefix", ""))
            and (not wanted or key["tags"].get(wanted) == value)
        ]
        return _json(200, {"success": True, "keys": found, "next_cursor": None})

    def _grant(self, call: Any, grant: str) -> Reply:
        if call.method == "POST":
            made = {"user_id": None, "expires_at": None, **call.json, "id": f"grant_{len(self._grants) + 1}"}
            self._grants[made["id"]] = {**made, "owner": "user_fake", "grantee_kind": "account", "created_at": _now()}
            return _json(201, {"success": True, **self._grants[made["id"]]})
        if call.method == "DELETE":
            if self._grants.pop(grant, None) is None:
                return _refused(404, "grant_not_found", "There is no such grant.")
            return _json(200, {"success": True, "id": grant})
        return _json(200, {"success": True, "grants": list(self._grants.values())})

    def _key(self, call: Any, name: tuple[str, str], rest: str, query: dict[str, str]) -> Reply:
        known = self._keys.get(name)
        if call.method == "PUT":
            return self._put(call, name, known)
        if rest == "restore" and name in self._gone:
            self._keys[name] = self._gone.pop(name)
            return _json(200, _shown(self._keys[name]))
        if known is None:
            return _refused(404, "key_not_found", f"There is no key {name[1]!r}.")
        if rest or call.method == "GET":
            return self._about(call, known, rest, query)
        self._gone[name] = self._keys.pop(name)
        until = (datetime.now(UTC) + timedelta(days=30)).isoformat()
        return _json(200, {"success": True, "name": name[1], "deleted_at": _now(), "restorable_until": until})

    def _about(self, call: Any, known: dict[str, Any], what: str, query: dict[str, str]) -> Reply:
        if what == "test":
            provider = call.json.get("provider") or "fake"
            told = {"name": known["name"], "provider": provider, "result": "works", "models": 1}
            return _json(200, {"success": True, **told, "message": f"{provider} accepts {known['name']}."})
        if what:
            return self._history(call, known, what)
        wanted = int(query.get("version", known["version"]))
        if not 0 < wanted <= known["version"]:
            return _refused(404, "version_not_found", f"There is no version {wanted}.")
        return _json(200, {**_shown(known), "version": wanted, **known["past"][wanted - 1]["held"]})

    def _history(self, call: Any, known: dict[str, Any], what: str) -> Reply:
        past = known["past"]
        if what == "rollback":
            wanted = call.json["version"]
            if not 0 < wanted <= len(past):
                return _refused(404, "version_not_found", f"There is no version {wanted}.")
            past.append({"held": past[wanted - 1]["held"], "created_at": _now()})
            known |= {"version": len(past), "rev": known["rev"] + 1, "updated_at": _now()}
            return _json(200, _shown(known))
        versions = [
            {
                "version": at,
                "kind": "text" if "value" in one["held"] else "bytes",
                "created_at": one["created_at"],
                "destroyed_at": None,
                "current": at == len(past),
            }
            for at, one in enumerate(past, 1)
        ]
        return _json(200, {"success": True, "name": known["name"], "versions": versions[::-1]})

    def _put(self, call: Any, name: tuple[str, str], known: dict[str, Any] | None) -> Reply:
        if call.headers.get("if-none-match") == "*" and known is not None:
            return _refused(409, "key_exists", f"There is a key {name[1]!r} already.")
        rev = known["rev"] if known else 0
        asked = call.headers.get("if-match")
        if asked is not None and asked != f'"{rev}"':
            return _refused(412, "revision_conflict", f"The key is at revision {rev}.")
        body = call.json
        held = {member: body[member] for member in ("value", "value_base64") if member in body}
        if "value_base64" in held:
            base64.b64decode(held["value_base64"], validate=True)
        old = known or {"tags": {}, "note": None, "expires_at": None, "created_at": _now(), "version": 0, "past": []}
        self._keys[name] = {
            **old,
            **{member: body[member] for member in ("tags", "note", "expires_at") if member in body},
            "name": name[1],
            "user_id": name[0] or None,
            "version": old["version"] + 1,
            "rev": rev + 1,
            "updated_at": _now(),
            "past": [*old["past"], {"held": held, "created_at": _now()}],
        }
        return _json(200, _shown(self._keys[name]))


def chat_answer(said: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Return a whole answer in the form of Mesh chat."""
    message = {"role": "assistant", "content": said["content"]}
    if said["tool_calls"]:
        message["tool_calls"] = said["tool_calls"]
    choice = {"index": 0, "message": message, "finish_reason": said["finish_reason"]}
    own = {"id": "chatcmpl-fake", "object": "chat.completion", "created": 0, "choices": [choice]}
    return {**own, "success": True, "thinking": said["thinking"], "request_id": "req_fake", **told}


def stream_answer(said: dict[str, Any], told: dict[str, Any], *, truncated: bool = False) -> list[bytes]:
    """Return the events of a streamed answer, each word a piece; a truncated one has no end."""
    pieces = said.get("pieces") or _words(said.get("content") or "")
    deltas: list[dict[str, Any]] = [{"reasoning_content": said["thinking"]}] if said.get("thinking") else []
    deltas += [{"content": piece} for piece in pieces]
    deltas += [{"tool_calls": [{"index": at, **call}]} for at, call in enumerate(said.get("tool_calls", ()))]
    chunks = [_chunk(told, delta, None) for delta in deltas]
    if truncated:
        return chunks
    last = {"object": "chat.completion.chunk", "choices": [], "request_id": "req_fake", **told}
    return [*chunks, _chunk(told, {}, said["finish_reason"]), event(msgspec.json.encode(last)), event(DONE)]


def _chunk(told: dict[str, Any], delta: dict[str, Any], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    own = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 0, "model": told["model"]}
    return event(msgspec.json.encode({**own, "choices": [choice]}))


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [*(f"{word} " for word in words[:-1]), *words[-1:]] if text else []


def _repeat(call: Any) -> str:
    content = call.json["messages"][-1].get("content")
    if isinstance(content, list):
        content = " ".join(part["text"] for part in content if part.get("type") == "text")
    return f"You said: {content}"


def _shown(key: dict[str, Any]) -> dict[str, Any]:
    return {"success": True, **{name: value for name, value in key.items() if name != "past"}, "provable": False}


def _json(status: int, body: Any) -> Reply:
    return Reply(status, dict(_NO_BODY), msgspec.json.encode(body))


def _refused(status: int, code: str, message: str) -> Reply:
    error = {"code": code, "message": message, "type": "invalid_request_error", "details": None}
    return _json(status, {"success": False, "error": error, "request_id": "req_fake"})


def _now() -> str:
    return datetime.now(UTC).isoformat()
