"""What `./dev demo` shows, shorter, and what `mesh-server dev` promises to someone in a second terminal."""

import importlib.util
import io
import subprocess
import sys
from pathlib import Path

from rich.console import Console

import mesh

EXAMPLE = Path(__file__).resolve().parents[2] / "sdk/python/examples/first_minute.py"


def first_minute():
    spec = importlib.util.spec_from_file_location("first_minute", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["first_minute"] = module
    spec.loader.exec_module(module)
    return module


def test_every_step_of_the_demo_does_what_it_should(as_user):
    example = first_minute()
    with mesh.MeshClient() as client:
        minute = example.FirstMinute(client, Console(file=io.StringIO(), width=120), max_tokens=24)
        assert minute.run(), minute.steps
        assert len(minute.steps) == 9
        assert example.KEY not in client.list_keys()


def test_the_demo_fails_when_a_step_does_not_do_what_it_should(as_user):
    example = first_minute()
    with mesh.MeshClient(server_url="http://127.0.0.1:1", auth_token="mesh_nobody", max_retries=0) as client:
        minute = example.FirstMinute(client, Console(file=io.StringIO(), width=120))
        assert not minute.run()
        assert not minute.steps[0].good


def test_two_lines_of_python_answer_without_any_variable(as_user):
    program = 'import mesh; print(mesh.chat("Hello, world!", max_tokens=16))'
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=as_user.environment | {"MESH_DATA_DIR": "", "MESH_MODEL_DIR": "", "MESH_LOCAL_MODEL": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr


def test_the_local_model_says_what_it_spent(as_user):
    answer = mesh.chat("Count to five.", max_tokens=12)
    assert answer["success"], answer
    assert answer.provider == "local"
    assert 0 < answer.usage.output_tokens <= 12
    assert answer.usage.cost_usd == 0
