"""Whole messages that leave together: what one turn of the event loop has to send is sent in its next one.

Waking the other side's process costs more than the rest of a write (docs/adr/0128). Written one by one, each message
wakes a receiver that has answered the one before and fallen asleep again; written together, they wake it once.
"""

import asyncio
from weakref import WeakKeyDictionary

from mesh_server.telemetry import logger

#: Messages that wait at the most: bounds how long the first of them waits for the others.
MOST = 16

_log = logger("mesh.connections")


class Outbox:
    """What waits to be written on an event loop.

    A message that is left here is out of its order with what its transport is told directly: `flush` comes before that.

    Args:
        loop: the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[asyncio.WriteTransport, bytes]] = []

    def put(self, transport: asyncio.WriteTransport, message: bytes) -> None:
        """Take a message, which leaves before anything that is called from now on by the loop."""
        waiting = self._waiting
        waiting.append((transport, message))
        if len(waiting) == 1:
            self._loop.call_soon(self.flush)
        elif len(waiting) >= MOST:
            self.flush()

    def flush(self) -> None:
        """Write all that waits. What is for a transport that is closed by now is dropped, as the transport would."""
        waiting, self._waiting = self._waiting, []
        for transport, message in waiting:
            try:
                if not transport.is_closing():
                    transport.write(message)
            except Exception as problem:  # noqa: BLE001 - one connection's failure is not the others'
                _log.error("a message can't be written", problem=type(problem).__name__)
                transport.abort()


_outboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox] = WeakKeyDictionary()


def outbox_of(loop: asyncio.AbstractEventLoop) -> Outbox:
    """Return the outbox of an event loop."""
    found = _outboxes.get(loop)
    if found is None:
        found = _outboxes[loop] = Outbox(loop)
    return found
