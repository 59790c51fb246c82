"""Several processes behind one set of sockets: they share them, are replaced, and end together."""

import asyncio
import os
import signal

import psutil
import pytest

from .serving import Server

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork: a server is one process")


@pytest.fixture
def server(tmp_path, postgres_url):
    return Server(tmp_path, postgres_url, "--workers", "3")


async def blocking(function, *arguments):
    return await asyncio.to_thread(function, *arguments)


async def test_the_workers_serve_one_address_and_end_with_their_parent(server):
    def story():
        token = server.token()
        with server:
            server.until(lambda: len(server.workers()) == 3)
            assert {server.ask("PUT", f"/api/v1/keys/k{n}", token, {"value": "v"})[0] for n in range(12)} == {200}
            children = server.workers()
            assert server.stop() == 0
            assert not [child for child in children if child.is_running()]

    await blocking(story)


async def test_a_dead_worker_is_replaced(server):
    def story():
        token = server.token()
        with server:
            server.until(lambda: len(server.workers()) == 3)
            victim = server.workers()[0]
            victim.kill()
            server.until(lambda: len(server.workers()) == 3 and victim not in server.workers())
            assert server.ask("GET", "/api/v1/keys", token)[0] == 200
            assert server.stop(signal.SIGINT) == 130
        log = server.log.read_text()
        assert log.count("worker died") == 1
        assert token not in log

    await blocking(story)


async def test_workers_do_not_outlive_a_killed_parent(server):
    def story():
        server.token()
        with server:
            server.until(lambda: len(server.workers()) == 3)
            children = server.workers()
            server.process.kill()
            server.process.wait()
            gone, alive = psutil.wait_procs(children, 10)
            assert len(gone) == 3
            assert not alive

    await blocking(story)


async def test_what_is_wrong_is_said_once_and_nothing_is_left_running(tmp_path, postgres_url):
    def story():
        server = Server(tmp_path, postgres_url)
        told = server.command("serve", "--port", "0", "--workers", "3")
        assert told.returncode == 3
        assert told.stderr.count("Nobody could log in") == 1

    await blocking(story)


def test_sqlite_is_refused_more_than_one_worker(tmp_path):
    server = Server(tmp_path, f"sqlite:///{tmp_path / 'mesh.db'}")
    told = server.command("serve", "--port", "0", "--workers", "2")
    assert told.returncode == 1
    assert "SQLite belongs to one process" in told.stderr
    assert told.stderr.count("\n") == 1


@pytest.mark.parametrize("number", ["0", "-1", "many", "100000"])
def test_a_number_of_workers_that_is_none_is_refused(tmp_path, number):
    server = Server(tmp_path, f"sqlite:///{tmp_path / 'mesh.db'}")
    assert server.command("serve", f"--workers={number}").returncode == 2
    told = server.command("serve", MESH_WORKERS=number)
    assert told.returncode == 1
    assert "MESH_WORKERS" in told.stderr


async def test_a_token_revoked_in_one_process_is_refused_by_another_within_two_seconds(tmp_path, postgres_url):
    def story():
        (tmp_path / "two").mkdir()
        one, two = Server(tmp_path, postgres_url), Server(tmp_path / "two", postgres_url)
        (tmp_path / "two" / "master.key").write_bytes((tmp_path / "master.key").read_bytes())
        token = one.token()
        with one, two:
            assert one.ask("GET", "/api/v1/keys", token)[0] == two.ask("GET", "/api/v1/keys", token)[0] == 200
            (mine,) = one.ask("GET", "/api/v1/tokens", token)[1]["tokens"]
            assert one.ask("DELETE", f"/api/v1/tokens/{mine['id']}", token)[0] in {200, 204}
            assert one.ask("GET", "/api/v1/keys", token)[0] == 401
            two.until(lambda: two.ask("GET", "/api/v1/keys", token)[0] == 401, seconds=2)

    await blocking(story)


async def test_a_database_that_was_not_migrated_is_told(tmp_path, cluster):
    import asyncpg

    from .postgres import OWNER

    admin = await asyncpg.connect(cluster.url("postgres", OWNER))
    await admin.execute("CREATE DATABASE mesh_bare")
    await admin.close()
    server = Server(tmp_path, cluster.url("mesh_bare", OWNER))
    try:
        told = await blocking(server.command, "serve", "--port", "0")
        assert told.returncode == 1
        assert "mesh-server migrate" in told.stderr
        done = await blocking(server.command, "migrate", "--grant-to", "mesh_app")
        assert done.returncode == 0, done.stderr
        assert "revision" in done.stdout
        assert (await blocking(server.command, "doctor", "--offline")).stdout.count("ok  database") == 1
    finally:
        await cluster.drop("mesh_bare")
