"""The pytest fixture of `mesh.testing`; pytest finds it by itself once `mesh-beta` is installed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mesh.testing import FakeMesh


@pytest.fixture
def fake_mesh() -> "Iterator[FakeMesh]":
    """A `mesh.testing.FakeMesh` to which every client talks that is made during the test, and `mesh.chat` too."""
    from mesh.testing import FakeMesh  # noqa: PLC0415 - a run that does not use it pays nothing

    with FakeMesh().installed() as fake:
        yield fake
