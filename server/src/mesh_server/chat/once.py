"""A call with an `Idempotency-Key` is made once: who sends the same again waits for its answer, or finds it.

A whole answer is made in a task of its own, so that the one who asked first may go away and come again: the call goes
on for a while after the last of them left. A stream is its reader's: it ends when the reader leaves.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mesh_server.accounts.models import Principal
from mesh_server.chat.accounting import may_have_run
from mesh_server.errors import MeshError, OutcomeUnknown, RequestInProgress
from mesh_server.vault.answers import Running, Same, StoredAnswer, StoredAnswers, Ticket

#: Seconds for which a call goes on after everybody who waits for it has left.
GRACE_S = 10.0
#: Seconds for which a second request waits where it says nothing.
JOIN_S = 300.0
#: Seconds between two looks at a call that another process makes.
POLL_S = 0.25

#: Where a call is under way: tenant, account, key.
_Place = tuple[str, str, bytes]


@dataclass(slots=True)
class _Joined:
    """A call of this process, and how many wait for it; `grace_s` as of `whole`, whoever was the last to leave."""

    work: "asyncio.Future[Any]"
    grace_s: float | None = GRACE_S
    waiting: int = 0
    leaving: asyncio.TimerHandle | None = None


class Once:
    """The calls with a key.

    Args:
        answers: where their answers are kept.
    """

    def __init__(self, answers: StoredAnswers) -> None:
        self._answers = answers
        self._running: dict[_Place, _Joined] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def whole(
        self,
        principal: Principal,
        same: Same,
        make: Callable[[Ticket], Awaitable[StoredAnswer]],
        failed: Callable[[MeshError], Awaitable[StoredAnswer]],
        *,
        within_s: float | None,
        grace_s: float | None = GRACE_S,
    ) -> tuple[StoredAnswer, bool]:
        """Return the answer of a call, and whether it is another request's.

        Args:
            principal: who asks.
            same: what makes another request the same.
            make: makes the call; its answer is stored with its usage.
            failed: returns a failure as it is answered.
            within_s: seconds that the caller gives; None for no limit of its own.
            grace_s: how long the call goes on when nobody waits for it; None to its end.

        Raises:
            IdempotencyMismatch, OutcomeUnknown: as `StoredAnswers.begin`.
            RequestInProgress: if the first request is still under way at the caller's deadline.
            MeshError: what the call itself ends with.
        """
        found = await self.begin(principal, same, within_s=within_s)
        if isinstance(found, StoredAnswer):
            return found, True
        place = _place(principal, same)
        task = asyncio.ensure_future(self._make(principal, found, make, failed))
        joined = self._running[place] = _Joined(task, grace_s)
        task.add_done_callback(lambda _: self._ended(place, joined))
        await self._wait(joined, None)
        return task.result(), False

    async def begin(self, principal: Principal, same: Same, *, within_s: float | None) -> Ticket | StoredAnswer:
        """Return the right to make a call, or the answer of the first one with its key, which is waited for."""
        loop = asyncio.get_running_loop()
        until = loop.time() + min(JOIN_S if within_s is None else within_s, JOIN_S)
        while True:
            found = await self._answers.begin(principal, same)
            if not isinstance(found, Running):
                return found
            left = until - loop.time()
            if left <= 0:
                raise RequestInProgress("The first request with this `Idempotency-Key` is still under way.")
            joined = self._running.get(_place(principal, same))
            if joined is None:
                await asyncio.sleep(min(POLL_S, left))
            else:
                await self._wait(joined, left)
                if joined.work.done() and not joined.work.cancelled():
                    joined.work.result()  # its failure is everybody's who asked for the same

    def stream(self, principal: Principal, same: Same) -> "StreamedOnce":
        """Let others wait for a stream that this request makes; it has to be told how that ended."""
        place = _place(principal, same)
        joined = self._running[place] = _Joined(asyncio.get_running_loop().create_future())
        joined.work.add_done_callback(lambda _: self._ended(place, joined))
        return StreamedOnce(self, principal, joined.work)

    async def failure(
        self,
        principal: Principal,
        ticket: Ticket,
        problem: BaseException,
        failed: Callable[[MeshError], Awaitable[StoredAnswer]],
    ) -> None:
        """Keep a failure after which the call must not be made again, or let the same request come again."""
        if isinstance(problem, OutcomeUnknown):
            return  # its answer is still being written
        if isinstance(problem, asyncio.CancelledError):
            gone = OutcomeUnknown("The first request with this `Idempotency-Key` was given up by its client.")
            await self._answers.store(principal, ticket, await failed(gone))
        elif isinstance(problem, MeshError) and not may_have_run(problem):
            await self._answers.abandon(principal, ticket)
        else:
            known = problem if isinstance(problem, MeshError) else OutcomeUnknown("The call failed in its middle.")
            await self._answers.store(principal, ticket, await failed(known))

    def in_background(self, work: Any) -> None:
        """Do something to its end whatever becomes of the request."""
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what nobody waits for any more, and let what is being written be written."""
        running = [joined.work for joined in self._running.values() if isinstance(joined.work, asyncio.Task)]
        for work in running:
            work.cancel()
        if running:
            await asyncio.wait(running)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def keeps(self, ticket: Ticket, answer: StoredAnswer) -> Callable[[Any], Awaitable[None]]:
        """Return what stores an answer in the transaction of its usage."""
        return self._answers.finish(ticket, answer)

    async def _make(
        self,
        principal: Principal,
        ticket: Ticket,
        make: Callable[[Ticket], Awaitable[StoredAnswer]],
        failed: Callable[[MeshError], Awaitable[StoredAnswer]],
    ) -> StoredAnswer:
        try:
            return await make(ticket)
        except asyncio.CancelledError as problem:
            self.in_background(self.failure(principal, ticket, problem, failed))
            raise
        except Exception as problem:
            await self.failure(principal, ticket, problem, failed)
            raise

    async def _wait(self, joined: _Joined, seconds: float | None) -> None:
        joined.waiting += 1
        if joined.leaving is not None:
            joined.leaving.cancel()
            joined.leaving = None
        try:
            await asyncio.wait((joined.work,), timeout=seconds)
        finally:
            joined.waiting -= 1
            if not joined.waiting and not joined.work.done() and joined.grace_s is not None:
                loop = asyncio.get_running_loop()
                joined.leaving = loop.call_later(joined.grace_s, _give_up, joined)

    def _ended(self, place: _Place, joined: _Joined) -> None:
        if self._running.get(place) is joined:
            del self._running[place]
        if not joined.work.cancelled():
            joined.work.exception()  # told to whoever waits; nobody may


class StreamedOnce:
    """A stream with a key, and those who wait for its end."""

    def __init__(self, once: Once, principal: Principal, work: "asyncio.Future[Any]") -> None:
        self._once = once
        self._principal = principal
        self._work = work

    def ended(self) -> None:
        """Its answer is stored."""
        if not self._work.done():
            self._work.set_result(None)

    def failed(
        self,
        ticket: Ticket,
        problem: BaseException,
        failed: Callable[[MeshError], Awaitable[StoredAnswer]],
    ) -> None:
        """It came to no end."""

        async def note() -> None:
            try:
                await self._once.failure(self._principal, ticket, problem, failed)
            finally:
                self.ended()

        self._once.in_background(note())


def _place(principal: Principal, same: Same) -> _Place:
    return principal.tenant_id, principal.account_id, same.key


def _give_up(joined: _Joined) -> None:
    if not joined.waiting:
        joined.work.cancel()
