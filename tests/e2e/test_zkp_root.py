"""The root of the proof seeds: made where a server is set up, and never made up where one is missing."""

import os
import stat

import pytest


@pytest.fixture
def set_up(machine):
    """A machine with a configuration of `mesh-server init` and a token."""
    done = machine.command("init", "--data-dir", str(machine.data_dir))
    assert done.returncode == 0, done.stderr
    assert machine.command("token", "create", "--user", "ann").returncode == 0
    return machine


def sentence(done):
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("mesh-server: ")]
    return line


def test_init_makes_it_readable_by_its_owner_only(set_up):
    path = set_up.data_dir / "zkp.root"
    assert path.is_file()
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_dev_makes_it_and_keeps_it(machine):
    machine.start("--no-model")
    assert machine.stop() == 0
    path = machine.data_dir / "zkp.root"
    first = path.read_bytes()
    machine.start("--no-model")
    assert machine.stop() == 0
    assert path.read_bytes() == first
    path.unlink()
    machine.start("--no-model")
    assert machine.stop() == 0
    assert "must be enrolled again" in machine.log.read_text()
    assert path.read_bytes() != first


@pytest.mark.parametrize("content", ["", "too short", "A" * 44])
def test_serving_with_a_malformed_one_is_one_sentence(set_up, content):
    path = set_up.data_dir / "zkp.root"
    path.write_text(content)
    line = sentence(set_up.command("serve"))
    assert "root of the proofs" in line
    assert not content or content not in line


def test_serving_without_one_is_one_sentence(set_up):
    (set_up.data_dir / "zkp.root").unlink()
    line = sentence(set_up.command("serve"))
    assert "zkp.root is not there" in line
    assert not (set_up.data_dir / "zkp.root").exists()


def test_a_malformed_setting_is_named(set_up):
    line = sentence(set_up.command("serve", MESH_ZKP_ROOT="c2VjcmV0"))
    assert "MESH_ZKP_ROOT" in line
    assert "c2VjcmV0" not in line


def test_a_malformed_limit_is_named(set_up):
    assert "MESH_ZKP_RECORD_LIMIT" in sentence(set_up.command("serve", MESH_ZKP_RECORD_LIMIT="often"))


def test_the_doctor_reports_it(set_up):
    done = set_up.command("doctor", "--offline")
    assert "ok  proof root" in done.stdout, done.stdout
    (set_up.data_dir / "zkp.root").unlink()
    done = set_up.command("doctor", "--offline")
    assert done.returncode == 1
    assert "FAIL  proof root" in done.stdout
