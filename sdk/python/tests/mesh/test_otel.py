"""Spans: who was asked, what it cost, and nothing that was said."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import mesh
from mesh.testing import FakeMesh


@pytest.fixture
def spans(monkeypatch):
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield kept
    provider.shutdown()


@pytest.fixture
def fake():
    return FakeMesh()


def told(span):
    return dict(span.attributes)


def test_a_call_is_a_span_without_its_words(spans, fake):
    fake.answer("Top secret answer", cost_usd=0.5)
    fake.client().chat("Top secret question", model="gpt-4o")
    (span,) = spans.get_finished_spans()
    assert (span.name, span.kind, span.status.is_ok) == ("chat gpt-4o", trace.SpanKind.CLIENT, True)
    assert told(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.provider.name": "fake",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.response.id": "chatcmpl-fake",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
        "mesh.cost_usd": 0.5,
        "mesh.request_id": "req_fake",
    }
    assert "secret" not in span.to_json()


def test_a_failure_has_its_code_and_not_its_text(spans, fake):
    fake.fail("provider_key_missing", "Secret text")
    fake.client().chat("hi", model="m")
    (span,) = spans.get_finished_spans()
    assert told(span)["error.type"] == "provider_key_missing"
    assert span.status.status_code is trace.StatusCode.ERROR
    assert "Secret" not in span.to_json()


def test_a_stream_is_one_span_to_its_end(spans, fake):
    fake.answer("Hello big world")
    stream = fake.client().chat("hi", model="m", stream=True)
    next(stream)
    assert not spans.get_finished_spans()
    stream.until_done()
    (span,) = spans.get_finished_spans()
    assert told(span)["gen_ai.usage.output_tokens"] == 2


def test_a_stream_that_breaks_or_is_left_ends_its_span(spans, fake):
    fake.stream("a", truncated=True)
    fake.client().chat("hi", stream=True).until_done()
    fake.stream("a", "b")
    with fake.client().chat("hi", stream=True) as stream:
        next(stream)
    broken, left = spans.get_finished_spans()
    assert told(broken)["error.type"] == "stream_truncated"
    assert left.status.is_ok
    assert "gen_ai.usage.input_tokens" not in told(left), "what nobody told is not nothing"


async def test_asynchronous_calls_are_spans_too(spans, fake):
    async with fake.async_client() as client:
        await client.chat("hi", model="m")
        await (await client.chat("hi", model="m", stream=True)).until_done()
    assert [span.name for span in spans.get_finished_spans()] == ["chat m", "chat m"]


def test_a_span_belongs_to_the_programs_own(spans, fake):
    with trace.get_tracer("test").start_as_current_span("work") as outer:
        fake.client().chat("hi")
    inner, _ = spans.get_finished_spans()
    assert inner.parent.span_id == outer.get_span_context().span_id


def test_without_opentelemetry_nothing_is_loaded():
    import subprocess
    import sys

    program = (
        "import sys; from mesh.testing import FakeMesh; FakeMesh().client().chat('a');"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
    assert mesh.__version__
