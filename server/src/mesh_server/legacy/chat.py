"""Chat for the published clients: Mesh chat, with their bodies and answers, at the paths that they try in turn."""

from dataclasses import replace

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.asgi import Endpoint, Handler, Request, Send
from mesh_server.chat.calls import Call, OnceRoutes
from mesh_server.chat.routes import ChatRoutes, headers_of
from mesh_server.chat.service import Chat
from mesh_server.chat.surfaces import MESH
from mesh_server.legacy import bodies
from mesh_server.legacy.refusals import MOVED, is_theirs, send_moved_error
from mesh_server.legacy.repeats import repeat_of
from mesh_server.legacy.stream import PlainSend

#: The path of Mesh chat, which they try, too.
SHARED = "/api/v1/chat/completions"
#: All others.
PATHS = (
    "/v1/mesh/chat",
    "/v1/mesh/chat/completions",
    "/v1/mesh/completions",
    "/v1/mesh/complete",
    "/api/v1/completions",
)
_SURFACE = replace(MESH, name="legacy", read=bodies.read, answer=bodies.answer)


class _Marks(Quiet, msgspec.Struct):
    prompt: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_marks = msgspec.json.Decoder(_Marks)


class LegacyChat:
    """Handlers of the endpoints."""

    def __init__(self, chat: Chat) -> None:
        self._handle = ChatRoutes(chat).handler(_SURFACE, send_moved_error)
        self._once = OnceRoutes(chat)

    async def chat(self, request: Request, send: Send) -> None:
        """Answer a chat: a whole answer is made once however often it is asked for, and whoever hangs up."""
        body = await request.body()
        asked = bodies.read(body, headers_of(request))
        if asked.stream or request.header(b"idempotency-key") is not None:
            await self._handle(request, PlainSend(send))
            return
        call = Call(_SURFACE, send_moved_error, request, asked, [])
        same = repeat_of(request.principal, bodies.canonical(body))
        await self._once.answer(call, same, send, grace_s=None)

    def beside(self, theirs: Handler) -> Handler:
        """Return a handler that answers the published clients, and leaves everybody else to another handler."""

        async def handle(request: Request, send: Send) -> None:
            if is_theirs(request) and _says_it_twice(await request.body()):
                await self.chat(request, send)
            else:
                await theirs(request, send)

        return handle

    def endpoints(self, mesh_chat: Endpoint) -> list[Endpoint]:
        """Return what this module serves.

        Args:
            mesh_chat: the endpoint of Mesh chat; these are it at other addresses.
        """
        return [
            replace(
                mesh_chat,
                path=path,
                handler=self.chat,
                summary="Chat (published clients)",
                send_error=send_moved_error,
                moved=MOVED,
                deprecated=True,
            )
            for path in PATHS
        ]


def _says_it_twice(body: bytes) -> bool:
    """Return whether a body has `prompt` and `messages`: one published client sends both, Mesh chat takes one."""
    try:
        marks = _marks.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return marks.prompt is not msgspec.UNSET and marks.messages is not msgspec.UNSET
