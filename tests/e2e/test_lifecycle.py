"""Starting, stopping, dying and starting again: what was acknowledged is there, what was running ends clearly."""

import os
import signal
import stat
import sys
import threading
import time

import psutil
import pytest

import mesh

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def client_of(machine, **arguments):
    return mesh.MeshClient(server_url=machine.url, auth_token=machine.token, **arguments)


def story(client, tokens):
    """Begin a stream long enough to do something in its middle."""
    stream = client.chat("Write a very long story about the sea.", provider="local", stream=True, max_tokens=tokens)
    pieces = iter(stream)
    next(pieces)
    return pieces


def test_killing_the_server_in_a_stream_is_a_clear_error_and_loses_no_key(machine):
    machine.start()
    with client_of(machine) as client:
        for number in range(5):
            assert client.store_key(f"key-{number}", f"value-{number}")["success"]
        pieces = story(client, 2000)
        machine.stop(signal.SIGKILL)
        with pytest.raises(mesh.MeshError) as caught:
            list(pieces)
        assert caught.value.code in {"stream_truncated", "connection_failed"}
        assert caught.value.troubleshooting

    machine.start("--no-model")
    with client_of(machine) as client:
        assert client.list_keys() == [f"key-{number}" for number in range(5)]
        assert [client.get_key(f"key-{number}") for number in range(5)] == [f"value-{n}" for n in range(5)]


def test_a_stop_lets_a_running_stream_end_and_leaves_no_process(machine):
    machine.start()
    with client_of(machine) as client:
        pieces = story(client, 60)
        children = psutil.Process(machine.process.pid).children(recursive=True)
        assert children, "the local model runs in a child process"
        statuses = []
        stopper = threading.Thread(target=lambda: statuses.append(machine.stop()))
        stopper.start()
        rest = list(pieces)
        stopper.join()
    assert rest
    assert statuses == [0]
    assert not [child for child in children if child.is_running()]


def test_the_local_model_dies_with_a_killed_server(machine):
    machine.start()
    with client_of(machine) as client:
        assert client.chat("Hi", provider="local", max_tokens=2)["success"]
    children = psutil.Process(machine.process.pid).children(recursive=True)
    assert children
    machine.stop(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_a_killed_local_model_is_started_again(machine):
    machine.start()
    with client_of(machine) as client:
        assert client.chat("Hi", provider="local", max_tokens=2)["success"]
        for child in psutil.Process(machine.process.pid).children(recursive=True):
            child.kill()
        time.sleep(0.2)
        assert client.chat("Hi", provider="local", max_tokens=2)["success"]


def test_an_interrupted_server_says_so_by_its_exit_status(machine):
    machine.start("--no-model")
    assert machine.stop(signal.SIGINT) == 130


def test_the_second_start_keeps_token_and_state(machine):
    machine.start("--no-model")
    token, server_id = machine.token, machine.profile["server_id"]
    with client_of(machine) as client:
        client.store_key("kept", "value")
    machine.stop()
    machine.start("--no-model")
    assert (machine.token, machine.profile["server_id"]) == (token, server_id)
    with client_of(machine) as client:
        assert client.get_key("kept") == "value"


def test_the_profile_leaves_a_persons_own_settings_alone(machine):
    machine.config_dir.mkdir()
    (machine.config_dir / "config.toml").write_text(
        '# mine\ndefault = "work"\n\n[profiles.work]\nserver_url = "https://mesh.example.com"  # keep\n'
    )
    machine.start("--no-model")
    text = (machine.config_dir / "config.toml").read_text()
    assert text.startswith('# mine\ndefault = "work"\n')
    assert 'server_url = "https://mesh.example.com"  # keep' in text
    assert machine.profile["default_provider"] == "local"


def test_only_their_owner_can_read_the_secret_files(machine):
    machine.start("--no-model")
    files = [machine.data_dir / "master.key", machine.config_dir / machine.profile["token_file"]]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    assert stat.S_IMODE(machine.data_dir.stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform != "linux", reason="psutil reads another process's limits on Linux alone")
def test_a_crash_leaves_no_memory_on_the_disk_and_files_are_open_as_many_as_may_be(machine):
    machine.start("--no-model")
    process = psutil.Process(machine.process.pid)
    assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    soft, hard = process.rlimit(psutil.RLIMIT_NOFILE)
    assert soft == min(hard, 65_536)


def test_no_file_and_no_log_holds_a_stored_secret_or_the_token(machine):
    secret, prompt = "s3cret-" + os.urandom(12).hex(), "prompt-" + os.urandom(12).hex()
    machine.environment["MESH_LOG_LEVEL"] = "debug"
    machine.start()
    with client_of(machine) as client:
        client.store_key("hidden", secret)
        assert client.get_key("hidden") == secret
        assert client.chat(prompt, provider="local", max_tokens=2)["success"]
        client.chat(prompt, provider="openai", model="gpt-4o")
    own = machine.config_dir / machine.profile["token_file"]
    needles = [secret.encode(), prompt.encode(), machine.token.encode(), machine.token[10:30].encode()]
    machine.stop()
    found = [
        (str(file), needle[:6])
        for file in machine.folder.rglob("*")
        if file.is_file() and file != own
        for needle in needles
        if needle in file.read_bytes()
    ]
    assert not found
    assert own.read_bytes().strip() == needles[2]
