"""Spans of requests and of calls to models, by OpenTelemetry's conventions for HTTP and for generative AI.

What was said is in none of them, nor whose it was: a span of a request has the pattern of its path, one of a call has
what its usage has without account, token and key. Nothing here is loaded where no spans are wanted.
"""

import asyncio
import threading
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from mesh_server import __version__
from mesh_server.billing.models import DOLLAR, UsageEvent

if TYPE_CHECKING:  # the extra may be missing
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

#: Seconds that the last spans may take to go out when the server stops.
CLOSE_S = 5.0
#: Longest name of a model in a span: callers may make names up.
_MOST_NAME = 256
#: Requests that somebody makes all the time and nobody wants to see.
_UNSEEN = frozenset({b"/healthz", b"/readyz", b"/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Traced:
    """A request that has a span, and the span of its call where that has begun."""

    __slots__ = ("call", "context", "name", "request", "token")

    def __init__(self, name: str, request: "Span", context: "Context") -> None:
        self.name = name
        self.request = request
        self.context = context
        self.call: Span | None = None
        self.token: Token[Traced | None] | None = None


#: The request that is being answered: what runs for it, also in tasks of its own, finds its span here.
_current: ContextVar[Traced | None] = ContextVar("mesh_traced", default=None)


class Tracing:
    """Makes spans.

    Args:
        provider: of OpenTelemetry's SDK, which samples and exports.
    """

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import trace  # noqa: PLC0415 - only where spans are wanted
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self._provider = provider
        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        self._tracer = provider.get_tracer("mesh-server", __version__)

    def begin(self, scope: Any, request_id: str) -> Traced | None:
        """Begin the span of a request, as a part of the trace that its `traceparent` names; None for those unseen.

        Args:
            scope: of ASGI.
            request_id: of the request.
        """
        if scope["raw_path"] in _UNSEEN:
            return None
        wanted = (b"traceparent", b"tracestate")
        carrier = {n.decode(): value.decode("latin-1") for n, value in scope["headers"] if n in wanted}
        known = scope["method"] in _METHODS
        name = scope["method"] if known else "HTTP"
        span = self._tracer.start_span(
            name,
            context=self._propagator.extract(carrier),
            kind=self._trace.SpanKind.SERVER,
            attributes={
                "http.request.method": name if known else "_OTHER",
                "url.scheme": scope.get("scheme", "http"),
                "mesh.request_id": request_id,
            },
        )
        traced = Traced(name, span, self._trace.set_span_in_context(span))
        traced.token = _current.set(traced)
        return traced

    def end(self, traced: Traced, route: str | None, status: int, code: str | None) -> None:
        """End the span of a request.

        Args:
            traced: what `begin` returned.
            route: the pattern of the path; None where there is nothing.
            status: of the answer; 0 where the client left before it began.
            code: of the error that it failed with.
        """
        span = traced.request
        if traced.token is not None:
            _current.reset(traced.token)
        if route is not None:
            span.set_attribute("http.route", route)
            span.update_name(f"{traced.name} {route}")
        if status:
            span.set_attribute("http.response.status_code", status)
        if code is not None or not status:
            span.set_attribute("error.type", code or "client_left")
        if status >= 500:
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR))
        span.end()

    def headers(self) -> dict[str, str]:
        """Return the headers that make what a provider does a part of the trace, and begin the call's span for that."""
        traced = _current.get()
        if traced is None:
            return {}
        if traced.call is None:
            traced.call = self._start_call(traced, None)
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self._trace.set_span_in_context(traced.call))
        return carrier

    def call(self, event: UsageEvent) -> None:
        """Make or end the span of a call that ended; called for each, in the course of its request."""
        traced = _current.get()
        span = traced.call if traced is not None else None
        if span is None:
            span = self._start_call(traced, event.at * 1_000)
        elif traced is not None:
            traced.call = None
        operation = "embeddings" if event.surface == "embeddings" else "chat"
        span.update_name(f"{operation} {(event.model_asked or event.model)[:_MOST_NAME]}")
        if span.is_recording():
            span.set_attributes(_attributes(event, operation))
        if event.outcome != "ok":
            span.set_attribute("error.type", event.error_code or event.outcome)
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR))
        span.end(max((event.at + event.latency_us) * 1_000, getattr(span, "start_time", None) or 0))

    async def close(self) -> None:
        """Send what is left, for a few seconds at the most."""
        # A thread of its own: one of the loop's would be waited for, however long the collector lets it wait.
        thread = threading.Thread(target=self._provider.shutdown, name="mesh-spans", daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, CLOSE_S)

    def _start_call(self, traced: Traced | None, at_ns: int | None) -> "Span":
        context = traced.context if traced is not None else self._propagator.extract({})
        return self._tracer.start_span("chat", context=context, kind=self._trace.SpanKind.CLIENT, start_time=at_ns)


def _attributes(event: UsageEvent, operation: str) -> dict[str, Any]:
    told = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": event.provider,
        "gen_ai.request.model": (event.model_asked or event.model)[:_MOST_NAME],
        "gen_ai.request.stream": event.streamed or None,
        "gen_ai.response.model": event.model if event.outcome == "ok" else None,
        "gen_ai.response.time_to_first_chunk": None if event.first_us is None else event.first_us / 1e6,
        "gen_ai.usage.input_tokens": event.input,
        "gen_ai.usage.output_tokens": event.output,
        "gen_ai.usage.cache_read.input_tokens": event.cached or None,
        "gen_ai.usage.cache_creation.input_tokens": event.cache_write or None,
        "gen_ai.usage.reasoning.output_tokens": event.thinking or None,
        "mesh.cost_usd": None if event.cost_nano is None else event.cost_nano / DOLLAR,
        "mesh.surface": event.surface,
        "mesh.usage_estimated": event.estimated or None,
        "mesh.request_id": event.request_id,
    }
    return {name: value for name, value in told.items() if value is not None}
