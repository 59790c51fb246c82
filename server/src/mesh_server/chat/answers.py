"""A provider's stream on its way to a client: all that came at once, and complete or an error."""

import asyncio

from mesh_protocol.events import EventReader, EventTooLarge
from mesh_server.chat.accounting import CallAccount
from mesh_server.chat.formats import bridge
from mesh_server.chat.formats.common import Outcome
from mesh_server.chat.models import Target
from mesh_server.chat.upstream.failures import UpstreamFailure
from mesh_server.chat.upstream.meanings import failure_from_event, no_answer
from mesh_server.chat.upstream.pool import UpstreamAnswer
from mesh_server.errors import MeshError, ProviderFailed
from mesh_server.vault.answers import MOST_BYTES


class AnswerStream:
    """A provider's answer as it comes, in the surface's format; has to be closed.

    Args:
        target: who answers.
        answer: the provider's, as it comes.
        relay: hands its events on.
        outcome: kept as complete as the answer is.
        account: settled when the answer is complete, before its end is handed out.

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
        account: CallAccount,
    ) -> None:
        self.outcome = outcome
        self.events = 0
        self._target = target
        self._answer = answer
        self._relay = relay
        self._account = account
        self._kept: bytearray | None = None if account.ending.keep is None else bytearray()
        self._end: bytes | None = None
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
        self._account.begin()

    async def next(self) -> bytes:
        """Return what is to be sent next, all events that came at once; empty when the answer is complete.

        Raises:
            MeshError: if the provider fails, stalls, or stops before its answer has come to an end.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await self._next()

    @property
    def over(self) -> bool:
        """Whether `next` gave the last piece."""
        return self._over and self._end is None and self._failure is None

    async def close(self, problem: BaseException | None = None) -> None:
        """Give the rest of the answer up.

        Args:
            problem: why, where it is not complete; None where its reader has left.
        """
        if not self._account.settled:
            self._account.fail(problem if problem is not None else asyncio.CancelledError())
        await self.release()

    async def release(self) -> None:
        """Let go of the provider, where another may still be asked."""
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
            if self._end is not None and not self._account.waits:
                pieces.append(await self._settled())
            if pieces:
                return self._handed_out(pieces)
        return await self._settled() if self._end is not None else b""

    async def _settled(self) -> bytes:
        """Return the end of the answer, once it is accounted for."""
        end, self._end = self._end or b"", None
        self._account.begin()  # where everything came at once
        kept = b"" if self._kept is None else bytes(self._kept) + end
        await self._account.settle(self.outcome, kept)
        return end

    def _handed_out(self, pieces: list[bytes]) -> bytes:
        self.events += len(pieces)
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self._kept is not None and len(self._kept) <= MOST_BYTES:
            self._kept += content
        return content

    async def _chunk(self) -> bytes:
        try:
            return await self._answer.chunk()
        except UpstreamFailure as problem:
            if not self.outcome.finished:
                raise no_answer(self._target, problem) from None
            return b""

    def _read(self, content: bytes, pieces: list[bytes]) -> None:
        """Add what is to be sent for what came; what ends the answer is held back until it is settled."""
        relay, end, sent = self._relay, [], self._account.sent
        try:
            for data in self._reader.feed(content):
                sent.add(data)
                found = relay.feed(data)
                if relay.closed:
                    end = found
                    break
                pieces += found
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
        self._account.price(self.outcome)
        self._end = b"".join((*end, *relay.end(), *self._account.ending.last(self.outcome)))
