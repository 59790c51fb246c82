"""The documentation is true: everything public is documented, every example runs, sync and async say the same."""

import ast
import asyncio
import builtins
import importlib.util
import inspect
import json
import re
import types
from pathlib import Path

import pytest

import mesh
from mesh.testing import FakeMesh

ROOT = Path(__file__).resolve().parents[4]
EXAMPLES = ROOT / "sdk/python/examples"
PAGES = [
    *(ROOT / "docs/guides" / f"{name}.md" for name in ("agent", "client", "notebook", "script", "service")),
    ROOT / "README.md",
    ROOT / "sdk/python/README.md",
]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(source, namespace, name):
    """Run a piece of code that may await."""
    code = compile(source, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    compiled = compile(code, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = types.FunctionType(compiled, namespace)()
    return result if inspect.iscoroutine(result) else None


# --- everything public is documented ---

reference = load(ROOT / "docs/sdk_reference.py")


def public():
    for name in mesh.__all__:
        thing = getattr(mesh, name)
        if name == "__version__":
            continue
        yield name, thing
        if isinstance(thing, type):
            yield from ((f"{name}.{member}", value) for member, value in reference.members(thing).items())
    from mesh import httpx2_transport, testing

    for module in (testing, httpx2_transport):
        for name in module.__all__:
            thing = getattr(module, name)
            yield f"{module.__name__}.{name}", thing
            yield from ((f"{name}.{member}", value) for member, value in reference.members(thing).items())


@pytest.mark.parametrize(("name", "thing"), list(public()))
def test_what_is_public_is_documented(name, thing):
    text = inspect.getdoc(thing)
    assert text, name
    assert text.split("\n\n")[0].rstrip().endswith((".", ";", ":", "…")), f"{name}: the first paragraph is a sentence"
    page = (ROOT / "docs/reference/sdk.md").read_text("utf-8")
    shown = name.replace("AsyncMeshClient", "MeshClient").split(".")[-1]
    assert shown in page


@pytest.mark.parametrize(
    "method", sorted(name for name, member in reference.members(mesh.MeshClient).items() if inspect.isroutine(member))
)
def test_the_arguments_of_a_method_are_those_that_are_documented(method):
    function = getattr(mesh.MeshClient, method)
    documented = re.search(r"^Args:\n(.*?)(?:\n\n\w|\Z)", inspect.getdoc(function), re.DOTALL | re.MULTILINE)
    if documented is None:
        return
    named = re.findall(r"^    (\*{0,2}\w+)", documented[1], re.MULTILINE)
    signature = inspect.signature(function)
    expected = [str(p).split(":")[0].split("=")[0] for p in signature.parameters.values() if p.name != "self"]
    assert named == expected


# --- sync and async say the same ---


@pytest.mark.parametrize(
    ("sync", "twin"),
    [
        (mesh.MeshClient, mesh.AsyncMeshClient),
        (mesh.AutoRefreshMeshClient, mesh.AsyncAutoRefreshMeshClient),
        (mesh.Stream, mesh.AsyncStream),
        (mesh.Conversation, mesh.AsyncConversation),
    ],
)
def test_twins_say_the_same(sync, twin):
    ours, theirs = reference.members(sync), reference.members(twin)
    renamed = {"close": "aclose"} if sync is mesh.Stream else {}
    assert {renamed.get(name, name) for name in ours} == theirs.keys()
    for name, member in ours.items():
        other = theirs[renamed.get(name, name)]
        said, said_there = inspect.getdoc(member), inspect.getdoc(other)
        assert said.replace("another thread", "another task") == said_there, name
        if inspect.isroutine(member):
            parameters = inspect.signature(member).parameters.values()
            twins = inspect.signature(other).parameters.values()
            assert [(p.name, p.kind, p.default) for p in parameters] == [(p.name, p.kind, p.default) for p in twins]


# --- every example runs ---


def blocks(page):
    """Return the Python of a page, those that go on with one another as one."""
    found = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [block for block in found if "…" not in re.sub(r"#.*|\".*?\"", "", block)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_every_example_of_a_page_runs(page, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builtins, "input", lambda *_: "n")
    namespace = {"__name__": "page"}
    with FakeMesh().installed() as fake, asyncio.Runner() as runner:
        for number, block in enumerate(blocks(page)):
            if re.search(r"^(import|from) (?!mesh|typing|dataclasses|contextlib|httpx2|os\b)", block, re.MULTILINE):
                continue  # about another library
            source = block if number else f"import mesh\n{block}"
            waiting = run(source, namespace, f"{page.name} block {number}")
            if waiting is not None:
                runner.run(waiting)
        for name, made in list(namespace.items()):
            if name.startswith("test_"):
                made(FakeMeshFor(fake))
        client = namespace.get("client")
        if isinstance(client, mesh.AsyncMeshClient):
            runner.run(client.close())
    capsys.readouterr()


class FakeMeshFor:
    """The fake that is installed, with nothing recorded yet."""

    def __init__(self, fake):
        fake.calls.clear()
        self._fake = fake

    def __getattr__(self, name):
        return getattr(self._fake, name)


def test_the_notebook_runs_from_top_to_bottom(fake_mesh, capsys):
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text("utf-8"))["cells"]
    namespace = {"__name__": "__main__"}
    with asyncio.Runner() as runner:

        async def in_a_loop(source, name):  # a kernel runs every cell inside its event loop
            waiting = run(source, namespace, name)
            if waiting is not None:
                await waiting

        for number, cell in enumerate(cells):
            if cell["cell_type"] == "code":
                assert cell["outputs"] == [], "results are not kept in the repository"
                runner.run(in_a_loop("".join(cell["source"]), f"cell {number}"))
    assert "Count to five." in capsys.readouterr().out
    assert len(namespace["talk"].messages) == 5


def test_the_script_sums_up_what_it_can(fake_mesh, tmp_path, capsys):
    script = load(EXAMPLES / "script.py")
    (tmp_path / "notes.txt").write_text("A lot of notes.")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    fake_mesh.answer("Notes.")
    assert script.main([str(tmp_path / "notes.txt")]) == 0
    assert "A lot of notes." in fake_mesh.calls[0].json["messages"][0]["content"][0]["text"]
    fake_mesh.fail("provider_key_missing", "No key.")
    status = script.main([str(tmp_path / "notes.txt"), str(tmp_path / "picture.png"), str(tmp_path / "missing.txt")])
    out, err = capsys.readouterr()
    assert status == 1
    assert out.endswith("notes.txt: Notes.\n")
    assert all(word in err for word in ("No key.", "neither a PDF nor a text", "missing.txt"))


def test_the_agent_looks_writes_with_consent_and_reports(fake_mesh, monkeypatch, capsys):
    agent = load(EXAMPLES / "agent.py")
    notes = agent.Notes()
    monkeypatch.setattr(builtins, "input", lambda _question: "y")
    fake_mesh.answer(tool_calls=[("find", {"word": "shopping"}), ("add", {"title": "shopping", "text": "milk"})])
    fake_mesh.answer('{"answer": "bread, apples, milk", "sources": ["shopping"]}')
    with mesh.MeshClient(raise_on_error=True) as client:
        report = agent.run("What do I have to buy? Add milk.", notes, client)
        assert report == agent.Report("bread, apples, milk", ["shopping"])
        assert notes.texts["shopping"] == "bread, apples, milk"
        monkeypatch.setattr(builtins, "input", lambda _question: "n")
        fake_mesh.answer(tool_calls=[("add", {"title": "x", "text": "y"})])
        fake_mesh.answer('{"answer": "I may not.", "sources": []}')
        agent.run("Add y.", notes, client)
    assert "x" not in notes.texts
    capsys.readouterr()


async def test_the_service_answers_and_streams(fake_mesh):
    service = load(EXAMPLES / "service.py")
    fake_mesh.answer("Paris", cost_usd=0.25)
    fake_mesh.stream("Hel", "lo")
    fake_mesh.fail("provider_key_missing", "No key.")
    async with service.lifespan(service.app):
        status, body = await asgi(service.app, "/ask", {"text": "Capital?"}, (b"idempotency-key", b"mine"))
        assert (status, json.loads(body)["answer"], json.loads(body)["cost_usd"]) == (200, "Paris", 0.25)
        assert fake_mesh.calls[0].headers["idempotency-key"] == "mine"
        assert await asgi(service.app, "/stream", {"text": "Hi"}) == (200, b"Hello")
        status, body = await asgi(service.app, "/ask", {"text": "Hi"})
        assert (status, json.loads(body)["detail"]["code"]) == (503, "provider_key_missing")


async def asgi(app, path, body, *headers):
    """Send one request to an application, and return status and body."""
    content = json.dumps(body).encode()
    waiting = [{"type": "http.request", "body": content, "more_body": False}]
    sent = []

    async def receive():
        if waiting:
            return waiting.pop()
        return await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "app": app,
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])
