"""Endpoints for whoever runs the server: is it alive, is it ready, what does it do, what does it offer."""

from collections.abc import Awaitable, Callable

import msgspec

from mesh_server import __version__
from mesh_server.asgi import PUBLIC, Endpoint, Request, Send, send_bytes, send_error, send_json
from mesh_server.errors import MeshError, TokenMissing

#: Headers by which a proxy says that it hands a request on.
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via")


class Health(msgspec.Struct):
    """That the process answers."""

    status: str
    version: str


class Operations:
    """Handlers of the operators' endpoints.

    Args:
        ready: raises a MeshError that says why requests can't be served now.
        scrape: returns the metrics and their content type, in a format that the header `accept` names.
        open_metrics: whoever reaches this server may read the metrics; else a token with `admin` is needed.
    """

    def __init__(
        self,
        ready: Callable[[], Awaitable[None]],
        scrape: Callable[[str], Awaitable[tuple[bytes, str]]],
        *,
        open_metrics: bool,
    ) -> None:
        self._ready = ready
        self._scrape = scrape
        self._open_metrics = open_metrics
        self._openapi = b"{}"

    def publish(self, openapi: bytes) -> None:
        """Set the document that /openapi.json answers with."""
        self._openapi = openapi

    async def healthz(self, _request: Request, send: Send) -> None:
        """Answer that the process is alive; looks at nothing else."""
        await send_json(send, Health("ok", __version__))

    async def readyz(self, request: Request, send: Send) -> None:
        """Answer whether requests can be served: 503 with the reason where not."""
        try:
            await self._ready()
        except MeshError as problem:
            await send_error(send, problem, request.request_id)
            return
        await send_json(send, Health("ready", __version__))

    async def metrics(self, request: Request, send: Send) -> None:
        """Answer what the server counts, for Prometheus."""
        if self._open_metrics and any(request.header(name) is not None for name in _FORWARDED):
            raise TokenMissing("This request came through a proxy: start the server with --behind-proxy.")
        accept = (request.header(b"accept") or b"").decode("latin-1")
        body, content_type = await self._scrape(accept)
        await send_bytes(send, 200, body, [(b"content-type", content_type.encode("latin-1"))])

    async def openapi(self, _request: Request, send: Send) -> None:
        """Answer the OpenAPI document."""
        await send_bytes(send, 200, self._openapi, [(b"content-type", b"application/json")])

    def endpoints(self) -> list[Endpoint]:
        """Return what this module serves."""
        return [
            Endpoint(
                method="GET",
                path="/healthz",
                handler=self.healthz,
                summary="Is the process alive?",
                access=PUBLIC,
                answer=Health,
            ),
            Endpoint(
                method="GET",
                path="/readyz",
                handler=self.readyz,
                summary="Can requests be served?",
                access=PUBLIC,
                answer=Health,
                errors=("database_unavailable", "storage_read_only"),
            ),
            Endpoint(
                method="GET",
                path="/metrics",
                handler=self.metrics,
                summary="What does it do, in Prometheus' format?",
                access=PUBLIC if self._open_metrics else "admin",
                answer=str,
                content_type="text/plain",
                errors=("token_missing",),
            ),
            Endpoint(
                method="GET",
                path="/openapi.json",
                handler=self.openapi,
                summary="This document",
                access=PUBLIC,
            ),
        ]
