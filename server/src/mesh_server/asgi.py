"""The few lines between raw ASGI and a handler: read a body, answer JSON, answer an error.

Hot paths are plain ASGI handlers; what they share with the control plane is here (docs/adr/0003).
A handler gets a `Request`, answers through the ASGI `send` it was handed, and may raise a `MeshError`
at any time before its answer has begun.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from mesh_protocol.wire import MAX_BODY_BYTES
from mesh_server.accounts.models import Principal
from mesh_server.errors import BodyTooLarge, InvalidRequest, MeshError, MethodNotAllowed
from mesh_server.jsonbody import decode_json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

T = TypeVar("T")

_encoder = msgspec.json.Encoder()
JSON = (b"content-type", b"application/json")


class ClientGone(Exception):
    """The client hung up before its request was read whole."""


class Hangup:
    """Tells the work on a request that its client hung up: by the transport itself, without a task that waits for it.

    In the scope as `mesh.hangup`, where the transport offers it.

    Attributes:
        gone: whether it happened.
        tell: called when it happens; None while nobody wants to know.
    """

    __slots__ = ("gone", "tell")

    def __init__(self) -> None:
        self.gone = False
        self.tell: Callable[[], object] | None = None

    def happened(self) -> None:
        """Say that the client is gone."""
        self.gone = True
        if self.tell is not None:
            self.tell()


class Request:
    """One request as the guard in `app` hands it on.

    Attributes:
        scope: the ASGI scope.
        receive: the ASGI receive.
        request_id: unique for this request; in every answer and log line.
        path_params: what the route's pattern captured, percent-decoded.
        principal: who is calling, set before the handler runs unless its endpoint is public.
    """

    __slots__ = ("_body", "_headers", "_principal", "path_params", "receive", "request_id", "scope")

    def __init__(self, scope: Scope, receive: Receive, request_id: str) -> None:
        self.scope = scope
        self.receive = receive
        self.request_id = request_id
        self.path_params: dict[str, str] = {}
        self._headers: dict[bytes, bytes] | None = None
        self._body: bytes | None = None
        self._principal: Principal | None = None

    @property
    def principal(self) -> Principal:
        """Who is calling; asking for it behind a public endpoint is a defect."""
        if self._principal is None:
            raise RuntimeError("a public endpoint has no principal")
        return self._principal

    @principal.setter
    def principal(self, principal: Principal) -> None:
        self._principal = principal

    @property
    def address(self) -> str:
        """The client's address, as the transport (or a trusted proxy) gives it; empty where it gives none."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The headers by their lower-case names; of one that comes twice, the last."""
        if self._headers is None:
            self._headers = dict(self.scope["headers"])
        return self._headers

    def header(self, name: bytes) -> bytes | None:
        """Return the value of a header by its lower-case name, or None."""
        return self.headers.get(name)

    def query(self) -> dict[str, str]:
        """Return the query's parameters.

        Raises:
            InvalidRequest: if one is given twice or is not UTF-8.
        """
        if not self.scope["query_string"]:
            return {}
        try:
            pairs = parse_qsl(
                self.scope["query_string"].decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=64,
            )
        except ValueError as problem:
            raise InvalidRequest("The query string is not valid percent-encoded UTF-8.") from problem
        parameters = dict(pairs)
        if len(parameters) != len(pairs):
            raise InvalidRequest("A query parameter is given twice.")
        return parameters

    def parameters(self, *names: str) -> dict[str, str]:
        """Return the query; a parameter that the endpoint does not know is refused, for it may be a typing error.

        Raises:
            InvalidRequest: if one is unknown, given twice, or not UTF-8.
        """
        query = self.query()
        unknown = sorted(query.keys() - set(names))
        if unknown:
            known = f"there are {', '.join(names)}" if names else "there are none"
            raise InvalidRequest(f"There is no parameter {unknown[0]!r} here; {known}.")
        return query

    async def body(self, limit: int = MAX_BODY_BYTES) -> bytes:
        """Return the whole body.

        Args:
            limit: most bytes that are read.

        Raises:
            BodyTooLarge: as soon as the limit is passed, by the header or by what came.
            ClientGone: if the client hangs up first.
        """
        if self._body is None:
            self._body = await self._read(limit)
        return self._body

    async def _read(self, limit: int) -> bytes:
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                return b"".join((*chunks, chunk)) if chunks else chunk
            chunks.append(chunk)

    async def json(self, decoder: msgspec.json.Decoder[T], limit: int = MAX_BODY_BYTES) -> T:
        """Return the body decoded and validated.

        Raises:
            InvalidJSON: if it is not JSON at all, or nested too deep.
            InvalidRequest: if it is JSON of another shape; the message names the place.
        """
        return decode_json(await self.body(limit), decoder)


def _too_large(limit: int) -> BodyTooLarge:
    size = f"{limit // 1024 // 1024} MiB" if limit >= 1024 * 1024 else f"{limit // 1024} KiB"
    return BodyTooLarge(f"The body is larger than {size}, the limit of this endpoint.")


async def send_bytes(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Answer with a whole body; `content-length` is added."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_json(send: Send, value: object, *, status: int = 200, headers: Headers = ()) -> None:
    """Answer with a value as JSON."""
    await send_bytes(send, status, _encoder.encode(value), [JSON, *headers])


def error_body(error: MeshError, request_id: str) -> dict[str, Any]:
    """Return the error body of Mesh's own surface (docs/reference/errors.md)."""
    return {
        "success": False,
        "error": {
            "code": error.code,
            "message": error.message,
            "type": error.type,
            "details": error.details,
            "troubleshooting": list(error.advice),
        },
        "request_id": request_id,
    }


def error_headers(error: MeshError) -> list[tuple[bytes, bytes]]:
    """Return the headers that belong to an error, as RFC 9110 asks for them."""
    headers: list[tuple[bytes, bytes]] = []
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(error.retry_after))).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="mesh"'))
    return headers


async def send_error(send: Send, error: MeshError, request_id: str) -> None:
    """Answer with the error body of Mesh's own surface."""
    await send_json(send, error_body(error, request_id), status=error.status, headers=error_headers(error))


Handler = Callable[[Request, Send], Awaitable[None]]
ErrorWriter = Callable[[Send, MeshError, str], Awaitable[None]]

#: `Endpoint.access` of an endpoint that asks for no credential.
PUBLIC = "public"
#: `Endpoint.access` of an endpoint that any valid credential may use.
ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One query or header parameter, for the OpenAPI document; path parameters come from the path."""

    name: str
    description: str
    location: str = "query"
    schema: Any = str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path: what serves it, who may call it, and what the OpenAPI document says of it.

    Attributes:
        path: in Starlette's notation, matched against the undecoded path so that `%2F` stays inside a name.
        access: the scope that the caller's token needs, or PUBLIC, or ANY.
        body, answer: msgspec types of request and success body; None where there is none.
        streams: it answers with an event stream where the request asks for one.
        errors: the codes that this endpoint adds to those every endpoint can answer.
        send_error: writes an error in the surface's own format.
        error_with: a header, and what writes errors to requests that have it: two surfaces share the path.
        error_for: returns what writes errors to a request of somebody else's client; None for any other request.
        moved: statuses of errors that are answered here with another one.
        listed: whether the OpenAPI document has it.
        deprecated: served for clients of before; the OpenAPI document says so.
        error_answer: the msgspec type of that format where it is not Mesh's own.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    access: str
    status: int = 200
    body: Any = None
    answer: Any = None
    content_type: str = "application/json"
    streams: bool = False
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[str, ...] = ()
    send_error: ErrorWriter = send_error
    error_with: tuple[bytes, ErrorWriter] | None = None
    error_for: "Callable[[Request], ErrorWriter | None] | None" = None
    moved: Mapping[int, int] = field(default_factory=dict)
    listed: bool = True
    deprecated: bool = False
    error_answer: Any = None
