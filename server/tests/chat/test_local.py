"""The model on this machine, for real: started on first use, watched, never outliving its server."""

import asyncio
import contextlib
import os
from pathlib import Path

import psutil
import pytest

from mesh_server.chat.models import LocalSettings
from mesh_server.chat.upstream import local
from mesh_server.chat.upstream.local import LocalModels, model_name
from mesh_server.errors import LocalModelFailed, ModelNotInstalled

from ..conftest import open_mesh

WEIGHTS = Path(os.environ.get("MESH_TEST_MODEL_DIR", Path(__file__).resolve().parents[3] / ".dev/models"))
SMALL = "smollm2-135m-instruct"

pytestmark = pytest.mark.local_model


def settings(folder, **changed):
    given = {"model_dir": WEIGHTS, "model": SMALL, "threads": 2, "context": 512, "log_file": folder / "local.log"}
    return LocalSettings(**{**given, **changed})


@pytest.fixture
async def models(tmp_path):
    made = LocalModels(settings(tmp_path))
    yield made
    await made.close()
    assert not children()


def children():
    """Return the models' processes, and no other of the tests'."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE and "mesh_server.chat.upstream.local_worker" in child.cmdline():
                found.append(child)
    return found


async def test_it_starts_on_first_use_and_once_for_all(models):
    assert not children()

    async def use():
        async with models.running(SMALL) as found:
            await asyncio.sleep(0.01)
            return found

    found = await asyncio.gather(*(use() for _ in range(5)))
    assert len(set(found)) == 1
    assert len(children()) == 1


async def test_its_key_and_the_servers_secrets_are_on_no_command_line_and_in_no_environment(models, monkeypatch):
    monkeypatch.setenv("MESH_MASTER_KEY", "never-handed-on")
    async with models.running(SMALL) as (_, key):
        (child,) = children()
        assert key not in " ".join(child.cmdline())
        assert "never-handed-on" not in str(child.environ())
        assert child.environ()["OMP_WAIT_POLICY"] == "passive"


async def test_its_port_answers_nobody_without_the_key(models):
    import http.client
    from urllib.parse import urlsplit

    async with models.running(SMALL) as (base_url, _):
        connection = http.client.HTTPConnection(urlsplit(base_url).netloc)
        connection.request("POST", "/v1/chat/completions", b'{"messages": []}', {"authorization": "Bearer guess"})
        assert connection.getresponse().status == 401
        connection.close()


async def test_a_killed_process_is_started_again(models):
    async with models.running(SMALL) as first:
        (child,) = children()
    child.kill()
    psutil.wait_procs([child], timeout=5)
    await asyncio.sleep(0.1)
    async with models.running(SMALL) as second:
        assert second != first
        assert len(children()) == 1


async def test_another_model_takes_its_place_when_nobody_uses_it(tmp_path):
    models = LocalModels(settings(tmp_path, model_dir=tmp_path))
    for name in ("one", "two"):
        (tmp_path / f"{name}.gguf").symlink_to(WEIGHTS / f"{SMALL}.gguf")
    try:
        async with models.running("one"), models.running("two"):
            assert len(children()) == 2
        async with models.running("one"):
            pass
        assert models.installed() == ["one", "two"]
        (tmp_path / "three.gguf").symlink_to(WEIGHTS / f"{SMALL}.gguf")
        async with models.running("three"):
            assert len(children()) == 1
    finally:
        await models.close()


async def test_a_file_of_ones_own_is_a_model(tmp_path):
    path = tmp_path / "mine.gguf"
    path.symlink_to(WEIGHTS / f"{SMALL}.gguf")
    models = LocalModels(settings(tmp_path, model_dir=tmp_path / "empty", model=str(path)))
    assert (models.default, models.installed()) == ("mine", ["mine"])
    async with models.running("mine") as (base_url, _):
        assert base_url.startswith("http://127.0.0.1:")
    await models.close()


async def test_a_file_that_is_not_there_is_told(models):
    with pytest.raises(ModelNotInstalled, match="qwen"):
        async with models.running("qwen2.5-coder-0.5b-instruct-missing"):
            pass


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + bytes(4096), os.urandom(4096)])
async def test_a_damaged_file_is_told_and_leaves_no_process(tmp_path, content):
    (tmp_path / "bad.gguf").write_bytes(content)
    models = LocalModels(settings(tmp_path, model_dir=tmp_path, model="bad"))
    with pytest.raises(LocalModelFailed, match="bad"):
        async with models.running("bad"):
            pass
    assert not children()
    await models.close()


async def test_a_failed_start_is_not_tried_by_every_caller(tmp_path, monkeypatch):
    (tmp_path / "bad.gguf").write_bytes(b"GGUF")
    models = LocalModels(settings(tmp_path, model_dir=tmp_path, model="bad"))
    starts = []
    spawn = local._Child._spawn

    async def counted(self):
        starts.append(1)
        return await spawn(self)

    monkeypatch.setattr(local._Child, "_spawn", counted)

    async def use():
        async with models.running("bad"):
            pass

    results = await asyncio.gather(*(use() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, LocalModelFailed) for result in results)
    assert len(starts) == 1
    await models.close()


async def test_a_start_that_takes_too_long_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "START_S", 0.01)
    models = LocalModels(settings(tmp_path))
    with pytest.raises(LocalModelFailed, match="did not load within"):
        async with models.running(SMALL):
            pass
    assert not children()
    await models.close()


async def test_a_cancelled_start_leaves_no_process(models):
    async def use():
        async with models.running(SMALL):
            await asyncio.sleep(60)

    task = asyncio.ensure_future(use())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not children()


async def test_as_many_endless_answers_as_run_at_once_all_end(tmp_path):
    (tmp_path / "c.toml").write_text("[local]\ncontext = 512\n")
    where = {"MESH_CONFIG": str(tmp_path / "c.toml"), "MESH_MODEL_DIR": str(WEIGHTS), "MESH_LOCAL_MODEL": SMALL}
    mesh = await open_mesh(tmp_path, **where)
    ask = {"model": SMALL, "messages": [{"role": "user", "content": "Count."}], "ignore_eos": True}
    try:
        answers = await asyncio.gather(*(mesh.call("POST", "/v1/chat/completions", ask) for _ in range(4)))
        assert [answer.status for answer in answers] == [200] * 4, answers[0].body
        assert {answer.json["choices"][0]["finish_reason"] for answer in answers} == {"length"}
        assert all(answer.json["usage"]["total_tokens"] <= 512 // 4 for answer in answers)
        # A limit of one's own counts, up to the whole context; together they may ask for more than there is.
        asked = await mesh.call("POST", "/v1/chat/completions", {**ask, "max_tokens": 200})
        assert asked.json["usage"]["completion_tokens"] == 200
        greedy = {**ask, "max_tokens": 400}
        answers = await asyncio.gather(*(mesh.call("POST", "/v1/chat/completions", greedy) for _ in range(4)))
        refused = [answer for answer in answers if answer.status != 200]
        assert {(answer.status, answer.code) for answer in refused} <= {(503, "provider_unavailable")}
        assert all(b"max_tokens" in answer.body for answer in refused)
    finally:
        await mesh.services.close()


def test_a_model_is_named_after_its_file():
    assert model_name("/models/mistral-7b.Q4.gguf") == "mistral-7b.Q4"
    assert model_name("qwen2.5-coder") == "qwen2.5-coder"
