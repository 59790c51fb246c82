"""The sealed store: bound to its server, private, whole or not at all, and never a reason to hang."""

import os
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

import mesh
from mesh.auth import native_keyring
from mesh.auth import store as store_module
from mesh.auth.filelock import FileLock
from mesh.auth.store import Damaged, Store

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")


@pytest.fixture
def keyring(monkeypatch):
    """A keyring in memory, in place of the child process."""
    kept = {}
    monkeypatch.delenv("MESH_KEYRING")
    monkeypatch.setattr(native_keyring, "read", kept.get)
    monkeypatch.setattr(native_keyring, "write", kept.__setitem__)
    return kept


@pytest.fixture
def no_keyring(monkeypatch):
    """A keyring that does not answer."""
    monkeypatch.delenv("MESH_KEYRING", raising=False)

    def silent(*_):
        raise native_keyring.NoKeyring("The keyring of this system did not answer within 3 s.")

    monkeypatch.setattr(native_keyring, "read", silent)
    monkeypatch.setattr(native_keyring, "write", silent)


def again(store, folder, issuer):
    """Return the store as another process sees it."""
    return Store(folder, issuer.url)


def test_what_is_saved_is_loaded_again(logged_in, folder, issuer, store):
    login = logged_in()
    assert again(store, folder, issuer).load() == login
    assert login.access_token.reveal().encode() not in store.path.read_bytes()
    assert login.refresh_token.reveal().encode() not in store.path.read_bytes()


def test_there_is_nothing_at_first(store):
    assert store.load() is None
    assert not store.exists()
    assert store.erase() is False


@posix
def test_nobody_else_can_read_it(logged_in, store):
    logged_in()
    for path in (store.path, store.key_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_every_changed_byte_is_noticed(logged_in, store, folder, issuer):
    logged_in()
    content = store.path.read_bytes()
    for place in [*range(5), *range(5, len(content), 97), len(content) - 1]:
        if place == 4:
            continue  # the version: below
        store.path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises((Damaged, mesh.MeshError)):
            again(store, folder, issuer).load()
    for short in (b"", content[:40], content[:-1]):
        store.path.write_bytes(short)
        with pytest.raises(Damaged):
            again(store, folder, issuer).load()


def test_a_newer_version_is_not_called_damaged(logged_in, store):
    logged_in()
    content = bytearray(store.path.read_bytes())
    content[4] = 2
    store.path.write_bytes(content)
    with pytest.raises(mesh.ConfigurationError, match="newer Mesh"):
        store.load()


def test_what_is_damaged_is_kept_aside_and_told_once(logged_in, store, issuer, caplog):
    logged_in()
    store.path.write_bytes(b"garbage")
    with mesh.MeshClient(issuer.url) as client:
        assert client.chat("hi")["code"] == "not_logged_in"
        assert client.chat("hi")["code"] == "not_logged_in"
    assert len(caplog.records) == 1
    assert "damaged" in caplog.text
    assert store.path.with_suffix(".damaged").read_bytes() == b"garbage"
    assert not store.exists()
    logged_in()
    with mesh.MeshClient(issuer.url) as client:
        assert client.chat("hi").success


def test_a_key_that_was_replaced_by_another_process_is_read_again(logged_in, store, folder, issuer):
    login = logged_in()
    reader = again(store, folder, issuer)
    assert reader.load() == login
    store.path.unlink()
    store.key_path.unlink()
    writer = again(store, folder, issuer)
    writer.save(login)
    assert reader.load() == login


def test_a_login_without_its_key_is_damaged(logged_in, store, folder, issuer):
    logged_in()
    store.key_path.unlink()
    with pytest.raises(Damaged):
        again(store, folder, issuer).load()


# --- the keyring ---


def test_the_key_is_in_the_keyring_where_there_is_one(keyring, logged_in, store, folder, issuer):
    login = logged_in()
    assert not store.key_path.exists()
    assert len(bytes.fromhex(*keyring.values())) == 32
    assert again(store, folder, issuer).load() == login


def test_two_servers_share_the_key(keyring, logged_in, folder):
    login = logged_in()
    other = Store(folder, "https://other.example.com")
    other.save(login)
    assert len(keyring) == 1
    assert Store(folder, "https://other.example.com").load() == login


def test_without_a_keyring_the_key_is_in_a_file_with_one_warning(no_keyring, logged_in, store, folder, issuer, caplog):
    login = logged_in()
    again(store, folder, issuer).save(login)
    assert store.key_path.exists()
    assert caplog.text.count("which only you can read") == 1
    assert again(store, folder, issuer).load() == login


def test_who_wants_no_keyring_is_not_warned(logged_in, caplog):
    logged_in()
    assert not caplog.text


def test_a_keyring_that_does_not_answer_now_costs_no_login(keyring, logged_in, folder, issuer, store, monkeypatch):
    login = logged_in()
    with monkeypatch.context() as patch:

        def silent(*_):
            raise native_keyring.NoKeyring("locked")

        patch.setattr(native_keyring, "read", silent)
        with pytest.raises(mesh.ConfigurationError) as caught:
            again(store, folder, issuer).load()
        assert caught.value.code == "login_store_unreadable"
    assert again(store, folder, issuer).load() == login


def test_a_key_in_the_keyring_is_not_asked_for_where_it_is_off(keyring, logged_in, folder, issuer, store, monkeypatch):
    login = logged_in()
    monkeypatch.setenv("MESH_KEYRING", "off")
    with pytest.raises(mesh.ConfigurationError, match="MESH_KEYRING"):
        again(store, folder, issuer).load()
    again(store, folder, issuer).save(login)  # a new login finds its way
    assert again(store, folder, issuer).load() == login


def test_a_keyring_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(native_keyring, "possible", lambda: True)
    monkeypatch.setattr(native_keyring, "LIMIT_S", 0.5)
    monkeypatch.setattr(native_keyring, "_CHILD", "import time; time.sleep(60)")
    started = time.monotonic()
    with pytest.raises(native_keyring.NoKeyring, match="did not answer"):
        native_keyring.read("x")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("child", ["raise SystemExit(1)", "print('no json')", "print('[]')"])
def test_a_child_that_fails_is_no_keyring(monkeypatch, child):
    monkeypatch.setattr(native_keyring, "possible", lambda: True)
    monkeypatch.setattr(native_keyring, "_CHILD", child)
    with pytest.raises(native_keyring.NoKeyring):
        native_keyring.write("x", "s3cret")


@pytest.mark.skipif(sys.platform != "linux", reason="what others do without a bus is theirs to know")
def test_without_a_session_bus_nobody_is_asked(monkeypatch, tmp_path):
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a child was started"))
    with pytest.raises(native_keyring.NoKeyring):
        native_keyring.read("x")


def test_the_child_really_runs_and_its_arguments_hold_nothing(monkeypatch):
    """With a bus that is not there the child finds no keyring, and says so itself."""
    if sys.platform != "linux":
        pytest.skip("it would ask the keyring of who runs this")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
    seen = []
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: (seen.append(a[0]), real(*a, **k))[1])
    with pytest.raises(native_keyring.NoKeyring, match=r"can't be used \(none found\)"):
        native_keyring.write("name-of-it", "s3cret")
    assert "s3cret" not in str(seen)
    assert "name-of-it" not in str(seen)


# --- files and locks ---


def test_a_folder_that_is_a_file_is_told(make, issuer, folder):
    folder.write_text("")
    with pytest.raises(mesh.MeshError) as caught:
        Store(folder, issuer.url).prepare()
    assert caught.value.code == "login_store_unreadable"
    assert make().chat("hi")["code"] == "not_logged_in"


def test_a_write_that_fails_leaves_the_old_login(logged_in, store, monkeypatch, folder, issuer):
    login = logged_in()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(mesh.ConfigurationError, match="No space left"):
        store.save(replace(login, subject="other"))
    assert again(store, folder, issuer).load() == login


def test_it_is_on_the_disk_before_it_has_its_name(logged_in, store, monkeypatch):
    done = []
    login = logged_in()
    real_sync, real_replace = os.fsync, store_module.Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("sync"), real_sync(handle))[1])
    monkeypatch.setattr(store_module.Path, "replace", lambda a, b: (done.append("rename"), real_replace(a, b))[1])
    store.save(login)
    assert done == (["sync", "rename"] if os.name == "nt" else ["sync", "rename", "sync"])


def test_a_lock_is_held_by_one(tmp_path):
    first, second = FileLock(tmp_path / "l"), FileLock(tmp_path / "l")
    assert first.try_acquire()
    assert not first.try_acquire()
    assert not second.try_acquire()
    first.release()
    assert second.try_acquire()
    second.release()
    second.release()


HOLDS = """
import sys, time
from pathlib import Path
from mesh.auth.filelock import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.try_acquire(), flush=True)
time.sleep(60)
"""


def test_a_lock_ends_with_its_process(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path / "l")], stdout=subprocess.PIPE, text=True)
    lock = FileLock(tmp_path / "l")
    try:
        assert child.stdout.readline() == "True\n"
        assert not lock.try_acquire()
    finally:
        child.kill()
        child.communicate()
    deadline = time.monotonic() + 10
    while not lock.try_acquire():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_parents_lock(tmp_path):
    lock, other = FileLock(tmp_path / "l"), FileLock(tmp_path / "l")
    assert lock.try_acquire()
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        lock.release()
        assert other.try_acquire()
        other.release()
    finally:
        os.write(go[1], b"x")
        os.waitpid(child, 0)
        for end in (*ready, *go):
            os.close(end)


def test_eight_threads_make_one_key(logged_in, folder, issuer, settings):
    login = logged_in()
    (folder / "logins" / "key").unlink()
    stores = [Store(folder, f"https://{n}.example.com") for n in range(8)]
    threads = [threading.Thread(target=store.save, args=(login,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [Store(folder, f"https://{n}.example.com").load() for n in range(8)] == [login] * 8
