"""Answers that are streams of server-sent events: begun, written at the reader's pace, and given up with the reader."""

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable
from typing import Any

from mesh_server.asgi import ClientGone, Hangup, Request, Send

#: Headers of every stream.
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would collect the pieces
)


async def start(send: Send, more: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Begin an answer that is a stream of events; `more` headers beside those of every stream."""
    headers = [*more, *HEADERS]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def write(send: Send, content: bytes) -> None:
    """Send a piece; waits while the reader is slow, which is what slows the provider down."""
    await send({"type": "http.response.body", "body": content, "more_body": True})


async def end(send: Send, content: bytes = b"") -> None:
    """End the answer, with its last piece."""
    await send({"type": "http.response.body", "body": content})


async def while_connected(request: Request, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, and cancel it as soon as the client hangs up: nobody pays for an answer that nobody reads.

    Raises:
        ClientGone: if the client hung up.
    """
    hangup: Hangup | None = request.scope.get("mesh.hangup")
    task = asyncio.current_task()
    if hangup is None or task is None:
        await _while_listening(request, work)
        return
    if hangup.gone:
        work.close()
        raise ClientGone
    hangup.tell = task.cancel
    try:
        await work
    except asyncio.CancelledError:
        if hangup.gone and not task.uncancel():  # else somebody else ends the task, too
            raise ClientGone from None
        raise
    finally:
        hangup.tell = None


async def _while_listening(request: Request, work: Coroutine[Any, Any, None]) -> None:
    """Do the same where only `receive` tells that the client hung up."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        finished = working.done()
        for task in (working, leaving):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaving
        if not finished:
            with contextlib.suppress(asyncio.CancelledError):
                await working
    if not finished:
        raise ClientGone
    working.result()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
