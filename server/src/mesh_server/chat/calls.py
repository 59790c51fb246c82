"""One request of chat on its way through a surface: answered whole, as a stream, or once for all who send it again."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from mesh_server.accounts.models import Principal
from mesh_server.asgi import JSON, ErrorWriter, Request, Send, send_bytes
from mesh_server.billing.service import Also
from mesh_server.chat.accounting import Ending
from mesh_server.chat.answers import AnswerStream
from mesh_server.chat.formats import sse
from mesh_server.chat.formats.common import ChatRequest, Outcome
from mesh_server.chat.once import GRACE_S
from mesh_server.chat.service import Chat
from mesh_server.chat.surfaces import Headers, Surface, outcome_headers
from mesh_server.errors import DeadlineExceeded, MeshError, ProviderFailed
from mesh_server.vault.answers import Same, StoredAnswer, Ticket

#: Tells an answer that was stored from one that was made.
REPLAYED = (b"idempotency-replayed", b"true")

T = TypeVar("T")


class Call(msgspec.Struct, frozen=True):
    """A request and its surface.

    Attributes:
        error: writes the surface's failures.
        more: headers of its every answer.
    """

    surface: Surface
    error: ErrorWriter
    request: Request
    asked: ChatRequest
    more: Headers

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return self.request.principal

    def ending(self, keep: Callable[[bytes, Outcome], Also] | None = None) -> Ending:
        """Return what the surface does at the end of a call."""
        request_id = self.request.request_id
        return Ending(
            surface=self.surface.name,
            render=self._render,
            last=lambda outcome: self.surface.last(outcome, request_id),
            keep=keep,
        )

    def headers(self, outcome: Outcome) -> Headers:
        """Return the headers of a whole answer."""
        return [JSON, *outcome_headers(outcome), *self.more]

    def _render(self, body: bytes, outcome: Outcome) -> bytes:
        try:
            return self.surface.answer(body, outcome, self.request.request_id)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ProviderFailed(f"{outcome.provider} answered with something that is no chat completion.") from None


async def relay(chat: Chat, call: Call, send: Send, keep: Callable[[bytes, Outcome], Also] | None = None) -> None:
    """Send a stream as it comes; one that fails ends with the surface's own event for that."""
    begun: list[AnswerStream] = []
    try:
        await in_time(call.asked, _relay(chat, call, send, keep, begun))
    except MeshError as problem:
        if begun:
            # A reader that waits for the stream's last event must see that it did not come, and why.
            await sse.write(send, call.surface.failure(problem, call.request.request_id, begun[0].events))
            await sse.end(send)
        raise  # for the log; the guard sees whether the answer has begun


async def _relay(
    chat: Chat,
    call: Call,
    send: Send,
    keep: Callable[[bytes, Outcome], Also] | None,
    begun: list[AnswerStream],
) -> None:
    """Send a stream; `begun` gets it once its answer has begun."""
    stream = await chat.stream(call.principal, call.asked, call.ending(keep))
    ended: BaseException | None = None
    try:
        await sse.start(send, [*outcome_headers(stream.outcome), *call.more])
        begun.append(stream)
        while content := await stream.next():
            if stream.over:
                break
            await sse.write(send, content)
        await sse.end(send, content)
    except BaseException as problem:
        ended = problem
        raise
    finally:
        await stream.close(ended)


async def in_time(asked: ChatRequest, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, and end it when the caller's own time is over."""
    if asked.timeout is None:
        return await work
    try:
        async with asyncio.timeout(asked.timeout) as limit:
            asked.limit = limit
            return await work
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineExceeded(f"The {asked.timeout:g} seconds of `mesh-timeout` were over.") from None


class OnceRoutes:
    """Answers calls that are made once."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._once = chat.once

    async def answer(self, call: Call, same: Same, send: Send, *, grace_s: float | None = GRACE_S) -> None:
        """Answer a call: the first of its key makes it, the others get the same.

        Args:
            call: the request.
            same: what makes another one the same.
            send: of the request.
            grace_s: seconds for which a whole answer is still made when nobody waits for it; None for ever.
        """
        work = self._stream(call, same, send) if call.asked.stream else self._whole(call, same, send, grace_s)
        await sse.while_connected(call.request, work)

    async def _whole(self, call: Call, same: Same, send: Send, grace_s: float | None) -> None:
        async def make(ticket: Ticket) -> StoredAnswer:
            made: list[StoredAnswer] = []

            def keep(body: bytes, outcome: Outcome) -> Also:
                made.append(StoredAnswer(200, call.headers(outcome), body))
                return self._once.keeps(ticket, made[0])

            await in_time(call.asked, self._chat.complete(call.principal, call.asked, call.ending(keep)))
            return made[0]

        answer, replayed = await self._once.whole(
            call.principal,
            same,
            make,
            lambda problem: _failure(call, problem),
            within_s=call.asked.timeout,
            grace_s=grace_s,
        )
        await _send(send, answer, replayed=replayed)

    async def _stream(self, call: Call, same: Same, send: Send) -> None:
        found = await self._once.begin(call.principal, same, within_s=call.asked.timeout)
        if isinstance(found, StoredAnswer):
            await _send(send, found, replayed=True)
            return

        def keep(content: bytes, outcome: Outcome) -> Also:
            headers = [*sse.HEADERS, *outcome_headers(outcome), *call.more]
            return self._once.keeps(found, StoredAnswer(200, headers, content))

        streamed = self._once.stream(call.principal, same)
        try:
            await relay(self._chat, call, send, keep)
        except BaseException as problem:
            streamed.failed(found, problem, lambda failure: _failure(call, failure))
            raise
        streamed.ended()


async def _send(send: Send, answer: StoredAnswer, *, replayed: bool) -> None:
    more = [REPLAYED] if replayed else []
    await send_bytes(send, answer.status, answer.body, [*answer.headers, *more])


async def _failure(call: Call, problem: MeshError) -> StoredAnswer:
    """Return a failure as its surface answers it."""
    answer = StoredAnswer(problem.status, [], b"")

    async def collect(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = [(name, value) for name, value in message["headers"] if name != b"content-length"]
        else:
            answer.body += message.get("body", b"")

    await call.error(collect, problem, call.request.request_id)
    return answer
