"""A Mesh server with every kind of provider behind it: `llmock` as OpenAI and as Anthropic, and the local model."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .conftest import Mesh, new_machine

CONFIG = """
[[providers]]
name = "openai"
official = true
responses = true

[[providers]]
name = "anthropic"
official = true

[[providers]]
name = "plain"
base_url = "{url}/v1"
models = ["plain-model"]
key_names = ["plain_key"]
api_key = "plain-key"

[[routes]]
model = "ours"
targets = ["plain/plain-model", "anthropic/claude-haiku-5-5"]
"""

#: Who answers, by the model that is asked for: OpenAI by Responses or chat completions, Anthropic, a server that speaks
#: chat completions only, and the operator's route to that server.
OPENAI, ANTHROPIC, PLAIN, ROUTE = "gpt-5.6-sol", "claude-haiku-5-5", "plain-model", "ours"
MOCKED = [OPENAI, ANTHROPIC, PLAIN, ROUTE]


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@contextmanager
def llmock(*arguments: str) -> Iterator[str]:
    """Run llmock and give its address."""
    port = free_port()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("llmock"), "serve", "--port", str(port), "--log-level", "error", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/_llmock/requests", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _wait(url: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "llmock did not start"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def behave(url: str, *behaviors: dict) -> None:
    """Tell llmock what to do with the next calls."""
    body = json.dumps({"behaviors": list(behaviors)}).encode()
    request = urllib.request.Request(f"{url}/_llmock/scenario", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status < 300


@contextmanager
def serving(folder: Path, url: str) -> Iterator[Mesh]:
    """Run a Mesh server whose providers are at an address of llmock."""
    config = folder / "providers.toml"
    config.write_text(CONFIG.format(url=url))
    machine = new_machine(
        folder,
        MESH_CONFIG=str(config),
        OPENAI_API_KEY="openai-key",
        OPENAI_BASE_URL=f"{url}/v1",
        ANTHROPIC_API_KEY="anthropic-key",
        ANTHROPIC_BASE_URL=f"{url}/anthropic",
    )
    machine.start()
    try:
        yield machine
    finally:
        status = machine.stop()
    assert status == 0, machine.log.read_text()
