"""A streamed answer, piece by piece: what the pieces mean is in `_stream_state`, how they are waited for is here."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mesh._stream_state import State
from mesh._transport import Reply, TransportFailure
from mesh.errors import MeshError
from mesh.results import ChatChunk, ChatResult

if TYPE_CHECKING:
    from mesh._chat.tools import ToolResult
    from mesh.events import Event

    Follow = Callable[[ChatResult], tuple[list[ToolResult], Reply] | None]
    AsyncFollow = Callable[[ChatResult], Awaitable[tuple[list[ToolResult], Reply] | None]]


class Stream:
    """A streamed answer: iterate over its pieces, each with `.text`; at the end `.response` is the full result.

    Leaving the context, or `close()`, gives the rest up and cancels the call at the provider. What fails is raised
    while iterating.
    """

    def __init__(
        self,
        reply: Reply | None,
        error: MeshError | None = None,
        *,
        state: State | None = None,
        follow: "Follow | None" = None,
        raises: bool = False,
        original: bool = False,
    ) -> None:
        self._body = reply.stream if reply else None
        self._state = state or State(reply, error, original=original)
        self._follow = follow
        self._raises = raises
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
            while True:
                for content in self._body or ():
                    for piece in state.feed(content):
                        yield piece
                        if state.cancelled:
                            return
                    if state.finished:
                        break
                if not self._next_round():
                    return
        except (TransportFailure, MeshError) as problem:
            error = state.failed(problem)
            if error is None:
                return
            raise error from None
        finally:
            self.close()

    def _next_round(self) -> bool:
        """Go on with the next answer where tools were called; return whether there is one."""
        state = self._state
        state.check()
        followed = None if state.cancelled or self._follow is None else self._follow(state.answer())
        if followed is None:
            state.end()
            return False
        self.close()
        results, reply = followed
        self._body = reply.stream
        state.begin(reply, results)
        return True

    def events(self) -> "Iterator[Event]":
        """Yield what happens, typed: text, thinking, tool calls and their results, then usage and the end.

        Raises:
            MeshError: if the answer fails or stops early.
        """
        from mesh.events import events_of, last_events  # noqa: PLC0415 - only where they are asked for

        for piece in self._pieces:
            yield from events_of(piece)
        yield from last_events(self.response)

    def until_done(self) -> ChatResult:
        """Wait for the rest and return the full result, or the failure.

        Raises:
            MeshError: with `raise_on_error=True`, if the answer fails or stops early.
        """
        try:
            for _ in self._pieces:
                pass
        except MeshError:
            if self._raises:
                raise
        return self.response

    def cancel(self) -> None:
        """Stop: the call is cancelled at the provider, iterating ends, and `.response` has what had come.

        It may be called from another thread. What was spent is known where the server had told it before; the account's
        usage always has it.
        """
        self._state.cancelled = True
        self.close()

    @property
    def response(self) -> ChatResult:
        """The full result, once the stream has come to its end."""
        return self._state.response()

    @property
    def parsed_so_far(self) -> Any:
        """What an answer with a `response_format` says so far, as dictionaries and lists; None for nothing yet."""
        return self._state.so_far()

    def close(self) -> None:
        """Give the rest up; closing twice is fine."""
        body, self._body = self._body, None
        if body is not None:
            body.close()
            self._state.closed()

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

    def __init__(
        self,
        reply: Reply | None,
        error: MeshError | None = None,
        *,
        state: State | None = None,
        follow: "AsyncFollow | None" = None,
        raises: bool = False,
        original: bool = False,
    ) -> None:
        self._body = reply.stream if reply else None
        self._state = state or State(reply, error, original=original)
        self._follow = follow
        self._raises = raises
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
            while True:
                async for content in self._body or _nothing():
                    for piece in state.feed(content):
                        yield piece
                        if state.cancelled:
                            return
                    if state.finished:
                        break
                if not await self._next_round():
                    return
        except (TransportFailure, MeshError) as problem:
            error = state.failed(problem)
            if error is None:
                return
            raise error from None
        finally:
            await self.aclose()

    async def _next_round(self) -> bool:
        """Go on with the next answer where tools were called; return whether there is one."""
        state = self._state
        state.check()
        followed = None if state.cancelled or self._follow is None else await self._follow(state.answer())
        if followed is None:
            state.end()
            return False
        await self.aclose()
        results, reply = followed
        self._body = reply.stream
        state.begin(reply, results)
        return True

    async def events(self) -> "AsyncIterator[Event]":
        """Yield what happens, typed: text, thinking, tool calls and their results, then usage and the end.

        Raises:
            MeshError: if the answer fails or stops early.
        """
        from mesh.events import events_of, last_events  # noqa: PLC0415 - only where they are asked for

        async for piece in self._pieces:
            for event in events_of(piece):
                yield event
        for event in last_events(self.response):
            yield event

    async def until_done(self) -> ChatResult:
        """Wait for the rest and return the full result, or the failure.

        Raises:
            MeshError: with `raise_on_error=True`, if the answer fails or stops early.
        """
        try:
            async for _ in self._pieces:
                pass
        except MeshError:
            if self._raises:
                raise
        return self.response

    async def cancel(self) -> None:
        """Stop: the call is cancelled at the provider, iterating ends, and `.response` has what had come.

        It may be called from another task. What was spent is known where the server had told it before; the account's
        usage always has it.
        """
        self._state.cancelled = True
        await self.aclose()

    @property
    def response(self) -> ChatResult:
        """The full result, once the stream has come to its end."""
        return self._state.response()

    @property
    def parsed_so_far(self) -> Any:
        """What an answer with a `response_format` says so far, as dictionaries and lists; None for nothing yet."""
        return self._state.so_far()

    async def aclose(self) -> None:
        """Give the rest up; closing twice is fine."""
        body, self._body = self._body, None
        if body is not None:
            await body.aclose()
            self._state.closed()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()


async def _nothing() -> AsyncIterator[bytes]:
    """Yield nothing: the body of a stream that was closed."""
    empty: tuple[bytes, ...] = ()
    for content in empty:
        yield content
