"""Published test vectors, read from beside the project: they are others' files and no part of it."""

import json
import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FOLDER = HERE.parents[4] / "shared" / "vectors"


def text(name: str) -> str:
    """Return a vector file; a missing one skips the test, and fails it where CI=true."""
    path = FOLDER / name
    if not path.is_file():
        reason = f"the vector file {name} is not in ../shared/vectors beside the project"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path.read_text("utf-8")


def load(name: str):
    return json.loads(text(name))


def frozen():
    """Return the vectors of MESH-ZKP-V01, which belong to the project."""
    return json.loads((HERE / "vectors" / "mesh-zkp-v01.json").read_text("utf-8"))


def number(text_: str) -> int:
    return int(text_, 16)


h = bytes.fromhex
