"""Several turns: what was said is remembered, and a turn that failed leaves no trace."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, overload

from mesh._answers import total
from mesh._stream import AsyncStream, Stream
from mesh._stream_state import State
from mesh.results import ChatResult, Usage

_OF_THE_CALL = ("messages", "system", "original_response")


class _History:
    """What was said, and what it cost; pure."""

    def __init__(self, client: Any, system: str | None, options: Mapping[str, Any]) -> None:
        for name in (*_OF_THE_CALL, "stream", "message", "prompt"):
            if name in options:
                raise TypeError(f"a conversation has no {name}: give it with a chat, or leave it out")
        if system is not None and not isinstance(system, str):
            raise TypeError(f"system must be a str, not {type(system).__name__}")
        self._client = client
        self._options = dict(options)
        self._messages: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
        self._usage: list[Usage] = []
        self._streams: list[State] = []  # that have not come to their end, or never will

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What was said so far, in OpenAI's shape; a copy."""
        return copy.deepcopy(self._messages)

    @property
    def usage(self) -> Usage:
        """What all turns spent, as far as the server told; the cost is unknown where that of one of them is.

        A stream that was left early counts with what was told by then; `get_usage` has all of it.
        """
        begun = [spent for spent in (state.spent() for state in self._streams) if spent is not None]
        return total([*self._usage, *begun])

    def fork(self) -> Self:
        """Return a conversation that begins with what was said here, and goes its own way; its usage begins anew."""
        other = copy.copy(self)
        other._options = dict(self._options)  # noqa: SLF001 - another one of its own
        other._messages = self.messages  # noqa: SLF001
        other._usage, other._streams = [], []  # noqa: SLF001
        return other

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self._messages)

    def __repr__(self) -> str:
        """Return how long it is, and nothing that was said."""
        return f"<{type(self).__name__} of {len(self)} messages>"

    def _call(self, message: str, options: Mapping[str, Any]) -> "tuple[list[dict[str, Any]], dict[str, Any]]":
        """Return all messages of the next chat, and its options."""
        for name in _OF_THE_CALL:
            if name in options:
                raise TypeError(f"{name} is not for a chat of a conversation: it remembers what was said")
        if not isinstance(message, str):
            raise TypeError(f"message must be a str, not {type(message).__name__}")
        options = {**self._options, **options, "original_response": False}
        content: Any = message
        images, files = options.pop("images", None), options.pop("files", None)
        if images is not None or files is not None:
            from mesh._chat import media  # noqa: PLC0415 - most messages have none

            content = media.parts(message, images, files)
        return [*self._messages, {"role": "user", "content": content}], options

    def _keep(self, said: Sequence[dict[str, Any]], answer: Any) -> None:
        """Remember a turn that came to its end, whole or not at all."""
        if not isinstance(answer, ChatResult) or answer.get("success") is not True:
            return
        turns = answer.get("messages") or said
        self._messages = [*turns, answer.raw["choices"][0]["message"]]
        self._usage.append(answer.usage)

    def _follow(self, said: Sequence[dict[str, Any]], state: State) -> None:
        """Remember a stream's turn when it comes to its end, and what it spends until then."""

        def end(answer: ChatResult) -> None:
            self._streams.remove(state)
            self._keep(said, answer)

        state.on_end = end
        if state.error is None:
            self._streams.append(state)


class Conversation(_History):
    """A conversation: `chat` knows what was said before, and returns results, never original responses.

    Not to be used by several threads at the same time.

    Attributes:
        messages: what was said so far, in OpenAI's shape.
        usage: what all turns spent.
    """

    @overload
    def chat(self, message: str, *, stream: Literal[True], **options: Any) -> Stream: ...

    @overload
    def chat(self, message: str, **options: Any) -> ChatResult: ...

    def chat(self, message: str, **options: Any) -> Any:
        """Say something and return the answer; options as the client's `chat` takes them, also `stream=True`.

        A turn is remembered when its answer is whole: not after a failure, and not from a stream that was left early.

        Raises:
            TypeError, ValueError: if the call is wrong.
            MeshError: with `raise_on_error=True`, whatever else fails.
        """
        said, options = self._call(message, options)
        answer = self._client.chat(messages=said, **options)
        if isinstance(answer, Stream):
            self._follow(said, answer._state)  # noqa: SLF001 - a stream of our own making
        else:
            self._keep(said, answer)
        return answer


class AsyncConversation(_History):
    """As `Conversation`, awaited.

    Attributes:
        messages: what was said so far, in OpenAI's shape.
        usage: what all turns spent.
    """

    @overload
    async def chat(self, message: str, *, stream: Literal[True], **options: Any) -> AsyncStream: ...

    @overload
    async def chat(self, message: str, **options: Any) -> ChatResult: ...

    async def chat(self, message: str, **options: Any) -> Any:
        """Say something and return the answer; options as the client's `chat` takes them, also `stream=True`.

        A turn is remembered when its answer is whole: not after a failure, and not from a stream that was left early.

        Raises:
            TypeError, ValueError: if the call is wrong.
            MeshError: with `raise_on_error=True`, whatever else fails.
        """
        said, options = self._call(message, options)
        answer = await self._client.chat(messages=said, **options)
        if isinstance(answer, AsyncStream):
            self._follow(said, answer._state)  # noqa: SLF001 - a stream of our own making
        else:
            self._keep(said, answer)
        return answer
