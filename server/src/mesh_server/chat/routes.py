"""HTTP endpoints of chat: Mesh chat, and the official surfaces of OpenAI and Anthropic."""

import re

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
from mesh_server.chat.accounting import Ending
from mesh_server.chat.calls import Call, OnceRoutes, in_time, relay
from mesh_server.chat.formats import requests, sse
from mesh_server.chat.service import Chat
from mesh_server.chat.surfaces import (
    ANTHROPIC,
    MESH,
    OPENAI_CHAT,
    OPENAI_RESPONSES,
    Surface,
    anthropic_answer,
    openai_answer,
    outcome_headers,
)
from mesh_server.errors import InvalidRequest, MeshError, ModelNotFound
from mesh_server.vault.answers import KEPT_US, Same

#: Header by which a request says that it speaks Anthropic's format, where the path does not.
ANTHROPIC_HEADER = b"anthropic-version"

#: Headers that a surface reads.
_READ = (requests.TIMEOUT_HEADER.encode(), ANTHROPIC_HEADER, b"anthropic-beta")

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
    "server_overloaded",
    "deadline_exceeded",
    "local_model_failed",
    "vault_damaged",
    "budget_exceeded",
    "quota_exceeded",
    "price_unknown",
    "idempotency_mismatch",
    "request_in_progress",
    "outcome_unknown",
)
_IDEMPOTENCY_KEY = re.compile(rb"[!-~]{1,255}")


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
        self._once = OnceRoutes(chat)

    def handler(self, surface: Surface, error: ErrorWriter, *more: tuple[bytes, bytes]) -> Handler:
        """Return the handler of a surface, whose failures `error` writes; `more` headers are of its every answer."""

        async def handle(request: Request, send: Send) -> None:
            asked = surface.read(await request.body(), headers_of(request))
            call = Call(surface, error, request, asked, list(more))
            same = await same_request(request, self._chat.answers_kept_us)
            if same is not None:
                await self._once.answer(call, same, send)
            elif asked.stream:
                await sse.while_connected(request, relay(self._chat, call, send))
            else:
                await sse.while_connected(request, self._complete(call, send))

        return handle

    async def anthropic_chat(self, request: Request, send: Send) -> None:
        """Answer in Anthropic's format."""
        await self.handler(ANTHROPIC, send_anthropic_error, _request_id(request))(request, send)

    async def count_tokens(self, request: Request, send: Send) -> None:
        """Answer how many tokens a request has, in Anthropic's format."""
        asked = requests.read_messages(await request.body(), headers_of(request), counting=True)

        async def work() -> None:
            count, outcome = await in_time(asked, self._chat.count(request.principal, asked))
            headers = [*outcome_headers(outcome), _request_id(request)]
            await send_json(send, documents.TokenCount(count), headers=headers)

        await sse.while_connected(request, work())

    async def embeddings(self, request: Request, send: Send) -> None:
        """Answer embeddings in OpenAI's format."""
        asked = requests.read_embeddings(await request.body(), headers_of(request))

        async def work() -> None:
            body, outcome = await in_time(
                asked, self._chat.embed(request.principal, asked, Ending(surface="embeddings"))
            )
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

    async def _complete(self, call: Call, send: Send) -> None:
        work = self._chat.complete(call.principal, call.asked, call.ending())
        body, outcome = await in_time(call.asked, work)
        await send_bytes(send, 200, body, call.headers(outcome))

    def endpoints(self) -> list[Endpoint]:
        """Return what this capability serves."""
        d = documents
        openai, anthropic = send_openai_error, send_anthropic_error
        either = (ANTHROPIC_HEADER, send_anthropic_error)
        mesh = self.handler(MESH, send_error)
        chat, responses = self.handler(OPENAI_CHAT, openai), self.handler(OPENAI_RESPONSES, openai)
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
                  (d.MessagesRequest, d.TokenCount), anthropic, d.AnthropicErrorAnswer, streams=False),
            _call("/v1/embeddings", self.embeddings, "OpenAI's embeddings, where the provider makes them",
                  (d.EmbeddingsRequest, d.Embeddings), openai, d.OpenAIErrorAnswer, streams=False),
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
    *,
    streams: bool = True,
) -> Endpoint:
    return Endpoint(
        method="POST",
        path=path,
        handler=handler,
        summary=summary,
        access="chat",
        body=shapes[0],
        answer=shapes[1],
        streams=streams,
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


def headers_of(request: Request) -> dict[str, str]:
    """Return what a surface reads of the headers; a value that is no ASCII is none that means anything."""
    headers = request.headers
    return {name.decode(): headers[name].decode("latin-1") for name in _READ if name in headers}


def _request_id(request: Request) -> tuple[bytes, bytes]:
    return (b"request-id", request.request_id.encode())


async def same_request(request: Request, kept_us: int = KEPT_US) -> Same | None:
    """Return what makes another request the same as this one; None where it has no `Idempotency-Key`.

    Args:
        request: with its body to be read.
        kept_us: microseconds for which its answer is kept.

    Raises:
        InvalidRequest: if the key is none.
    """
    key = request.header(b"idempotency-key")
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidRequest("`Idempotency-Key` has 1 to 255 visible ASCII characters.")
    names = (b"anthropic-version", b"anthropic-beta")
    parts = (request.scope["raw_path"], *(request.header(name) or b"" for name in names), await request.body())
    return Same(key, b"".join(len(part).to_bytes(8, "little") + part for part in parts), kept_us)
