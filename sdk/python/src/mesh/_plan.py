"""Plans: what is to be done, without doing it.

A plan is a generator that yields steps and is told what came of each. Both clients drive the same plans, so that they
differ in the await alone; a test can drive one by hand.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from mesh._transport import Reply, SyncTransport, TransportFailure, WireRequest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attempt:
    """Send this; the plan is told a `Reply` or a `TransportFailure`."""

    request: WireRequest


@dataclass(frozen=True, slots=True)
class Wait:
    """Sleep so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Do:
    """Call this where waiting is allowed (files, the keyring, a question); the plan is told what it returns."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Finish:
    """Follow this plan to its end even if the caller of an asynchronous client is cancelled meanwhile."""

    plan: "Plan[Any]"


Step = Attempt | Wait | Do | Finish
Told = Reply | TransportFailure
Plan = Generator[Step, Any, T]


def drive(plan: Plan[T], transport: SyncTransport) -> T:
    """Do what a plan asks for until it has its result."""
    told: Any = None
    failed: Exception | None = None
    try:
        while True:
            try:
                step = plan.send(told) if failed is None else plan.throw(failed)
            except StopIteration as finished:
                result: T = finished.value
                return result
            told, failed = None, None
            try:
                if isinstance(step, Attempt):
                    told = transport.send(step.request)
                elif isinstance(step, Wait):
                    time.sleep(step.seconds)
                elif isinstance(step, Do):
                    told = step.work()
                else:
                    told = drive(step.plan, transport)
            except TransportFailure as problem:
                told = problem
            except Exception as problem:  # noqa: BLE001 - the plan is told, and decides
                failed = problem
    finally:
        plan.close()  # what it holds is given back now, whoever keeps the traceback of a Ctrl-C


def do(work: Callable[[], T]) -> Plan[T]:
    """Call this where waiting is allowed, and return what it returns."""
    result: T = yield Do(work)
    return result


def finish(plan: Plan[T]) -> Plan[T]:
    """Follow a plan to its end, whatever becomes of the caller, and return its result."""
    result: T = yield Finish(plan)
    return result


def attempt(request: WireRequest) -> Plan[Told]:
    """Send one request, and return what came of it."""
    told: Told = yield Attempt(request)
    return told


def acquire(try_once: Callable[[], bool], limit_s: float) -> Plan[bool]:
    """Take a lock by asking for it again and again.

    Asking rather than waiting, so that an event loop goes on, Ctrl-C ends it, and nobody is left holding a lock that
    was granted to a caller who had gone.
    """
    deadline = time.monotonic() + limit_s
    pause = 0.002
    while not try_once():
        if time.monotonic() >= deadline:
            return False
        yield Wait(pause)
        pause = min(pause * 1.5, 0.05)
    return True
