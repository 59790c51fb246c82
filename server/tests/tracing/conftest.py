"""A server whose spans stay in memory, with a provider that is told of traces and one that is not."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mesh_server.chat.attempts import Attempts, Patience
from mesh_server.tracing.spans import Tracing

from ..chat.upstream import LAST, SECRET, USAGE, Upstream, chunk, completion
from ..conftest import open_mesh

CONFIG = """
[[providers]]
name = "acme"
base_url = "{url}"
models = ["m-1"]
key_names = ["acme_key"]
[[providers]]
name = "ours"
base_url = "{url}"
models = ["m-2"]
key_names = ["acme_key"]
trace = true
[[routes]]
model = "best"
targets = ["acme/m-1", "ours/m-2"]
"""


async def answer(exchange):
    asked = exchange.json["messages"][0]["content"] if "messages" in exchange.json else ""
    if "fail" in asked and (exchange.json["model"] == "m-1" or "always" in asked):
        await exchange.answer(500, {"error": {"message": "no: a-secret-reason"}})
    elif exchange.path.endswith("/embeddings"):
        await exchange.answer(200, {"data": [], "model": "m-1", "usage": {"prompt_tokens": 4, "total_tokens": 4}})
    elif exchange.json.get("stream"):
        await exchange.stream(chunk("a-secret-"), chunk("answer"), chunk(finish="stop"), LAST)
    else:
        details = {"prompt_tokens_details": {"cached_tokens": 1}}
        await exchange.answer(200, completion("a-secret-answer", model="m-1-2026-01-31", usage={**USAGE, **details}))


@pytest.fixture
async def upstream():
    made = await Upstream(answer).start()
    yield made
    await made.stop()


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def configured(tmp_path, monkeypatch, upstream):
    """A folder with the configuration; return how to open a server in it."""
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "mesh-server.toml"
    config.write_text(CONFIG.format(url=upstream.url))

    async def open_(tracing):
        made = await open_mesh(tmp_path, tracing=tracing, MESH_CONFIG=str(config))
        made.services.chat._attempts = Attempts(Patience(tries=1))
        await made.call("PUT", "/api/v1/keys/acme_key", {"value": SECRET})
        return made

    return open_


@pytest.fixture
async def mesh(configured, exporter):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    made = await configured(Tracing(provider))
    exporter.clear()
    yield made
    await made.services.close()
