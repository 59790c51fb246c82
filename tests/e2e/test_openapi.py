"""Requests made from the OpenAPI document by schemathesis: none ends in a 5xx, every answer is as the document says.

A quick, repeatable run by default, and one of two minutes in CI. MESH_TEST_FUZZ_S=600 looks for ten minutes, each time
for something else.
"""

import os
import subprocess
import sys
from pathlib import Path

#: Seconds that an answer may take: a real model makes some of them, on a processor that the tests share.
ANSWER_S = 60
#: Revoking tokens would take away the one that this run uses. There is no key of a provider here: the local model alone
#: is called.
LEFT_OUT = "/tokens/"
CONFIG = """
# What a schema can't say: that a moment is past, that a cursor is another list's, that one of two members is given,
# that the old scheme of proofs is gone (426), that there were too many requests (429).
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 401, 403, 404, 409, 412, 422, 426, 429]
"""


def run(machine, *options: str) -> subprocess.CompletedProcess[str]:
    config = machine.folder / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run"]
    return subprocess.run(
        [*command, f"{machine.url}/openapi.json", "--checks", "all", "--no-color", "--phases",
         "coverage,fuzzing,stateful", "--request-timeout", str(ANSWER_S), "--max-response-time", str(ANSWER_S),
         *options],
        env={**machine.environment, "PYTHONWARNINGS": "ignore"},
        cwd=machine.folder,
        capture_output=True,
        text=True,
        timeout=900,
    )  # fmt: skip


def effort() -> list[str]:
    seconds = os.environ.get("MESH_TEST_FUZZ_S")
    if seconds:
        return ["--max-time", seconds, "--max-examples", "100000"]
    if os.environ.get("CI"):
        return ["--max-time", "120", "--max-examples", "100000", "--generation-deterministic"]
    return ["--max-examples", "20", "--generation-deterministic"]


def test_no_request_that_the_document_allows_or_forbids_breaks_the_server(machine):
    machine.start("--no-model")
    header = f"Authorization: Bearer {machine.token}"
    done = run(machine, "--header", header, "--exclude-path-regex", LEFT_OUT, *effort())
    assert done.returncode == 0, done.stdout[-6000:]
    assert "passed" in done.stdout


def test_nobody_without_a_token_breaks_it_either(machine):
    machine.start("--no-model")
    options = ("--max-examples", "5", "--generation-deterministic")
    done = run(machine, *options, "--exclude-checks", "positive_data_acceptance")
    assert done.returncode == 0, done.stdout[-6000:]
