"""When spans are exported, where to, and that no collector can stop the server."""

import asyncio
import os
import subprocess
import sys

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from mesh_server.errors import StartupError
from mesh_server.tracing import spans as spans_module
from mesh_server.tracing import start
from mesh_server.tracing.start import open_tracing

from ..chat.upstream import MESH
from ..serving import Server
from .test_spans import TRACE, TRACEPARENT, ask


class Collector:
    """An OTLP/HTTP collector that does what a test says."""

    def __init__(self, status=200, *, hangs=False):
        self.status, self.hangs = status, hangs
        self.requests = []
        self.tasks = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                first, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                self.requests.append((first, headers, body))
                if self.hangs:
                    await asyncio.Event().wait()
                writer.write(f"HTTP/1.1 {self.status} X\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


async def test_spans_reach_a_collector(configured, monkeypatch):
    async with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=ops")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway")
        mesh = await configured(open_tracing(os.environ))
        assert (await mesh.call("POST", MESH, ask(), headers=TRACEPARENT)).status == 200
        await mesh.services.close()
    assert {first for first, _, _ in collector.requests} == {"POST /v1/traces HTTP/1.1"}
    assert {headers["x-tenant"] for _, headers, _ in collector.requests} == {"ops"}
    sent = [ExportTraceServiceRequest.FromString(body) for _, _, body in collector.requests]
    resources = [found for one in sent for found in one.resource_spans]
    told = {a.key: a.value.string_value for found in resources for a in found.resource.attributes}
    assert told["service.name"] == "gateway"
    assert told["service.version"]
    names = {
        span.name
        for found in resources
        for scope in found.scope_spans
        for span in scope.spans
        if span.trace_id.hex() == TRACE
    }
    assert names == {"chat m-1", "POST /api/v1/chat/completions"}
    assert not any(b"a-secret" in body for _, _, body in collector.requests)


@pytest.mark.parametrize("fault", ["away", "refuses", "hangs"])
async def test_a_collector_that_fails_holds_nothing_up(configured, monkeypatch, fault, capsys):
    monkeypatch.setattr(spans_module, "CLOSE_S", 0.2)
    async with Collector(503, hangs=fault == "hangs") as collector:
        url = "http://127.0.0.1:9" if fault == "away" else collector.url
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        mesh = await configured(open_tracing(os.environ))
        for _ in range(3):
            assert (await mesh.call("POST", MESH, ask())).status == 200
        await asyncio.wait_for(mesh.services.close(), 5)


def test_the_service_is_ours_where_nobody_names_it(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    tracing = open_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    assert tracing._provider.resource.attributes["service.name"] == "mesh-server"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=theirs,team=a")
    tracing = open_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    assert tracing._provider.resource.attributes["service.name"] == "theirs"
    assert tracing._provider.resource.attributes["team"] == "a"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "gateway"}, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
    ],
)
def test_spans_are_made_where_opentelemetrys_variables_ask_for_them(environment, wanted):
    assert start._wanted(environment) is wanted


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_a_protocol_that_is_not_spoken_is_told_and_nothing_is_sent_to_the_wrong_port(name):
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    assert open_tracing({**environment, name: "grpc"}) is None
    assert open_tracing({**environment, name: "http/protobuf"}) is not None


def test_without_the_extra_the_server_starts_and_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert open_tracing({"OTEL_TRACES_EXPORTER": "otlp"}) is None
    assert "mesh-server[otel]" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_BSP_MAX_QUEUE_SIZE", "0"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "9999")]
)
def test_a_variable_that_can_not_be_used_is_told(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(StartupError, match="OTEL_"):
        open_tracing({"OTEL_TRACES_EXPORTER": "otlp"})


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"])
@pytest.mark.parametrize(
    "value", ["a-secret", "authorization: a-secret", "x=1,a-secret", "x=a-secret%0Ay", "x=a-secret\n y", "é=a-secret"]
)
def test_headers_that_can_not_be_read_are_refused_and_not_shown(monkeypatch, capsys, caplog, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(StartupError, match="OTEL_EXPORTER_OTLP_HEADERS") as refused:
        open_tracing({"OTEL_TRACES_EXPORTER": "otlp", name: value})
    assert "a-secret" not in refused.value.message + caplog.text + "".join(capsys.readouterr())


@pytest.mark.parametrize("value", ["x=1", "Authorization=Bearer a-secret", "a=1, b=2 ,", "x=Basic%20YQ%3D%3D"])
def test_headers_as_people_write_them_are_taken(value):
    assert open_tracing({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_HEADERS": value}) is not None


def test_without_a_variable_nothing_of_it_is_loaded():
    code = (
        "import sys; import mesh_server.app; from mesh_server.tracing.start import open_tracing;"
        "assert open_tracing({}) is None;"
        "sys.exit(any(name.partition('.')[0] in {'opentelemetry', 'prometheus_client'} for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_server_of_several_workers_sends_what_is_left_when_it_is_stopped(tmp_path, postgres_url):
    async with Collector() as collector:

        def story():
            server = Server(tmp_path, postgres_url, "--workers", "2")
            server.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
            token = server.token()  # a command that makes no spans, and says nothing of them on stdout
            with server:
                for number in range(10):
                    assert server.ask("PUT", f"/api/v1/keys/k{number}", token, {"value": "v"})[0] == 200
                assert server.stop() == 0

        await asyncio.to_thread(story)
    sent = [ExportTraceServiceRequest.FromString(body) for _, _, body in collector.requests]
    names = [s.name for one in sent for r in one.resource_spans for scope in r.scope_spans for s in scope.spans]
    assert names == ["PUT /api/v1/keys/{name}"] * 10
