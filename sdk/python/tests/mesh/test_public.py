"""What is public is what `__all__` says, the twins are twins, and importing costs nothing."""

import importlib
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mesh

PROJECT = Path(__file__).resolve().parents[2]


def test_the_public_names_are_those_of_all():
    assert len(mesh.__all__) == len(set(mesh.__all__))
    assert set(mesh.__all__) == {*mesh._HOME, "__version__"}
    assert set(dir(mesh)) == set(mesh.__all__)


@pytest.mark.parametrize("name", sorted(mesh._HOME))
def test_a_public_name_comes_from_its_module_and_is_documented(name):
    home = importlib.import_module(f"mesh.{mesh._HOME[name]}")
    found = getattr(mesh, name)
    assert found is getattr(home, name)
    assert inspect.getdoc(found)


def test_what_type_checkers_see_is_what_there_is():
    """The imports for type checkers name each public name exactly once."""
    import ast

    tree = ast.parse((PROJECT / "src/mesh/__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = [
        alias.name
        for node in block.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mesh")
        for alias in node.names
    ]
    assert sorted(seen) == sorted(mesh._HOME)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        mesh.nothing  # noqa: B018 - the attribute is what is tested


def test_both_clients_have_the_same_methods_with_the_same_arguments():
    def methods(kind):
        return {
            name: inspect.signature(method)
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    sync, twin = methods(mesh.MeshClient), methods(mesh.AsyncMeshClient)
    assert sync.keys() == twin.keys()
    for name, signature in sync.items():
        assert list(signature.parameters) == list(twin[name].parameters), name
        assert [p.default for p in signature.parameters.values()] == [p.default for p in twin[name].parameters.values()]


def test_the_functions_have_the_arguments_of_the_methods():
    for name in ("chat", "store_key", "get_key", "list_keys", "delete_key", "restore_key"):
        method = inspect.signature(getattr(mesh.MeshClient, name))
        function = inspect.signature(getattr(mesh, name))
        assert list(function.parameters) == list(method.parameters)[1:]
        assert getattr(mesh, name).__module__ == "mesh"


def test_every_public_method_says_what_it_does():
    for kind in (mesh.MeshClient, mesh.AsyncMeshClient, mesh.Stream, mesh.AsyncStream):
        for name, member in inspect.getmembers(kind):
            if not name.startswith("_"):
                assert inspect.getdoc(member), f"{kind.__name__}.{name}"


def test_the_version_is_that_of_the_distribution():
    assert mesh.__version__ == tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]


def test_importing_loads_nothing_else():
    program = "import sys; before = set(sys.modules); import mesh; print(sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, env={"PYTHONPATH": str(PROJECT / "src")}
    )
    assert done.stdout.strip() == "['mesh']", done.stderr
