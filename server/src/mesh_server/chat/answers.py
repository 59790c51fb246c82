"""A provider's stream on its way to a client: all that came at once, and complete or an error."""

from collections.abc import Callable

from mesh_protocol.events import EventReader, EventTooLarge
from mesh_server.chat.formats import bridge
from mesh_server.chat.formats.common import Outcome
from mesh_server.chat.models import Target
from mesh_server.chat.upstream.failures import UpstreamFailure
from mesh_server.chat.upstream.meanings import failure_from_event, no_answer
from mesh_server.chat.upstream.pool import UpstreamAnswer
from mesh_server.errors import MeshError, ProviderFailed


class AnswerStream:
    """A provider's answer as it comes, in the surface's format; has to be closed.

    Args:
        target: who answers.
        answer: the provider's, as it comes.
        relay: hands its events on.
        outcome: kept as complete as the answer is.
        settle: called once when the answer is complete, before its end is handed out.

    Attributes:
        outcome: what is known of it so far; complete when `next` gave its last piece.
        events: how many events were handed out.
    """

    def __init__(
        self,
        target: Target,
        answer: UpstreamAnswer,
        relay: bridge.Relay,
        outcome: Outcome,
        settle: Callable[[], None],
    ) -> None:
        self.outcome = outcome
        self.events = 0
        self._target = target
        self._answer = answer
        self._relay = relay
        self._settle = settle
        self._reader = EventReader()
        self._over = False
        self._failure: MeshError | None = None
        self._first: bytes | None = None

    async def begin(self) -> None:
        """Wait for the first piece: until then a failure is an answer of its own, and others may be asked.

        Raises:
            MeshError: as `next`.
        """
        self._first = await self._next()

    async def next(self) -> bytes:
        """Return what is to be sent next, all events that came at once; empty when the answer is complete.

        Raises:
            MeshError: if the provider fails, stalls, or stops before its answer has come to an end.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await self._next()

    async def close(self) -> None:
        """Give the rest of the answer up."""
        self._over = True
        try:
            await self._answer.close()
        finally:
            await self._target.release()

    async def _next(self) -> bytes:
        while not self._over:
            if self._failure is not None:
                raise self._failure
            content = await self._chunk()
            pieces: list[bytes] = []
            try:
                self._read(content, pieces)
            except MeshError as problem:
                if not pieces:
                    raise
                self._failure = problem  # told after what came before it
            if pieces:
                self.events += len(pieces)
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return b""

    async def _chunk(self) -> bytes:
        try:
            return await self._answer.chunk()
        except UpstreamFailure as problem:
            if not self.outcome.finished:
                raise no_answer(self._target, problem) from None
            return b""

    def _read(self, content: bytes, pieces: list[bytes]) -> None:
        """Add what is to be sent for what came; at its end, what the surface itself has to say there."""
        relay = self._relay
        try:
            for data in self._reader.feed(content):
                pieces += relay.feed(data)
                if relay.closed:
                    break
        except EventTooLarge:
            raise ProviderFailed(f"{self._target.provider} sent a piece that is larger than any answer.") from None
        except bridge.ProviderSaidError as problem:
            raise failure_from_event(self._target, problem.error) from None
        except bridge.NONSENSE:
            raise ProviderFailed(f"{self._target.provider} sent a piece that is not JSON of its format.") from None
        if content and not relay.closed:
            return
        if not self.outcome.finished:
            raise ProviderFailed(f"{self._target.provider} ended its stream before its answer was complete.")
        self._over = True
        self._settle()
        pieces += relay.end()
