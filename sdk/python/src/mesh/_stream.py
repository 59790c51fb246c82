"""A streamed answer, piece by piece: what the pieces mean is shared, how they are waited for is not."""

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any, Self

import msgspec

from mesh import _answers
from mesh._transport import Reply, TransportFailure
from mesh.errors import MeshError, local_error
from mesh.results import ChatChunk, ChatResult
from mesh_protocol.events import DONE, EventReader, EventTooLarge

_decoder = msgspec.json.Decoder(dict[str, Any])


class _State:
    """Puts the answer together; pure."""

    def __init__(self, reply: Reply | None, error: MeshError | None, *, original: bool) -> None:
        self.error = error
        self.finished = False
        self._original = original
        self._reader = EventReader()
        self._status = reply.status if reply else None
        self._request_id = reply.headers.get("x-request-id") if reply else None
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._tools: dict[int, dict[str, Any]] = {}
        self._reason: str | None = None
        self._first: dict[str, Any] = {}
        self._last: dict[str, Any] = {}

    def feed(self, content: bytes) -> list[Any]:
        """Return the pieces that this content completes.

        Raises:
            MeshError: the server's own, or `answer_invalid`.
        """
        pieces: list[Any] = []
        try:
            for data in self._reader.feed(content):
                if data.strip() == DONE:
                    self.finished = True
                    break
                self._take(_decoder.decode(data), pieces)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, EventTooLarge):
            raise local_error("answer_invalid", "The stream holds something that is no piece of an answer.") from None
        return pieces

    def _take(self, chunk: dict[str, Any], pieces: list[Any]) -> None:
        error = chunk.get("error")
        if isinstance(error, dict):
            raise _answers.told(error, self._status, chunk.get("request_id") or self._request_id)
        choices = chunk.get("choices") or []
        if not choices:
            self._last = chunk
            return
        self._first = self._first or chunk
        choice = choices[0]
        self._reason = choice.get("finish_reason") or self._reason
        delta = choice.get("delta") or {}
        text, thinking = delta.get("content") or "", delta.get("reasoning_content")
        if text:
            self._content.append(text)
        if thinking:
            self._thinking.append(thinking)
        for call in delta.get("tool_calls") or []:
            self._add_call(call)
        if self._original:
            pieces.append(chunk)
        elif text or thinking or delta.get("tool_calls"):
            pieces.append(ChatChunk(text=text, thinking=thinking, raw=chunk))

    def _add_call(self, delta: dict[str, Any]) -> None:
        call = self._tools.setdefault(
            int(delta.get("index") or 0), {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = delta.get("id") or call["id"]
        function = delta.get("function") or {}
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""

    def broke(self, problem: TransportFailure | None) -> MeshError:
        """Return the error of a stream that stopped before its end."""
        if problem is not None and problem.kind == "timeout":
            return local_error("timeout", "The stream fell silent for longer than the call was given.")
        return local_error("stream_truncated", "The stream stopped before the answer was complete.")

    def response(self) -> ChatResult:
        """Return the full result; of a stream that failed, the failure.

        Raises:
            RuntimeError: before the end.
        """
        if self.error is not None:
            return ChatResult.failed(self.error)
        if not self.finished:
            raise RuntimeError("the stream has not come to its end yet; iterate over it first")
        message = {"role": "assistant", "content": "".join(self._content)}
        calls = [self._tools[index] for index in sorted(self._tools)]
        thinking = "".join(self._thinking) or None
        choice = {"index": 0, "message": message, "finish_reason": self._reason}
        if calls:
            choice["message"] = {**message, "tool_calls": calls}
        known = {**self._first, **self._last}
        return ChatResult(
            success=True,
            content=message["content"],
            model=known.get("model"),
            provider=known.get("provider"),
            usage=_answers.usage(known.get("usage"), known.get("cost_usd")),
            thinking=thinking,
            tool_calls=calls,
            finish_reason=self._reason,
            warnings=known.get("warnings") or [],
            id=self._first.get("id"),
            request_id=known.get("request_id") or self._request_id,
            raw={**known, "object": "chat.completion", "choices": [choice]},
        )


class Stream:
    """A streamed answer: iterate over its pieces, each with `.text`; at the end `.response` is the full result.

    Leaving the context, or `close()`, gives the rest up and cancels the call at the provider. What fails is raised
    while iterating.
    """

    def __init__(self, reply: Reply | None, error: MeshError | None = None, *, original: bool = False) -> None:
        self._body = reply.stream if reply else None
        self._state = _State(reply, error, original=original)
        self._pieces = self._iterate()

    def __iter__(self) -> Iterator[ChatChunk]:
        """Return the pieces; iterating again goes on where it stopped."""
        return self._pieces

    def __next__(self) -> ChatChunk:
        """Return the next piece.

        Raises:
            MeshError: if the answer fails or stops early.
        """
        return next(self._pieces)

    def _iterate(self) -> Iterator[ChatChunk]:
        state = self._state
        if state.error is not None:
            raise state.error
        try:
            for content in self._body or ():
                yield from state.feed(content)
                if state.finished:
                    return
            raise state.broke(None)
        except TransportFailure as problem:
            state.error = state.broke(problem)
            raise state.error from None
        except MeshError as problem:
            state.error = problem
            raise
        finally:
            self.close()

    @property
    def response(self) -> ChatResult:
        """The full result, once the stream has come to its end."""
        return self._state.response()

    def close(self) -> None:
        """Give the rest up; closing twice is fine."""
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class AsyncStream:
    """As `Stream`, for `async for` and `async with`."""

    def __init__(self, reply: Reply | None, error: MeshError | None = None, *, original: bool = False) -> None:
        self._body = reply.stream if reply else None
        self._state = _State(reply, error, original=original)
        self._pieces = self._iterate()

    def __aiter__(self) -> AsyncIterator[ChatChunk]:
        """Return the pieces; iterating again goes on where it stopped."""
        return self._pieces

    async def __anext__(self) -> ChatChunk:
        """Return the next piece.

        Raises:
            MeshError: if the answer fails or stops early.
        """
        return await anext(self._pieces)

    async def _iterate(self) -> AsyncIterator[ChatChunk]:
        state = self._state
        if state.error is not None:
            raise state.error
        try:
            if self._body is not None:
                async for content in self._body:
                    for piece in state.feed(content):
                        yield piece
                    if state.finished:
                        return
            raise state.broke(None)
        except TransportFailure as problem:
            state.error = state.broke(problem)
            raise state.error from None
        except MeshError as problem:
            state.error = problem
            raise
        finally:
            await self.aclose()

    @property
    def response(self) -> ChatResult:
        """The full result, once the stream has come to its end."""
        return self._state.response()

    async def aclose(self) -> None:
        """Give the rest up; closing twice is fine."""
        body, self._body = self._body, None
        if body is not None:
            await body.aclose()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()
