"""When a call is tried again, with whom, and when a provider is left alone for a while.

Another try of the same target is made only where nothing was executed: no connection came about, or the provider says
so (429, 503, 529, `x-should-retry: true`). Another target, of the operator's route, is asked after any failure that is
not the request's own. Both only before the first byte of an answer.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from mesh_server.chat.routing import Route
from mesh_server.errors import (
    LocalModelFailed,
    MeshError,
    ModelNotFound,
    ModelNotInstalled,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderKeyMissing,
    ProviderQuotaExceeded,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    ServerOverloaded,
)
from mesh_server.telemetry import logger

_log = logger("mesh.chat")

#: Names of targets that are remembered at the same time.
_MOST_NAMES = 1024

T = TypeVar("T")

#: Failures after which the next target of a route is asked: not the request's own.
_OTHERS_MAY = (
    LocalModelFailed,
    ModelNotFound,
    ModelNotInstalled,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderKeyMissing,
    ProviderQuotaExceeded,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
    ServerOverloaded,
)
#: Failures that speak against a provider and not against a request or a key.
_AGAINST_PROVIDER = (ProviderFailed, ProviderTimeout, ProviderUnavailable)
#: Refusals that only a provider which works can give. Others, like a missing key, may come before it is asked at all.
_ANSWERS = (ProviderRejected, ProviderRateLimited, ProviderQuotaExceeded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited, and for what.

    Attributes:
        tries: of one target.
        backoff_s: seconds before the second try where the provider names none; doubles each time.
        most_wait_s: a longer Retry-After is not waited for, but handed to the caller.
        failures: in a row, after which a provider's model is left alone.
        rest_s: seconds for which it is; then one call goes as a probe.
    """

    tries: int = 3
    backoff_s: float = 0.25
    most_wait_s: float = 8.0
    failures: int = 5
    rest_s: float = 15.0


class Breaker:
    """Leaves a provider's model alone that failed several times in a row; a probe decides when that ends."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failures: dict[str, int] = {}
        self._open_until: dict[str, float] = {}
        self._probing: set[str] = set()

    def resting(self) -> list[str]:
        """Return the names of those that are left alone now, or looked at by a probe."""
        now = time.monotonic()
        return [name for name, until in self._open_until.items() if until > now or name in self._probing]

    def passing(self, name: str) -> "_Passage":
        """Return a context that lets one call to `name` pass, and learns from what becomes of it.

        Entering it raises ProviderUnavailable if `name` is left alone now.
        """
        return _Passage(self, name)

    def enter(self, name: str) -> None:
        """Let a call pass; see `passing`."""
        until = self._open_until.get(name)
        if until is None:
            return
        wait = until - time.monotonic()
        if wait > 0 or name in self._probing:
            raise ProviderUnavailable(
                f"{name} failed {self._patience.failures} times in a row and is left alone for a moment.",
                retry_after=max(wait, 1.0),
            )
        self._probing.add(name)

    def leave(self, name: str, failure: BaseException | None) -> None:
        """Learn from what became of a call that was let pass."""
        if failure is None or isinstance(failure, _ANSWERS):
            self._answered(name)
        elif isinstance(failure, _AGAINST_PROVIDER):
            self._failed(name)
        self._probing.discard(name)

    def _answered(self, name: str) -> None:
        if self._failures:
            self._failures.pop(name, None)
        if self._open_until and self._open_until.pop(name, None) is not None:
            _log.info("a provider answers again", target=name)

    def _failed(self, name: str) -> None:
        if len(self._failures) >= _MOST_NAMES:  # callers may make names up
            self._answered(next(iter(self._failures)))
        count = self._failures[name] = self._failures.get(name, 0) + 1
        if count >= self._patience.failures:
            self._open_until[name] = time.monotonic() + self._patience.rest_s
            _log.warning("a provider failed repeatedly and is left alone", target=name, seconds=self._patience.rest_s)


class _Passage:
    """One call's way through the breaker."""

    __slots__ = ("_breaker", "_name")

    def __init__(self, breaker: Breaker, name: str) -> None:
        self._breaker = breaker
        self._name = name

    def __enter__(self) -> None:
        self._breaker.enter(self._name)

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._breaker.leave(self._name, failure)


class Attempts:
    """Tries a call until it succeeds or makes no more sense.

    Args:
        patience: how long is waited, and for what.
    """

    def __init__(self, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self.breaker = Breaker(self.patience)

    async def first(
        self,
        hops: Sequence[Route],
        call: Callable[[Route], Awaitable[T]],
        *,
        until: float | None,
        passed_on: Callable[[MeshError], None] | None = None,
    ) -> tuple[T, list[str]]:
        """Return what the first target gives that succeeds, and the names of all that were tried.

        Args:
            hops: the targets in their order.
            call: makes one call, as far as the first byte of the answer.
            until: the caller's deadline by the loop's clock; None without.
            passed_on: told of each failure after which the next target is asked.

        Raises:
            MeshError: the last failure.
        """
        tried: list[str] = []
        for number, hop in enumerate(hops):
            tried.append(hop.name)
            try:
                return await self._same(hop, call, until), tried
            except _OTHERS_MAY as failure:
                if number == len(hops) - 1:
                    raise
                if passed_on is not None:
                    passed_on(failure)
                _log.info("the next target is asked", failed=hop.name, code=failure.code)
        raise ValueError("a call needs a target")

    async def _same(self, hop: Route, call: Callable[[Route], Awaitable[T]], until: float | None) -> T:
        for attempt in range(1, self.patience.tries + 1):
            try:
                with self.breaker.passing(hop.name):
                    return await call(hop)
            except MeshError as failure:
                wait = self._wait(failure, attempt)
                late = wait is not None and until is not None and asyncio.get_running_loop().time() + wait > until
                if wait is None or late or attempt == self.patience.tries:
                    if attempt > 1:
                        failure.details = {**(failure.details or {}), "attempts": attempt}
                    raise
            await asyncio.sleep(wait)
        raise ValueError("there must be one try at least")

    def _wait(self, failure: MeshError, attempt: int) -> float | None:
        """Return how long to wait before another try; None where it makes no sense."""
        if not failure.unexecuted:
            return None
        wait = failure.retry_after
        if wait is None:
            wait = self.patience.backoff_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.0)  # noqa: S311 - to spread load
        return wait if wait <= self.patience.most_wait_s else None
