"""Whether spans are wanted, by the variables that OpenTelemetry defines, and where they go."""

import logging
from collections.abc import Mapping

from mesh_server import __version__
from mesh_server.errors import StartupError
from mesh_server.telemetry import logger
from mesh_server.tracing.spans import Tracing

_log = logger("mesh.tracing")


def open_tracing(environment: Mapping[str, str]) -> Tracing | None:
    """Return what makes spans, and begin to export them; None where nothing asks for them, or they can't be made.

    Args:
        environment: `OTEL_*`; what is not looked at here the SDK reads from the process's own.

    Raises:
        StartupError: if one of these variables can't be used.
    """
    if not _wanted(environment):
        return None
    protocol = _of_traces(environment, "PROTOCOL") or "http/protobuf"
    if protocol != "http/protobuf":
        _log.error("no spans are made: only http/protobuf is spoken here", protocol=protocol)
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - loaded where spans are wanted
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        _log.error('no spans are made, though OTEL_* asks for them: pip install "mesh-server[otel]"')
        return None
    _check_headers(_of_traces(environment, "HEADERS"))
    own = {"service.name": "mesh-server", "service.version": __version__}
    try:
        # What OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say comes over our own.
        told = Resource.create().attributes
        named = {name: told[name] for name in own if name in told and not str(told[name]).startswith("unknown_service")}
        provider = TracerProvider(resource=Resource.create({**own, **named}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except ValueError as problem:
        raise StartupError(f"A variable OTEL_* can't be used: {problem}.") from problem
    _log.info("spans are exported")
    return Tracing(provider)


def _check_headers(headers: str) -> None:
    """Refuse headers that the library would show: it logs what it can't read, and they are credentials mostly.

    Raises:
        StartupError: without them.
    """
    from opentelemetry.util.re import parse_env_headers  # noqa: PLC0415 - as above

    logging.getLogger(parse_env_headers.__module__).setLevel(logging.CRITICAL)
    for part in filter(str.strip, headers.split(",")):
        read = parse_env_headers(part, liberal=True)
        if not read or not all(name.isascii() and (name + value).isprintable() for name, value in read.items()):
            raise StartupError(
                "OTEL_EXPORTER_OTLP_HEADERS must be name=value, with commas between, in visible characters."
            )


def _wanted(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = {name.strip() for name in environment.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()}
    if exporters:
        unknown = exporters - {"otlp", "none"}
        if unknown:
            _log.warning("exporters of spans that are not known here", exporters=sorted(unknown))
        return "otlp" in exporters
    return bool(_of_traces(environment, "ENDPOINT"))


def _of_traces(environment: Mapping[str, str], name: str) -> str:
    """Return a variable of the exporter: what is said of traces alone, else of everything."""
    return environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environment.get(f"OTEL_EXPORTER_OTLP_{name}") or ""
