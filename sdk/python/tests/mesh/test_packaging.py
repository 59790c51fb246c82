"""What is installed: the distribution, its commands, and what it brings along."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import mesh
import mesh_protocol

FOLDER = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((FOLDER / "pyproject.toml").read_text("utf-8"))


def test_the_distribution_is_mesh_beta():
    found = metadata.distribution("mesh-beta")
    assert found.version == mesh.__version__ == PROJECT["project"]["version"]
    commands = {entry.name: entry.value for entry in found.entry_points if entry.group == "console_scripts"}
    assert commands == {"mesh": "mesh.cli.mesh:main", "mesh-auth": "mesh.cli.mesh_auth:main"}


def test_the_folder_of_the_client_is_a_project_of_its_own():
    """`pip install -e .` there builds from nothing outside of it."""
    assert PROJECT["build-system"]["build-backend"] == "hatchling.build"
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    for package, module in zip(wheel["packages"], (mesh, mesh_protocol), strict=True):
        assert FOLDER / package == Path(module.__file__).parent
    assert all((FOLDER / PROJECT["project"][name]).is_file() for name in ("readme",))
    assert (FOLDER / PROJECT["project"]["license-files"][0]).is_file()
    assert "mesh-server" not in (FOLDER / "pyproject.toml").read_text("utf-8")


def test_types_come_along():
    assert (Path(mesh.__file__).parent / "py.typed").is_file()


def test_an_extra_is_one_that_can_be_left_out():
    named = metadata.metadata("mesh-beta").get_all("Requires-Dist")
    optional = {re.match(r"[\w-]+", line)[0] for line in named if "extra ==" in line}
    assert optional == {"opentelemetry-api"}
