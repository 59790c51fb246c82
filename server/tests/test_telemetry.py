"""Log lines of requests: one each, complete, as all other lines are, and without anything that a client sent."""

import asyncio
import json
import logging
import re
import subprocess
import sys

import pytest
import structlog

from mesh_server import telemetry

FIELDS = {
    "code": None,
    "method": "GET",
    "ms": 0.3,
    "request_id": "req_x",
    "route": "/api/v1/keys/{name}",
    "status": 200,
}
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(autouse=True)
def afterwards_as_before(monkeypatch):
    for name in ("_lines", "_threshold"):
        monkeypatch.setattr(telemetry, name, getattr(telemetry, name))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


async def lines(capsys, log_format, *levels):
    telemetry.configure("info", log_format)
    for level in levels:
        telemetry.request_line(level, **FIELDS)
    await asyncio.sleep(0)
    return capsys.readouterr().err.splitlines()


async def general_line(capsys, log_format):
    telemetry.configure("info", log_format)
    structlog.get_logger("mesh.request").info("request", **FIELDS)
    return capsys.readouterr().err.splitlines()[0]


async def test_a_line_is_the_one_that_all_other_lines_are_like(capsys):
    ours = (await lines(capsys, "console", "info"))[0]
    assert MOMENT.sub("now", ours) == MOMENT.sub("now", await general_line(capsys, "console"))
    ours = (await lines(capsys, "json", "info"))[0]
    general = json.loads(await general_line(capsys, "json"))
    assert json.loads(ours) | {"timestamp": ""} == general | {"timestamp": ""}
    assert MOMENT.fullmatch(json.loads(ours)["timestamp"])


async def test_every_request_of_a_turn_has_its_line_in_order(capsys):
    found = await lines(capsys, "json", "info", "warning", "info")
    assert [json.loads(line)["level"] for line in found] == ["info", "warning", "info"]


async def test_every_request_is_told_by_its_pattern_and_never_by_its_path(mesh, capsys):
    telemetry.configure("info", "json")
    await mesh.call("PUT", "/api/v1/keys/name-of-a-key", {"value": "sk-very-secret"})
    await mesh.call("GET", "/api/v1/keys/name-of-a-key?version=x")
    await mesh.call("GET", "/nowhere-of-that-name")
    await asyncio.sleep(0)
    told = capsys.readouterr().err
    assert [(line["route"], line["status"], line["code"]) for line in map(json.loads, told.splitlines())] == [
        ("/api/v1/keys/{name}", 200, None),
        ("/api/v1/keys/{name}", 400, "invalid_request"),
        (None, 404, "route_not_found"),
    ]
    for part in ("name-of-a-key", "nowhere", "very-secret", mesh.token):
        assert part not in told


async def test_below_its_level_nothing_is_written(mesh, capsys):
    telemetry.configure("warning", "json")
    assert (await mesh.call("GET", "/healthz")).status == 200
    await asyncio.sleep(0)
    assert capsys.readouterr().err == ""


def test_no_part_of_the_server_loads_what_draws_on_a_terminal():
    code = "import sys, mesh_server.app, mesh_server.cli.serve; assert 'rich' not in sys.modules; import rich.console"
    subprocess.run([sys.executable, "-c", code], check=True)
