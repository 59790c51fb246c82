"""A slow answer: `mesh-beta` gives up and asks again and again, and the provider is asked, and paid, once.

MESH_TEST_SLOW_S=580 makes the answer take as long as that, and leaves the client its own 30 seconds for each try.
"""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ..conftest import new_machine
from .published import CLIENT, Published, values

CONFIG = """
[[providers]]
name = "slow"
base_url = "http://127.0.0.1:{port}/v1"
models = ["slow-1"]
"""
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "slow-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "At last"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


class Slow(BaseHTTPRequestHandler):
    """Takes its time."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(self.path)
        self.server.go.wait(self.server.after)
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def slow():
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        server.asked, server.after, server.go = [], 0.0, threading.Event()
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.go.set()
        server.shutdown()


@pytest.fixture
def machine(slow, tmp_path):
    config = tmp_path / "slow.toml"
    config.write_text(CONFIG.format(port=slow.server_port))
    made = new_machine(tmp_path, MESH_CONFIG=str(config))
    made.start("--no-model")
    yield made
    slow.go.set()
    assert made.stop() == 0, made.log.read_text()


def test_one_call_and_one_charge_however_often_it_is_asked(beta_python, machine, slow, tmp_path):
    made = Published(beta_python, tmp_path / "person", machine.url, machine.token)
    made.log_in()
    real = os.environ.get("MESH_TEST_SLOW_S")
    slow.after = float(real or 2.5)  # by then it has given up twice at least
    asking = CLIENT.chat("hi", model="slow-1")
    (answer,) = values(made.run(asking, patience_s=slow.after + 60) if real else made.run(asking, seconds=0.5))
    assert answer == "At last"
    assert len(slow.asked) == 1
    (usage,) = values(made.run(CLIENT.get_usage()))
    assert (usage["total"]["calls"], usage["total"]["total_tokens"]) == (1, 5)
