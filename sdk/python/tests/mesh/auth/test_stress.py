"""Many processes and threads with tokens that hardly live, and processes that are killed in the middle.

Longer: MESH_STRESS_SECONDS=30 MESH_STRESS_KILLS=50 pytest test_stress.py
"""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("worker.py")
SECONDS = float(os.environ.get("MESH_STRESS_SECONDS", "5"))
KILLS = int(os.environ.get("MESH_STRESS_KILLS", "10"))
LIFE_S = 3.0


@pytest.fixture
def start(issuer, folder):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    environment = kept | {"MESH_CONFIG_DIR": str(folder), "MESH_KEYRING": "off"}
    running = []

    def run(*arguments, seconds, threads=4):
        running.append(
            subprocess.Popen(
                [sys.executable, str(WORKER), issuer.url, str(threads), str(seconds), *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("background", [False, True])
def test_six_processes_and_one_refresh_per_expiry(issuer, logged_in, start, background):
    issuer.life = LIFE_S
    logged_in()
    started = time.monotonic()
    processes = [start(*["--background"][:background], seconds=SECONDS) for _ in range(6)]
    told = [json.loads(process.communicate(timeout=SECONDS + 60)[0]) for process in processes]
    spent = time.monotonic() - started
    assert [failure for one in told for failure in one["failed"]] == []
    assert all(one["calls"] > 10 for one in told)
    assert issuer.reuses == 0
    # A token is renewed a second before its end: no two refreshes are nearer than that allows, and none is missing.
    gaps = [later - earlier for earlier, later in zip(issuer.refreshes, issuer.refreshes[1:], strict=False)]
    assert all(gap > LIFE_S - 1.2 for gap in gaps), gaps
    assert 1 <= len(issuer.refreshes) <= spent / (LIFE_S - 1.0) + 1
    refused = [ask for ask in issuer.requests("/api/v1/keys") if "authorization" not in ask.headers]
    assert not refused


def killing(process, issuer):
    """Rotate the token, and kill who asked before the answer leaves."""

    def fault(ask):
        real, ask.answer = ask.answer, lambda *_, **__: None
        issuer.token(ask)
        process.kill()
        process.wait()
        ask.answer = real

    return fault


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
def test_killed_in_the_middle_the_login_survives(issuer, logged_in, start, store):
    """The issuer's overlap forgives that a successor was lost; the store is whole at any moment."""
    issuer.life, issuer.overlap = 0.2, 60.0
    logged_in()
    dice = random.Random(7)
    for kill in range(KILLS):
        process = start(seconds=60, threads=2)
        seen, deadline = len(issuer.refreshes), time.monotonic() + 30
        while len(issuer.refreshes) < seen + 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        if kill % 2:
            issuer.fault("/oauth/token", killing(process, issuer))
            process.wait(30)
        else:
            time.sleep(dice.random() * 0.05)
        process.kill()
        process.communicate()
        assert store.load() is not None
    assert issuer.reuses == 0
    last = start(seconds=0.5, threads=1)
    told = json.loads(last.communicate(timeout=60)[0])
    assert told["failed"] == []
    assert not list(store.path.parent.glob("*.damaged"))
    assert {path.suffix for path in store.path.parent.iterdir()} <= {".login", ".lock", ".new", ""}
