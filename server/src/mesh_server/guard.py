"""What every request passes: its id, the Host check, the way to its endpoint, who is calling, one log line.

Denies by default: an endpoint that does not say PUBLIC is reached only with a valid credential of its scope.
"""

import time
from collections.abc import Sequence
from urllib.parse import unquote

from starlette.convertors import StringConvertor
from starlette.routing import compile_path

from mesh_server import telemetry
from mesh_server.accounts.acting import Acting
from mesh_server.accounts.service import Accounts
from mesh_server.asgi import (
    ANY,
    PUBLIC,
    ClientGone,
    Endpoint,
    ErrorWriter,
    Message,
    Receive,
    Request,
    Scope,
    Send,
    send_error,
)
from mesh_server.errors import (
    HostNotAllowed,
    InternalError,
    InvalidRequest,
    MeshError,
    MethodNotAllowed,
    RouteNotFound,
    TokenMissing,
)
from mesh_server.ids import request_id
from mesh_server.metrics.counts import Counts
from mesh_server.tracing.spans import Tracing

#: Names the account that a service acts for (docs/adr/0050).
ACT_AS = b"mesh-act-as"

_log = telemetry.logger("mesh.request")


class _Path:
    """All methods of one path, in Starlette's notation."""

    def __init__(self, path: str, methods: dict[str, Endpoint]) -> None:
        self.path = path
        self.methods = methods
        self.beginning = path.partition("{")[0]
        self.pattern, _, convertors = compile_path(path)
        if any(type(convertor) is not StringConvertor for convertor in convertors.values()):
            raise ValueError("a parameter of a path is one segment")


class _Paths:
    """Finds the path of a request: only those of as many segments that begin alike are tried."""

    def __init__(self, paths: dict[str, dict[str, Endpoint]]) -> None:
        found = [_Path(path, methods) for path, methods in paths.items()]
        self._fixed = {path.path: path for path in found if "{" not in path.path}
        self._by_segments: dict[int, list[_Path]] = {}
        for path in found:
            if "{" in path.path:
                self._by_segments.setdefault(path.path.count("/"), []).append(path)

    def find(self, raw_path: str) -> tuple[_Path, dict[str, str]] | None:
        """Return the path and what stands for its parameters, both undecoded."""
        fixed = self._fixed.get(raw_path)
        if fixed is not None:
            return fixed, {}
        for path in self._by_segments.get(raw_path.count("/"), ()):
            if raw_path.startswith(path.beginning) and (match := path.pattern.match(raw_path)) is not None:
                return path, match.groupdict()
        return None


class Answer:
    """The ASGI send of one request: adds the headers that every answer has, and remembers what was sent."""

    __slots__ = ("_request_id", "_send", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        """Send one ASGI message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message["headers"],
                (b"x-request-id", self._request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
            ]
        await self._send(message)


class Guard:
    """The ASGI application.

    Args:
        endpoints: everything that is served.
        accounts: verifies credentials; None where every endpoint is public.
        acting: lets a service act for the account that `Mesh-Act-As` names; None where nobody can.
        counts: counts the requests.
        tracing: makes a span of each; None where nobody wants them.
        allowed_hosts: lower-case host names that a request may name; `*` allows every one.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        accounts: Accounts | None,
        acting: Acting | None = None,
        counts: Counts | None = None,
        tracing: Tracing | None = None,
        *,
        allowed_hosts: frozenset[str],
    ) -> None:
        self._accounts = accounts
        self._acting = acting
        self._counts = counts or Counts(lambda _event: None)
        self._tracing = tracing
        self._allowed_hosts = allowed_hosts
        self._seen_hosts: set[bytes] = set()
        paths: dict[str, dict[str, Endpoint]] = {}
        for endpoint in endpoints:
            paths.setdefault(endpoint.path, {})[endpoint.method] = endpoint
        self._paths = _Paths(paths)
        # An unknown path under /v1/ answers in the format of the surface that lives there.
        self._official = [e for e in endpoints if e.path.startswith("/v1/") and not e.path.startswith("/v1/mesh/")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; an exception never leaves."""
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        request = Request(scope, receive, request_id())
        answer = Answer(send, request.request_id)
        self._counts.running += 1
        try:
            if self._tracing is None:
                endpoint, failure = await self._serve(request, answer)
            else:
                endpoint, failure = await self._traced(self._tracing, request, answer)
        finally:
            self._counts.running -= 1
        route = endpoint.path if endpoint is not None else None  # the pattern: a path may hold the name of a key
        seconds = time.perf_counter() - started
        self._counts.request(scope["method"], route, answer.status, seconds)
        _log_line(request, route, answer, failure, seconds)

    async def _traced(
        self, tracing: Tracing, request: Request, answer: Answer
    ) -> tuple[Endpoint | None, MeshError | None]:
        """Answer a request within a span."""
        traced = tracing.begin(request.scope, request.request_id)
        endpoint, failure = None, None
        try:
            endpoint, failure = await self._serve(request, answer)
        finally:
            if traced is not None:
                route = endpoint.path if endpoint is not None else None
                tracing.end(traced, route, answer.status, failure.code if failure is not None else None)
        return endpoint, failure

    async def _serve(self, request: Request, answer: Answer) -> tuple[Endpoint | None, MeshError | None]:
        """Answer a request; return what served it and what it failed with, where there is any."""
        endpoint: Endpoint | None = None
        failure: MeshError | None = None
        try:
            self._check_host(request)
            endpoint = self._find(request)
            if endpoint.access != PUBLIC:
                await self._authenticate(request, endpoint)
            await endpoint.handler(request, answer)
        except ClientGone:
            pass
        except MeshError as problem:
            failure = problem
        except Exception as problem:  # noqa: BLE001 - the last place: logged in full, answered as our defect
            _log.error("defect", request_id=request.request_id, **telemetry.describe(problem))
            failure = InternalError("The server failed at this request; nothing more is known here.")
        # After an answer has begun it is too late for an error: an unfinished one makes the transport close the
        # connection, so that the client sees that something is missing.
        if failure is not None and not answer.status:
            write_error = self._writer_for(request) if endpoint is None else _writer_of(endpoint, request)
            await write_error(answer, failure, request.request_id)
        return endpoint, failure

    def _writer_for(self, request: Request) -> ErrorWriter:
        """Return what writes errors where no endpoint was found yet: by the path's beginning, or by a header."""
        path: bytes = request.scope["raw_path"]
        if not path.startswith(b"/v1/") or path.startswith(b"/v1/mesh/") or not self._official:
            return send_error
        near = (e for e in self._official if path.startswith(e.path.encode() + b"/"))
        header = (e for e in self._official if e.error_with is not None)
        found = next(near, None) or next(header, None) or self._official[0]
        return _writer_of(found, request)

    def _check_host(self, request: Request) -> None:
        host = request.headers.get(b"host", b"")
        if host in self._seen_hosts:
            return
        name = host.decode("latin-1").lower()
        name = name[: name.find("]") + 1] if name.startswith("[") else name.partition(":")[0]
        if "*" not in self._allowed_hosts and name not in self._allowed_hosts:
            raise HostNotAllowed("The request's Host header names a host that this server does not answer for.")
        if len(self._seen_hosts) < 64:  # ports vary: remember some, not whatever anyone sends
            self._seen_hosts.add(host)

    def _find(self, request: Request) -> Endpoint:
        scope = request.scope
        # Matched before decoding, so that an encoded slash stays inside its parameter.
        raw_path: str = scope["raw_path"].decode("ascii", "replace")
        while "//" in raw_path:  # a base URL with a trailing slash
            raw_path = raw_path.replace("//", "/")
        found = self._paths.find(raw_path)
        if found is None:
            raise RouteNotFound("There is nothing at this path.")
        path, parameters = found
        if parameters:
            request.path_params = {name: _decode(value) for name, value in parameters.items()}
        endpoint = path.methods.get(scope["method"])
        if endpoint is None:
            allowed = sorted(path.methods)
            raise MethodNotAllowed(f"{path.path} takes {', '.join(allowed)}.", allowed=allowed)
        return endpoint

    async def _authenticate(self, request: Request, endpoint: Endpoint) -> None:
        if self._accounts is None:
            raise TokenMissing("Nobody has an account here.")
        headers = request.headers
        verified = await self._accounts.authenticate(headers.get(b"authorization"), headers.get(b"x-api-key"))
        principal = verified.within(request.request_id)
        for_whom = headers.get(ACT_AS)
        if for_whom is not None and self._acting is not None:
            principal = await self._acting.act_as(principal, for_whom.decode("latin-1").strip())
        if endpoint.access != ANY:
            principal.require(endpoint.access)
        request.principal = principal


def _writer_of(endpoint: Endpoint, request: Request) -> ErrorWriter:
    theirs = endpoint.error_for(request) if endpoint.error_for is not None else None
    if theirs is not None:
        return theirs
    if endpoint.error_with is not None and request.header(endpoint.error_with[0]) is not None:
        return endpoint.error_with[1]
    return endpoint.send_error


def _decode(value: str) -> str:
    try:
        return unquote(value, errors="strict") if "%" in value else value
    except UnicodeDecodeError as problem:
        raise InvalidRequest("The path is not valid percent-encoded UTF-8.") from problem


def _log_line(request: Request, route: str | None, answer: Answer, failure: MeshError | None, seconds: float) -> None:
    level = "warning" if answer.status >= 500 else "info"
    if not telemetry.writes(level):
        return
    telemetry.request_line(
        level,
        code=failure.code if failure else None,
        method=request.scope["method"],
        ms=round(seconds * 1000, 1),
        request_id=request.request_id,
        route=route,
        status=answer.status or None,
    )
