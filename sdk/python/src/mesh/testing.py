"""A Mesh for tests of your own programs: the real client, and no network.

    from mesh.testing import FakeMesh

    fake = FakeMesh()
    fake.answer("Paris")
    assert str(fake.client().chat("Capital of France?")) == "Paris"
    assert fake.calls[0].json["messages"][0]["content"] == "Capital of France?"

Everything but the network is the code that runs in production: checks, retries, reading of answers and streams. With
pytest the fixture `fake_mesh` is there without an import, and every client made meanwhile talks to it.
"""

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest.mock import patch
from urllib.parse import urlsplit

import msgspec

from mesh import _module, async_client, client
from mesh._fake_server import FakeServer, chat_answer, stream_answer
from mesh._transport import Reply, TransportFailure, WireRequest
from mesh.async_client import AsyncMeshClient
from mesh.client import MeshClient
from mesh_protocol.codes import CODES

__all__ = ["Call", "FakeMesh"]

#: Each fake is a server of its own: what a client remembers of one holds for no other.
_numbers = itertools.count(1)
_TOKEN = "mesh_fake"  # noqa: S105 - opens nothing

Fault = Literal["connect", "timeout", "broken"]


@dataclass(frozen=True, slots=True)
class Call:
    """One request that a client sent. `repr` shows neither headers nor body.

    Attributes:
        method: of HTTP.
        path: with its query.
        headers: by lower-case name, without the login.
        json: the body; None where there is none.
    """

    method: str
    path: str
    headers: dict[str, str] = field(repr=False)
    json: Any = field(repr=False)


_Script = Callable[[Call], Reply]


class FakeMesh:
    """Answers what a test tells it to, in that order, and records what it was asked.

    A chat for which nothing is scripted repeats what was said to it. Keys are kept in memory, as the server keeps them.

    Attributes:
        calls: every request so far, the oldest first.
        url: its address, where nobody listens.
    """

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:1/fake-{next(_numbers)}"
        self.calls: list[Call] = []
        self._scripts: list[tuple[bool, _Script]] = []  # whether for chats only
        self._server = FakeServer()

    # --- what it answers ---

    def answer(
        self,
        content: str | None = None,
        *,
        tool_calls: Sequence[tuple[str, Mapping[str, Any]]] = (),
        thinking: str | None = None,
        model: str | None = None,
        provider: str = "fake",
        input_tokens: int = 3,
        output_tokens: int = 2,
        cost_usd: float | None = 0.001,
        warnings: Sequence[str] = (),
        finish_reason: str | None = None,
    ) -> None:
        """Let the next chat have this answer, as a whole or, where it asks for one, as a stream.

        Args:
            content: the text; in a stream each word is a piece.
            tool_calls: names and arguments of tools that the model calls.
            thinking: its reasoning.
            model: who answers; default: the one that is asked.
            provider: who serves it.
            input_tokens: of the prompt.
            output_tokens: of the answer.
            cost_usd: what it costs; None for unknown.
            warnings: what was done otherwise than asked.
            finish_reason: default: `stop`, or `tool_calls`.
        """
        calls = [
            {"id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": _text(arguments)}}
            for at, (name, arguments) in enumerate(tool_calls)
        ]
        usage = {
            "prompt_tokens": input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        }
        said = {
            "content": content,
            "tool_calls": calls,
            "thinking": thinking,
            "finish_reason": finish_reason or ("tool_calls" if calls else "stop"),
        }
        told = {"provider": provider, "usage": usage, "cost_usd": cost_usd, "warnings": list(warnings)}

        def script(call: Call) -> Reply:
            return self._chat(call, said, {**told, "model": model or call.json.get("model")})

        self._scripts.append((True, script))

    def stream(self, *pieces: str, truncated: bool = False, fault: Fault | None = None) -> None:
        """Let the next chat have a stream of these pieces.

        Args:
            *pieces: of text.
            truncated: end it before the answer is complete.
            fault: `broken` or `timeout` instead of its end.
        """
        told: dict[str, Any] = {"provider": "fake", "usage": None, "cost_usd": None, "warnings": []}

        def script(call: Call) -> Reply:
            said = {"pieces": pieces, "finish_reason": "stop"}
            broken, named = truncated or bool(fault), {**told, "model": call.json.get("model")}
            self._server.billing.record(named, failed=broken)
            return _streamed(stream_answer(said, named, truncated=broken), fault)

        self._scripts.append((True, script))

    def fail(
        self,
        code: str,
        message: str = "It failed.",
        *,
        status: int | None = None,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Let the next request fail as the server says it.

        Args:
            code: of the table of error codes.
            message: for people.
            status: of HTTP; default: the code's own.
            retry_after: seconds to wait, as a header.
            details: facts for programs.
        """
        known = CODES.get(code)
        error = {"code": code, "message": message, "type": known.type if known else "server_error", "details": details}
        body = {"success": False, "error": error, "request_id": "req_fake"}
        headers = {"x-request-id": "req_fake"}
        if retry_after is not None:
            headers["retry-after"] = f"{retry_after:g}"
        self.reply(status or (known.status if known else None) or 500, body, headers)

    def reply(self, status: int, body: Any = b"", headers: Mapping[str, str] | None = None) -> None:
        """Let the next request have this reply, whatever it asks: bytes as they are, everything else as JSON."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        given = {name.lower(): value for name, value in (headers or {}).items()}
        self._scripts.append((False, lambda _call: Reply(status, dict(given), content)))

    def fault(self, kind: Fault) -> None:
        """Let the next request have no reply: `connect`: nothing was sent; `broken`: it may have been; `timeout`."""

        def script(_call: Call) -> Reply:
            raise TransportFailure(kind)

        self._scripts.append((False, script))

    def on_chat(self, answer: Callable[[Call], str]) -> None:
        """Let a function answer every chat for which nothing is scripted; it is given the `Call`."""
        self._server.answer = answer

    def models(self, **by_provider: Sequence[str]) -> None:
        """Say which models can be used: `fake.models(openai=["gpt-4o"], local=["tiny"])`."""
        self._server.models = {provider: list(names) for provider, names in by_provider.items()}

    def usage(self, **row: Any) -> None:
        """Let a row be in what was spent, beside the chats that were answered.

        Args:
            **row: members of `mesh.UsageRow`: `fake.usage(day="2026-11-25", model="gpt-4o", calls=3, cost_usd=0.5)`.

        Raises:
            TypeError: for a member that no row has.
        """
        self._server.billing.add_usage(row)

    def budget(
        self,
        limit: float,
        *,
        used: float = 0,
        held: float = 0,
        unit: Literal["usd", "requests", "tokens"] = "usd",
        period: Literal["minute", "day", "month", "total"] = "month",
        scope: Literal["account", "token", "key", "tenant"] = "account",
        subject: str | None = None,
        hard: bool = True,
        resets_at: str | None = None,
    ) -> None:
        """Let there be a limit. What is answered counts for it; nothing is refused by itself: use `fail` for that.

        Args:
            limit: US dollars, or how many.
            used: of it, spent already.
            held: of it, set aside.
            unit: what is counted.
            period: after which it begins anew.
            scope: what it is for.
            subject: the name of the key or the token.
            hard: whether it says that calls beyond it are refused.
            resets_at: RFC 3339 text.
        """
        known: dict[str, Any] = {"scope": scope, "subject": subject, "unit": unit, "period": period, "hard": hard}
        self._server.billing.add_budget({**known, "limit": limit, "used": used, "held": held, "resets_at": resets_at})

    @property
    def pending(self) -> int:
        """How many scripted answers were not asked for yet."""
        return len(self._scripts)

    # --- who asks ---

    def client(self, **arguments: Any) -> MeshClient:
        """Return a client that talks to this; arguments as `MeshClient` has them."""
        return MeshClient(self.url, _TOKEN, transport=_Sync(self), **{"timeout": 5.0, **arguments})

    def async_client(self, **arguments: Any) -> AsyncMeshClient:
        """Return an asynchronous client that talks to this."""
        return AsyncMeshClient(self.url, _TOKEN, transport=_Async(self), **{"timeout": 5.0, **arguments})

    @contextmanager
    def installed(self) -> "Iterator[FakeMesh]":
        """Let every client that is made meanwhile talk to this, and `mesh.chat` and its like."""
        with (
            patch.dict(os.environ, {"MESH_API_URL": self.url, "MESH_AUTH_TOKEN": _TOKEN}),
            patch.object(client, "HTTPTransport", lambda *_, **__: _Sync(self)),
            patch.object(async_client, "AsyncHTTPTransport", lambda *_, **__: _Async(self)),
            patch.object(_module, "_client", None),
        ):
            yield self

    def _serve(self, request: WireRequest) -> Reply:
        headers = {name: value for name, value in request.headers if name != "authorization"}
        body = msgspec.json.decode(request.body) if request.body is not None else None
        parts = urlsplit(request.url.removeprefix(self.url))
        call = Call(request.method, parts.path + (f"?{parts.query}" if parts.query else ""), headers, body)
        self.calls.append(call)
        chat = call.path.endswith(("/chat/completions", "/mesh/chat"))
        if self._scripts and (chat or not self._scripts[0][0]):
            return self._scripts.pop(0)[1](call)
        if chat:
            return self._chat(call, *self._server.chat(call))
        return self._server.serve(call)

    def _chat(self, call: Call, said: dict[str, Any], told: dict[str, Any]) -> Reply:
        self._server.billing.record(told)
        left = self._server.billing.left_usd()
        told = told if left is None else {**told, "budget_left_usd": left}
        if call.json.get("stream"):
            return _streamed(stream_answer(said, told), None)
        return Reply(200, {"x-request-id": "req_fake"}, msgspec.json.encode(chat_answer(said, told)))


class _Sync:
    def __init__(self, fake: FakeMesh) -> None:
        self._fake = fake

    def send(self, request: WireRequest) -> Reply:
        return self._fake._serve(request)  # noqa: SLF001 - two halves of one thing

    def close(self) -> None:
        pass


class _Async:
    def __init__(self, fake: FakeMesh) -> None:
        self._fake = fake

    async def send(self, request: WireRequest) -> Reply:
        return self._fake._serve(request)  # noqa: SLF001 - two halves of one thing

    async def close(self) -> None:
        pass


class _Body:
    """The body of a stream, for both kinds of clients."""

    def __init__(self, chunks: Sequence[bytes], fault: Fault | None) -> None:
        self._chunks = list(chunks)
        self._fault = fault

    def __iter__(self) -> Iterator[bytes]:
        while self._chunks:
            yield self._chunks.pop(0)
        if self._fault is not None:
            raise TransportFailure(self._fault)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self._chunks.clear()

    async def aclose(self) -> None:
        self.close()


def _streamed(chunks: Sequence[bytes], fault: Fault | None) -> Reply:
    return Reply(200, {"x-request-id": "req_fake"}, stream=_Body(chunks, fault))


def _text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
