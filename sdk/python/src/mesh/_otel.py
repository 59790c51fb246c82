"""Spans for OpenTelemetry: one for each request to a model, by its conventions for generative AI (1.38).

Nothing that was said is in them. They are made only where the program itself uses OpenTelemetry, and cost nothing else.
"""

import sys
from collections.abc import Generator
from typing import Any, TypeVar

from mesh._transport import Reply
from mesh.errors import MeshError

T = TypeVar("T")
S = TypeVar("S")


def active() -> bool:
    """Return whether the program uses OpenTelemetry."""
    return "opentelemetry.trace" in sys.modules


def traced(plan: Generator[S, Any, T], model: str | None, provider: str | None) -> Generator[S, Any, T]:
    """Follow the plan of one request inside a span; that of a stream ends when the stream does."""
    span = Span(model, provider)
    try:
        result = yield from plan
    except MeshError as problem:
        span.fail(problem.code)
        raise
    except BaseException as problem:
        span.fail(type(problem).__name__)
        raise
    if isinstance(result, Reply):
        result.span = span
    else:
        span.end(result)
    return result


class Span:
    """The span of one request to a model.

    Args:
        model: that is asked; None where the server chooses.
        provider: as the model.
    """

    def __init__(self, model: str | None, provider: str | None) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - it is loaded already, by the program

        told = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model, "gen_ai.provider.name": provider}
        self._trace = trace
        self._span: Any = trace.get_tracer("mesh").start_span(
            f"chat {model}" if model else "chat",
            kind=trace.SpanKind.CLIENT,
            attributes={name: value for name, value in told.items() if value is not None},
        )

    def end(self, answer: Any = None) -> None:
        """End it, with what is known of the answer; ending twice is fine."""
        span, self._span = self._span, None
        if span is None:
            return
        if answer is not None and span.is_recording():
            usage = answer.get("usage") or {}
            usage = usage if usage.get("total_tokens") else {}  # a stream that was left: nobody told
            reason = answer.get("finish_reason")
            told = {
                "gen_ai.provider.name": answer.get("provider"),
                "gen_ai.response.model": answer.get("model"),
                "gen_ai.response.id": answer.get("id"),
                "gen_ai.response.finish_reasons": [reason] if reason else None,
                "gen_ai.usage.input_tokens": usage.get("input_tokens", usage.get("prompt_tokens")),
                "gen_ai.usage.output_tokens": usage.get("output_tokens", usage.get("completion_tokens")),
                "mesh.cost_usd": usage.get("cost_usd"),
                "mesh.request_id": answer.get("request_id"),
            }
            span.set_attributes({name: value for name, value in told.items() if value is not None})
        span.end()

    def fail(self, code: str) -> None:
        """End it with an error's code; its text stays out, since it may say more than a trace should."""
        span, self._span = self._span, None
        if span is None:
            return
        span.set_attribute("error.type", code)
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR))
        span.end()
