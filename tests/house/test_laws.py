"""House laws that no linter knows."""

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import mesh_server.errors as server_errors
from mesh_protocol.codes import CODES

ROOT = Path(__file__).resolve().parents[2]


def files(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\n") if name and (ROOT / name).is_file()]


#: Files that are easier to read whole, each with its reason.
LONG = {
    "server/src/mesh_server/errors.py": "one tree of errors, a class each; nobody looks for an error in two files",
    "sdk/python/src/mesh_protocol/codes.py": "one table of codes for both sides, a row each",
}


def test_python_files_stay_under_400_lines():
    long = {str(f.relative_to(ROOT)): n for f in files("*.py", "dev") if (n := len(f.read_text().splitlines())) > 400}
    assert not long.keys() - LONG.keys(), long


def test_no_unfinished_ends():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError)\b")
    here = Path(__file__)
    found = [str(f) for f in files("*.py", "dev") if f != here and marks.search(f.read_text("utf-8"))]
    assert not found


def test_every_relative_link_in_the_docs_leads_somewhere():
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in files("*.md")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not broken


def test_both_distributions_have_the_same_version():
    versions = {
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))["project"]["version"]
        for folder in ("sdk/python", "server")
    }
    assert len(versions) == 1
    assert f"## {versions.pop()}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_dependency_is_explained():
    explained = (ROOT / "docs/dependencies.md").read_text("utf-8")
    named = set()
    for folder in (".", "sdk/python", "server"):
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))
        lists = [project["project"]["dependencies"], *project.get("dependency-groups", {}).values()]
        lists += project["project"].get("optional-dependencies", {}).values()
        named |= {re.match(r"[\w-]+", entry)[0] for entries in lists for entry in entries}
    missing = {name for name in named - {"mesh-beta", "mesh-server"} if f"`{name}`" not in explained}
    assert not missing


def test_every_setting_is_documented():
    page = (ROOT / "docs/reference/configuration.md").read_text("utf-8")
    source = "".join(f.read_text("utf-8") for f in files("server/src/*.py"))
    read = set(re.findall(r"\"(MESH_[A-Z_]+[A-Z])\"", source))
    assert read
    assert not {name for name in read if name not in page}


def test_every_error_class_has_a_code_of_the_table_and_no_two_the_same():
    classes = [
        c for c in vars(server_errors).values() if isinstance(c, type) and issubclass(c, server_errors.MeshError)
    ]
    codes = [c.code for c in classes if c is not server_errors.MeshError]
    assert len(codes) == len(set(codes))
    assert set(codes) <= set(CODES)


@pytest.mark.parametrize("page", ["errors"])
def test_generated_pages_are_true(page):
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for path, render in generate.PAGES.items():
        assert path.read_text("utf-8") == render(), "run ./dev docs"
