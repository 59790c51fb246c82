"""Several processes behind one set of sockets: they share them, are replaced, and end together."""

import asyncio
import http.client
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


def counted(server):
    return server.metrics().get('mesh_http_requests_total{method="GET",route="/healthz",status="200"}', 0)


async def test_one_scrape_shows_all_workers_and_no_counter_goes_back_when_one_is_replaced(server):
    """Each counter is looked at in each scrape, while workers are killed and take each other's places."""

    def story():
        server.token()
        with server:
            server.until(lambda: server.metrics()["mesh_workers"] == 3)
            for _ in range(60):
                assert server.ask("GET", "/healthz")[0] == 200
            server.until(lambda: counted(server) == 60)  # whichever workers answered
            before = server.metrics()
            for killed in range(1, 4):
                victim = server.workers()[0]
                victim.kill()
                server.until(lambda: len(server.workers()) == 3 and victim not in server.workers())
                for _ in range(12):
                    assert server.ask("GET", "/healthz")[0] == 200
                    now = server.metrics()
                    counters = [n for n in before if n.partition("{")[0].endswith(("_total", "_count", "_bucket"))]
                    assert not [name for name in counters if now.get(name, 0) < before[name]]
                    before = now
                if killed == 1:  # the third is killed at once: what it counted in its last second may go with it
                    server.until(lambda: counted(server) == 72)
            server.until(lambda: server.metrics()["mesh_workers"] == 3)
            assert {f'process_resident_memory_bytes{{worker="{n}"}}' for n in range(3)} <= server.metrics().keys()
            assert server.stop() == 0

    await blocking(story)


async def test_several_workers_behind_a_proxy_ask_for_admin(tmp_path, postgres_url):
    def story():
        server = Server(tmp_path, postgres_url, "--workers", "2", "--behind-proxy")
        token = server.token()
        with server:
            assert server.ask("GET", "/metrics")[0] == 401
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("GET", "/metrics", headers={"authorization": f"Bearer {token}"})
            assert connection.getresponse().status == 200
            connection.close()

    await blocking(story)
