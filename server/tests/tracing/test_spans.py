"""What is in the spans, whose part they are, who else is told, and what is in none of them."""

import asyncio

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from ..chat.upstream import MESH, OPENAI, SECRET, completion

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}


def ask(text="a-secret-question", model="m-1", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def spans(exporter):
    """Return the finished spans: of the call, and of the request."""
    found = exporter.get_finished_spans()
    return [s for s in found if s.kind is SpanKind.CLIENT], [s for s in found if s.kind is SpanKind.SERVER]


async def test_a_call_and_its_request_are_a_part_of_the_callers_trace(mesh, exporter):
    assert (await mesh.call("POST", OPENAI, ask(), headers=TRACEPARENT)).status == 200
    ((call,), (request,)) = spans(exporter)
    assert {f"{span.context.trace_id:032x}" for span in (call, request)} == {TRACE}
    assert f"{request.parent.span_id:016x}" == PARENT
    assert call.parent.span_id == request.context.span_id
    assert request.start_time <= call.end_time
    assert call.start_time <= call.end_time <= request.end_time
    assert request.name == "POST /v1/chat/completions"
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "mesh.request_id": call.attributes["mesh.request_id"],
    }


async def test_a_call_has_what_its_usage_has(mesh, exporter):
    await mesh.call("POST", MESH, ask())
    ((call,), _) = spans(exporter)
    told = dict(call.attributes)
    assert told.pop("mesh.request_id").startswith("req_")
    assert call.name == "chat m-1"
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "acme",
        "gen_ai.request.model": "m-1",
        "gen_ai.response.model": "m-1-2026-01-31",
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 1,
        "mesh.surface": "mesh",
    }
    assert call.status.status_code is StatusCode.UNSET


async def test_a_stream_has_the_time_to_its_first_piece(mesh, exporter):
    await mesh.call("POST", OPENAI, ask(stream=True))
    ((call,), (request,)) = spans(exporter)
    assert call.attributes["gen_ai.request.stream"] is True
    assert call.attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert call.parent.span_id == request.context.span_id


async def test_embeddings_are_another_operation(mesh, exporter):
    assert (await mesh.call("POST", "/v1/embeddings", {"model": "m-1", "input": "a-secret-question"})).status == 200
    ((call,), _) = spans(exporter)
    assert (call.name, call.attributes["gen_ai.operation.name"]) == ("embeddings m-1", "embeddings")
    assert call.attributes["gen_ai.usage.input_tokens"] == 4


async def test_what_is_known_to_cost_is_told_in_dollars(mesh, exporter, tmp_path):
    from ..billing.conftest import event

    mesh.services.tracing.call(event(1_500_000_000, latency_us=5))
    ((call,), _) = spans(exporter)
    assert call.attributes["mesh.cost_usd"] == 1.5
    assert call.parent is None  # of no request
    assert call.end_time - call.start_time == 5_000


async def test_a_failed_call_has_the_errors_code_and_no_text(mesh, exporter):
    assert (await mesh.call("POST", MESH, ask("fail always"))).status == 502
    ((call,), (request,)) = spans(exporter)
    assert call.attributes["error.type"] == request.attributes["error.type"] == "provider_failed"
    assert call.status.status_code is request.status.status_code is StatusCode.ERROR
    assert not call.status.description
    assert not call.events
    assert "gen_ai.response.model" not in call.attributes


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "name"),
    [
        ("GET", "/api/v1/keys/a-name-of-a-key", 404, "key_not_found", "GET /api/v1/keys/{name}"),
        ("GET", "/nothing/a-name-of-a-key", 404, "route_not_found", "GET"),
        ("BREW", "/nothing/a-name-of-a-key", 404, "route_not_found", "HTTP"),
    ],
)
async def test_a_requests_span_has_the_pattern_of_its_path(mesh, exporter, method, path, status, code, name):
    assert (await mesh.call(method, path)).status == status
    (_, (request,)) = spans(exporter)
    assert request.name == name
    assert request.attributes["error.type"] == code
    assert request.status.status_code is StatusCode.UNSET  # the client's own mistake
    assert "a-name-of-a-key" not in str(request.to_json())


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_what_watches_the_server_is_not_watched(mesh, exporter, path):
    assert (await mesh.call("GET", path)).status == 200
    assert spans(exporter) == ([], [])


@pytest.mark.parametrize(
    "value",
    ["", "nonsense", f"00-{TRACE}-{PARENT}", f"ff-{TRACE}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", "\xff" * 99],
)
async def test_a_bad_traceparent_begins_a_trace_of_its_own(mesh, exporter, value):
    assert (await mesh.call("POST", MESH, ask(), headers={"traceparent": value, "tracestate": "=,;="})).status == 200
    ((call,), (request,)) = spans(exporter)
    assert request.parent is None
    assert call.context.trace_id == request.context.trace_id


async def test_a_trace_that_is_not_sampled_is_not_exported(mesh, exporter):
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    assert (await mesh.call("POST", MESH, ask(model="m-2"), headers=headers)).status == 200
    assert spans(exporter) == ([], [])


async def test_no_span_says_whose_it_was_or_what_was_said(mesh, exporter):
    headers = {"idempotency-key": "a-retry-key", "baggage": "user=a-secret-user", **TRACEPARENT}
    mesh.services.billing.recorder.start()
    await mesh.call("POST", MESH, ask(key_name="acme_key"), headers=headers)
    await mesh.call("POST", OPENAI, ask(model="m-2", stream=True))
    await mesh.call("POST", MESH, ask("fail always a-secret-question"))
    await mesh.call("GET", "/api/v1/keys/acme_key?user_id=a-secret-user")
    who = (await mesh.call("GET", "/api/v1/auth/profile")).json["id"]
    text = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert text.count('"gen_ai.operation.name"') == 3
    for secret in ("a-secret", "a-retry-key", "acme_key", SECRET, mesh.token, who):
        assert secret not in text


async def test_only_a_provider_that_is_configured_so_is_told_of_the_trace(mesh, exporter, upstream):
    await mesh.call("POST", MESH, ask(), headers=TRACEPARENT)
    assert not {"traceparent", "tracestate"} & upstream.asked[-1].headers.keys()
    await mesh.call("POST", MESH, ask(model="m-2"), headers={**TRACEPARENT, "baggage": "user=1"})
    told = upstream.asked[-1].headers
    call = spans(exporter)[0][-1]
    assert told["traceparent"] == f"00-{TRACE}-{call.context.span_id:016x}-01"
    assert told["tracestate"] == "vendor=1"
    assert "baggage" not in told
    assert call.attributes["gen_ai.provider.name"] == "ours"


async def test_each_that_may_have_done_what_was_asked_has_a_span(mesh, exporter, upstream):
    assert (await mesh.call("POST", MESH, ask("fail", model="best"))).status == 200
    assert len(upstream.asked) == 2
    ((failed, call), _) = spans(exporter)
    assert failed.attributes["gen_ai.provider.name"] == "acme"
    assert failed.attributes["error.type"] == "provider_failed"
    assert call.attributes["gen_ai.provider.name"] == "ours"
    assert f"{call.context.span_id:016x}" in upstream.asked[-1].headers["traceparent"]


async def test_requests_at_once_have_spans_of_their_own(mesh, exporter, upstream):
    everybody = asyncio.Event()

    async def together(exchange):
        if len(upstream.asked) == 5:
            everybody.set()
        await everybody.wait()
        await exchange.answer(200, completion())

    upstream.script = together
    await asyncio.gather(*(mesh.call("POST", MESH, ask(model=f"m-{1 + n % 2}")) for n in range(5)))
    calls, requests = spans(exporter)
    assert {call.parent.span_id for call in calls} == {request.context.span_id for request in requests}
    assert len({call.context.trace_id for call in calls}) == 5


async def test_a_defect_of_what_watches_is_none_of_the_call(mesh, monkeypatch, exporter):
    def broken(_event):
        raise RuntimeError("a defect")

    mesh.services.billing.observers.insert(0, broken)
    assert (await mesh.call("POST", MESH, ask())).status == 200
    assert len(spans(exporter)[0]) == 1
