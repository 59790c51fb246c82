"""Follows plans with `await`. Apart from `_plan`, so that the sync client does not load asyncio."""

import asyncio
from typing import Any, TypeVar

from mesh._plan import Attempt, Do, Plan, Wait
from mesh._transport import AsyncTransport, TransportFailure

T = TypeVar("T")

#: Plans that go on after their caller was cancelled; the event loop itself keeps only weak references.
_finishing: set["asyncio.Task[Any]"] = set()


async def adrive(plan: Plan[T], transport: AsyncTransport) -> T:
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
                    told = await transport.send(step.request)
                elif isinstance(step, Wait):
                    await asyncio.sleep(step.seconds)
                elif isinstance(step, Do):
                    told = await asyncio.to_thread(step.work)
                else:
                    told = await _finish(step.plan, transport)
            except TransportFailure as problem:
                told = problem
            except Exception as problem:  # noqa: BLE001 - the plan is told, and decides
                failed = problem
    finally:
        plan.close()


async def _finish(plan: Plan[T], transport: AsyncTransport) -> T:
    task = asyncio.ensure_future(adrive(plan, transport))
    _finishing.add(task)
    task.add_done_callback(_forget)
    return await asyncio.shield(task)


def _forget(task: "asyncio.Task[Any]") -> None:
    _finishing.discard(task)
    if not task.cancelled():
        task.exception()  # whoever waited has it; where nobody did, the store tells the next one
