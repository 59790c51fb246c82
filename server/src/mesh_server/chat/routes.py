"""HTTP endpoints of chat: Mesh chat, and the official surfaces of OpenAI and Anthropic."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from mesh_server.asgi import (
    JSON,
    Endpoint,
    ErrorWriter,
    Handler,
    Request,
    Send,
    error_headers,
    send_bytes,
    send_error,
    send_json,
)
from mesh_server.chat import documents
from mesh_server.chat.formats import requests, sse
from mesh_server.chat.formats.common import ChatRequest
from mesh_server.chat.service import Chat
from mesh_server.chat.surfaces import (
    ANTHROPIC,
    MESH,
    OPENAI_CHAT,
    OPENAI_RESPONSES,
    Headers,
    Surface,
    anthropic_answer,
    openai_answer,
    outcome_headers,
)
from mesh_server.errors import DeadlineExceeded, MeshError, ModelNotFound, ProviderFailed

#: Header by which a request says that it speaks Anthropic's format, where the path does not.
ANTHROPIC_HEADER = b"anthropic-version"

_CALL_ERRORS = (
    "model_not_found",
    "model_retired",
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
    "deadline_exceeded",
    "local_model_failed",
    "vault_damaged",
)


async def send_openai_error(send: Send, error: MeshError, _request_id: str) -> None:
    """Answer with the error body, status and headers of OpenAI's API."""
    status, body, headers = openai_answer(error)
    await send_json(send, body, status=status, headers=[*error_headers(error), *headers])


async def send_anthropic_error(send: Send, error: MeshError, request_id: str) -> None:
    """Answer with the error body, status and headers of Anthropic's API."""
    status, body, headers = anthropic_answer(error, request_id)
    await send_json(send, body, status=status, headers=[*error_headers(error), *headers])


class ChatRoutes:
    """Handlers of the chat endpoints."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    def handler(self, surface: Surface, *more: tuple[bytes, bytes]) -> Handler:
        """Return the handler of a surface; `more` headers are of its every answer."""

        async def handle(request: Request, send: Send) -> None:
            asked = surface.read(await request.body(), _headers(request))
            work = self._stream if asked.stream else self._complete
            await sse.while_connected(request, work(surface, request, asked, send, list(more)))

        return handle

    async def anthropic_chat(self, request: Request, send: Send) -> None:
        """Answer in Anthropic's format."""
        await self.handler(ANTHROPIC, _request_id(request))(request, send)

    async def count_tokens(self, request: Request, send: Send) -> None:
        """Answer how many tokens a request has, in Anthropic's format."""
        asked = requests.read_messages(await request.body(), _headers(request), counting=True)

        async def work() -> None:
            async with _deadline(asked):
                count, outcome = await self._chat.count(request.principal, asked)
            headers = [*outcome_headers(outcome), _request_id(request)]
            await send_json(send, documents.TokenCount(count), headers=headers)

        await sse.while_connected(request, work())

    async def embeddings(self, request: Request, send: Send) -> None:
        """Answer embeddings in OpenAI's format."""
        asked = requests.read_embeddings(await request.body(), _headers(request))

        async def work() -> None:
            async with _deadline(asked):
                body, outcome = await self._chat.embed(request.principal, asked)
            await send_bytes(send, 200, body, [JSON, *outcome_headers(outcome)])

        await sse.while_connected(request, work())

    async def models(self, request: Request, send: Send) -> None:
        """Answer the models that the caller can use, in OpenAI's format, or Anthropic's for its clients."""
        entries = await self._chat.models(request.principal)
        if request.header(ANTHROPIC_HEADER) is None:
            await send_json(send, documents.OpenAIModels([documents.openai_model(entry) for entry in entries]))
            return
        found = [documents.anthropic_model(entry) for entry in entries]
        ends = (found[0].id, found[-1].id) if found else (None, None)
        await send_json(send, documents.AnthropicModels(found, *ends), headers=[_request_id(request)])

    async def model(self, request: Request, send: Send) -> None:
        """Answer one of them."""
        name = request.path_params["model"]
        entry = next((e for e in await self._chat.models(request.principal) if e.id == name), None)
        if entry is None:
            raise ModelNotFound(f"There is no model {name!r} that you can use.")
        if request.header(ANTHROPIC_HEADER) is None:
            await send_json(send, documents.openai_model(entry))
        else:
            await send_json(send, documents.anthropic_model(entry), headers=[_request_id(request)])

    async def mesh_models(self, request: Request, send: Send) -> None:
        """Answer the models that the caller can use, with all that is known of them."""
        entries = await self._chat.models(request.principal)
        found = [documents.mesh_model(entry) for entry in entries]
        await send_json(send, documents.MeshModels(documents.by_provider(entries), found))

    async def _complete(
        self, surface: Surface, request: Request, asked: ChatRequest, send: Send, headers: Headers
    ) -> None:
        async with _deadline(asked):
            body, outcome = await self._chat.complete(request.principal, asked)
        try:
            answer = surface.answer(body, outcome, request.request_id)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ProviderFailed(f"{outcome.provider} answered with something that is no chat completion.") from None
        await send_bytes(send, 200, answer, [JSON, *outcome_headers(outcome), *headers])

    async def _stream(
        self, surface: Surface, request: Request, asked: ChatRequest, send: Send, headers: Headers
    ) -> None:
        sent = 0
        begun = False
        try:
            async with _deadline(asked), self._chat.stream(request.principal, asked) as stream:
                await sse.start(send, [*outcome_headers(stream.outcome), *headers])
                begun = True
                async for piece in stream.pieces():
                    await sse.write(send, piece)
                    sent += 1
        except MeshError as problem:
            if begun:
                # A reader that waits for the stream's last event must see that it did not come, and why.
                await sse.write(send, surface.failure(problem, request.request_id, sent))
                await sse.end(send)
            raise  # for the log; the guard sees whether the answer has begun
        for piece in surface.last(stream.outcome, request.request_id):
            await sse.write(send, piece)
        await sse.end(send)

    def endpoints(self) -> list[Endpoint]:
        """Return what this capability serves."""
        d = documents
        openai, anthropic = send_openai_error, send_anthropic_error
        either = (ANTHROPIC_HEADER, send_anthropic_error)
        mesh, chat, responses = (self.handler(s) for s in (MESH, OPENAI_CHAT, OPENAI_RESPONSES))
        return [
            _call("/api/v1/chat/completions", mesh, "Chat with any model; with `stream` an event stream",
                  (d.MeshRequest, d.MeshCompletion), send_error),
            _call("/v1/chat/completions", chat, "OpenAI's chat completions, for every model",
                  (d.OpenAIRequest, d.Completion), openai, d.OpenAIErrorAnswer),
            _call("/v1/responses", responses, "OpenAI's Responses, for every model",
                  (d.ResponsesRequest, d.Response), openai, d.OpenAIErrorAnswer),
            _call("/v1/messages", self.anthropic_chat, "Anthropic's messages, for every model",
                  (d.MessagesRequest, d.AnthropicMessage), anthropic, d.AnthropicErrorAnswer),
            _call("/v1/messages/count_tokens", self.count_tokens, "How many tokens a message has",
                  (d.MessagesRequest, d.TokenCount), anthropic, d.AnthropicErrorAnswer),
            _call("/v1/embeddings", self.embeddings, "OpenAI's embeddings, where the provider makes them",
                  (d.EmbeddingsRequest, d.Embeddings), openai, d.OpenAIErrorAnswer),
            _list("/v1/models", self.models, "The models that you can use, in OpenAI's format or Anthropic's",
                  d.OpenAIModels, openai, either),
            _list("/v1/models/{model}", self.model, "One of them", d.OpenAIModel, openai, either),
            _list("/api/v1/models", self.mesh_models, "The models that you can use, with all that is known of them",
                  d.MeshModels, send_error, None),
        ]  # fmt: skip


def endpoints(chat: Chat) -> list[Endpoint]:
    """Return what this capability serves."""
    return ChatRoutes(chat).endpoints()


def _call(
    path: str,
    handler: Handler,
    summary: str,
    shapes: tuple[type, type],
    error: ErrorWriter,
    error_answer: type | None = None,
) -> Endpoint:
    return Endpoint(
        method="POST",
        path=path,
        handler=handler,
        summary=summary,
        access="chat",
        body=shapes[0],
        answer=shapes[1],
        errors=_CALL_ERRORS,
        send_error=error,
        error_answer=error_answer,
    )


def _list(
    path: str,
    handler: Handler,
    summary: str,
    shape: type,
    error: ErrorWriter,
    error_with: tuple[bytes, ErrorWriter] | None,
) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        handler=handler,
        summary=summary,
        access="chat",
        answer=shape,
        errors=("model_not_found",) if "{" in path else (),
        send_error=error,
        error_with=error_with,
        error_answer=None if error_with is None else documents.OpenAIErrorAnswer,
    )


def _headers(request: Request) -> dict[str, str]:
    """Return what a surface reads of the headers; a value that is no ASCII is none that means anything."""
    names = (requests.TIMEOUT_HEADER, "anthropic-version", "anthropic-beta")
    found = ((name, request.header(name.encode())) for name in names)
    return {name: value.decode("latin-1") for name, value in found if value is not None}


def _request_id(request: Request) -> tuple[bytes, bytes]:
    return (b"request-id", request.request_id.encode())


@asynccontextmanager
async def _deadline(asked: ChatRequest) -> AsyncIterator[None]:
    """End what is inside when the caller's own time is over."""
    try:
        async with asyncio.timeout(asked.timeout) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeadlineExceeded(f"The {asked.timeout:g} seconds of `mesh-timeout` were over.") from None
