"""An answer on its way to a published client: a stream's events without null, and a broken stream that looks broken."""

from mesh_protocol.events import EventReader
from mesh_server.asgi import Message, Send
from mesh_server.legacy.bodies import plain_event


class PlainSend:
    """The ASGI send of one answer.

    Those clients pass over an event that tells of a failure, and take the end after it for the answer's. So after
    such an event the end is not sent: the transport closes the connection, and the client sees that something is
    missing.

    Args:
        send: what it goes to.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._reader: EventReader | None = None
        self._failed = False

    async def __call__(self, message: Message) -> None:
        """Send one ASGI message."""
        if message["type"] == "http.response.start" and _is_stream(message):
            self._reader = EventReader()
        elif message["type"] == "http.response.body" and self._reader is not None:
            found = self._reader.feed(message.get("body", b""))
            self._failed = self._failed or any(data.startswith(b'{"error"') for data in found)
            more = message.get("more_body", False) or self._failed
            message = {**message, "body": b"".join(plain_event(data) for data in found), "more_body": more}
        await self._send(message)


def _is_stream(message: Message) -> bool:
    return any(name == b"content-type" and b"event-stream" in value for name, value in message["headers"])
