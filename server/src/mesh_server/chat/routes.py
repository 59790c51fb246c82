"""HTTP endpoints of chat: Mesh chat and OpenAI's chat completions, one code for both."""

from typing import Any, Protocol

import msgspec

from mesh_protocol import events
from mesh_server.asgi import (
    JSON,
    Endpoint,
    Request,
    Send,
    error_body,
    error_headers,
    send_bytes,
    send_error,
    send_json,
)
from mesh_server.chat.formats import openai_chat, sse
from mesh_server.chat.formats.common import ChatRequest, Outcome
from mesh_server.chat.service import Chat
from mesh_server.errors import MeshError, ProviderFailed

_CALL_ERRORS = (
    "model_not_found",
    "model_not_installed",
    "provider_not_found",
    "provider_key_missing",
    "key_not_found",
    "grant_insufficient",
    "unsupported_feature",
    "provider_auth_failed",
    "provider_rejected",
    "provider_rate_limited",
    "provider_quota_exceeded",
    "provider_failed",
    "provider_unavailable",
    "provider_timeout",
    "local_model_failed",
    "vault_damaged",
)


class Message(msgspec.Struct):
    """One message; `content` is text or a list of parts."""

    role: str
    content: Any = None


class OpenAIRequest(msgspec.Struct, omit_defaults=True):
    """OpenAI's chat completion request; every other member of it goes to the provider as it is."""

    messages: list[Message]
    model: str | None = None
    stream: bool | None = None


class MeshRequest(msgspec.Struct, omit_defaults=True):
    """OpenAI's request with `message` for short, and the choice of provider and key."""

    messages: list[Message] | None = None
    message: str | None = None
    prompt: str | None = None
    model: str | None = None
    provider: str | None = None
    key_name: str | None = None
    key_owner: str | None = None
    stream: bool | None = None
    thinking: bool | None = None
    thinking_budget: int | None = None
    strict_models: bool | None = None


class Completion(msgspec.Struct):
    """OpenAI's chat completion."""

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any]


class MeshCompletion(Completion):
    """OpenAI's chat completion with who answered, what it cost in US dollars, and what was done otherwise."""

    provider: str
    cost_usd: float | None
    warnings: list[str]
    thinking: str | None
    request_id: str
    success: bool = True


class ModelEntry(msgspec.Struct):
    """One model that the caller can use."""

    id: str
    owned_by: str
    object: str = "model"
    created: int = 0


class ModelList(msgspec.Struct):
    """The models that the caller can use, in OpenAI's shape."""

    data: list[ModelEntry]
    object: str = "list"


class OpenAIErrorContent(msgspec.Struct):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorAnswer(msgspec.Struct):
    """The body of an error in OpenAI's format."""

    error: OpenAIErrorContent


class MeshModelList(msgspec.Struct):
    """The models that the caller can use: by provider, and as a list."""

    models: dict[str, list[str]]
    data: list[ModelEntry]
    success: bool = True


class Surface(Protocol):
    """What differs between the formats in which people speak to Mesh."""

    def read(self, body: bytes) -> ChatRequest:
        """Read a request."""

    def answer(self, body: bytes, outcome: Outcome, request_id: str) -> bytes:
        """Return a whole answer."""

    def piece(self, data: bytes, chunk: openai_chat.Chunk, request: ChatRequest) -> bytes | None:
        """Return a piece of a stream, or None to keep it back."""

    def last(self, outcome: Outcome, request_id: str) -> bytes | None:
        """Return the piece before a stream's end, if there is one."""

    def failure(self, error: MeshError, request_id: str) -> Any:
        """Return what a stream that fails in its middle ends with."""


class MeshSurface:
    """Mesh chat."""

    def read(self, body: bytes) -> ChatRequest:
        """Read a request."""
        return openai_chat.read_mesh(body)

    def answer(self, body: bytes, outcome: Outcome, request_id: str) -> bytes:
        """Return the provider's answer with what Mesh adds."""
        return openai_chat.mesh_answer(body, outcome, request_id)

    def piece(self, data: bytes, chunk: openai_chat.Chunk, request: ChatRequest) -> bytes | None:  # noqa: ARG002 - as the other surface
        """Return every piece but the provider's count of tokens, which comes in the last one."""
        return data if chunk.choices else None

    def last(self, outcome: Outcome, request_id: str) -> bytes | None:
        """Return what is known at the end."""
        return openai_chat.mesh_last_chunk(outcome, request_id)

    def failure(self, error: MeshError, request_id: str) -> Any:
        """Return the failure as an error answer has it."""
        body = error_body(error, request_id)
        return {"error": body["error"], "request_id": request_id}


class OpenAISurface:
    """OpenAI's chat completions."""

    def read(self, body: bytes) -> ChatRequest:
        """Read a request."""
        return openai_chat.read_openai(body)

    def answer(self, body: bytes, outcome: Outcome, request_id: str) -> bytes:  # noqa: ARG002 - as the other surface
        """Return the provider's answer as it is."""
        return body

    def piece(self, data: bytes, chunk: openai_chat.Chunk, request: ChatRequest) -> bytes | None:
        """Return every piece as it is, but the count of tokens only to those who asked for it."""
        return data if chunk.choices or request.include_usage else None

    def last(self, outcome: Outcome, request_id: str) -> bytes | None:  # noqa: ARG002 - as the other surface
        """Add nothing."""
        return None

    def failure(self, error: MeshError, request_id: str) -> Any:  # noqa: ARG002 - as the other surface
        """Return the failure in OpenAI's form."""
        return openai_chat.openai_error(error)


async def send_openai_error(send: Send, error: MeshError, _request_id: str) -> None:
    """Answer with the error body, status and headers of OpenAI's API."""
    await send_json(
        send,
        openai_chat.openai_error(error),
        status=openai_chat.openai_status(error),
        headers=[*error_headers(error), *openai_chat.openai_headers(error)],
    )


class ChatRoutes:
    """Handlers of the chat endpoints."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._mesh, self._openai = MeshSurface(), OpenAISurface()

    async def mesh_chat(self, request: Request, send: Send) -> None:
        """Answer Mesh chat."""
        await self._serve(self._mesh, request, send)

    async def openai_chat(self, request: Request, send: Send) -> None:
        """Answer in OpenAI's format."""
        await self._serve(self._openai, request, send)

    async def openai_models(self, request: Request, send: Send) -> None:
        """Answer the models that the caller can use, in OpenAI's format."""
        await send_json(send, ModelList(_entries(await self._chat.models(request.principal))))

    async def mesh_models(self, request: Request, send: Send) -> None:
        """Answer the models that the caller can use, by provider."""
        models = await self._chat.models(request.principal)
        await send_json(send, MeshModelList(models, _entries(models)))

    async def _serve(self, surface: Surface, request: Request, send: Send) -> None:
        asked = surface.read(await request.body())
        work = self._stream if asked.stream else self._complete
        await sse.while_connected(request, work(surface, request, asked, send))

    async def _complete(self, surface: Surface, request: Request, asked: ChatRequest, send: Send) -> None:
        body, outcome = await self._chat.complete(request.principal, asked)
        try:
            answer = surface.answer(body, outcome, request.request_id)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ProviderFailed(f"{outcome.provider} answered with something that is no chat completion.") from None
        await send_bytes(send, 200, answer, [JSON])

    async def _stream(self, surface: Surface, request: Request, asked: ChatRequest, send: Send) -> None:
        async with self._chat.stream(request.principal, asked) as stream:
            await sse.start(send)
            try:
                async for data, chunk in stream.pieces():
                    piece = surface.piece(data, chunk, asked)
                    if piece is not None:
                        await sse.write(send, events.event(piece))
            except MeshError as problem:
                # A reader that waits for [DONE] must see that it did not come, and why.
                failure = msgspec.json.encode(surface.failure(problem, request.request_id))
                await sse.write(send, events.event(failure))
                await sse.end(send)
                raise  # for the log; the guard sees that the answer has begun
            last = surface.last(stream.outcome, request.request_id)
            if last is not None:
                await sse.write(send, events.event(last))
            await sse.write(send, events.event(events.DONE))
        await sse.end(send)

    def endpoints(self) -> list[Endpoint]:
        """Return what this capability serves."""
        return [
            Endpoint(
                method="POST",
                path="/api/v1/chat/completions",
                handler=self.mesh_chat,
                summary="Chat with any model; with `stream` an event stream",
                access="chat",
                hot=True,
                body=MeshRequest,
                answer=MeshCompletion,
                errors=_CALL_ERRORS,
                send_error=send_error,
            ),
            Endpoint(
                method="POST",
                path="/v1/chat/completions",
                handler=self.openai_chat,
                summary="OpenAI's chat completions, for every model",
                access="chat",
                hot=True,
                body=OpenAIRequest,
                answer=Completion,
                errors=_CALL_ERRORS,
                send_error=send_openai_error,
                error_answer=OpenAIErrorAnswer,
            ),
            Endpoint(
                method="GET",
                path="/v1/models",
                handler=self.openai_models,
                summary="The models that you can use, in OpenAI's format",
                access="chat",
                answer=ModelList,
                send_error=send_openai_error,
                error_answer=OpenAIErrorAnswer,
            ),
            Endpoint(
                method="GET",
                path="/api/v1/models",
                handler=self.mesh_models,
                summary="The models that you can use",
                access="chat",
                answer=MeshModelList,
            ),
        ]


def endpoints(chat: Chat) -> list[Endpoint]:
    """Return what this capability serves."""
    return ChatRoutes(chat).endpoints()


def _entries(models: dict[str, list[str]]) -> list[ModelEntry]:
    return [ModelEntry(name, provider) for provider, names in models.items() for name in names]
