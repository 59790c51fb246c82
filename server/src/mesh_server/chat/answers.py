"""A provider's stream on its way to a client: piece by piece, and complete or an error."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from mesh_protocol.events import EventReader, EventTooLarge
from mesh_server.chat.formats import bridge
from mesh_server.chat.formats.common import Outcome
from mesh_server.chat.models import Target
from mesh_server.chat.upstream.failures import UpstreamFailure
from mesh_server.chat.upstream.meanings import failure_from_event, no_answer
from mesh_server.chat.upstream.pool import UpstreamAnswer
from mesh_server.errors import ProviderFailed


class AnswerStream:
    """A provider's answer as it comes, in the surface's format.

    Attributes:
        outcome: what is known of it so far; complete when the iteration is.
        settle: called once when the answer is complete.
    """

    def __init__(self, target: Target, answer: UpstreamAnswer, relay: bridge.Relay, outcome: Outcome) -> None:
        self.outcome = outcome
        self.settle: Callable[[], None] = lambda: None
        self._target = target
        self._relay = relay
        self._pieces = self._read(answer)
        self._first: bytes | None = None

    async def begin(self) -> None:
        """Wait for the first piece: until then a failure is an answer of its own, and others may be asked.

        Raises:
            MeshError: as `pieces`.
        """
        self._first = await anext(self._pieces, None)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield what is to be sent.

        Raises:
            MeshError: if the provider fails, stalls, or stops before its answer has come to an end.
        """
        if self._first is not None:
            yield self._first
        async for piece in self._pieces:
            yield piece

    async def close(self) -> None:
        """Give the rest of the answer up."""
        await self._pieces.aclose()

    async def _read(self, answer: UpstreamAnswer) -> AsyncGenerator[bytes, None]:
        reader, name = EventReader(), self._target.provider
        try:
            async for content in answer.chunks():
                for data in reader.feed(content):
                    for piece in self._feed(data):
                        yield piece
                if self._relay.closed:
                    break
        except UpstreamFailure as problem:
            if not self.outcome.finished:
                raise no_answer(self._target, problem) from None
        except EventTooLarge:
            raise ProviderFailed(f"{name} sent a piece that is larger than any answer.") from None
        if not self.outcome.finished:
            raise ProviderFailed(f"{name} ended its stream before its answer was complete.")
        self.settle()
        for piece in self._relay.end():
            yield piece

    def _feed(self, data: bytes) -> list[bytes]:
        if self._relay.closed:
            return []
        try:
            return self._relay.feed(data)
        except bridge.ProviderSaidError as problem:
            raise failure_from_event(self._target, problem.error) from None
        except bridge.NONSENSE:
            raise ProviderFailed(f"{self._target.provider} sent a piece that is not JSON of its format.") from None
