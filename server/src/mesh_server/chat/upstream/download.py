"""Files over HTTP: resumed where they broke off, and wheels found on a Python package index."""

import hashlib
import os
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Self
from urllib.parse import urldefrag, urljoin, urlsplit

import msgspec
from pyreqwest.client import SyncClient, SyncClientBuilder
from pyreqwest.exceptions import BuilderError, PyreqwestError
from pyreqwest.response import SyncResponse

from mesh_server.chat.catalog.local_models import Wheel

#: Seconds until a host that does not answer is given up: the next source may be reachable.
CONNECT_S = 5.0
IDLE_S = 60.0
#: How often a transfer that broke off is taken up again.
_TRIES = 5
_MAX_INDEX_BYTES = 32 * 1024 * 1024

#: Where the index's address is looked up, as uv and pip do.
_INDEX_VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
_PYPI = "https://pypi.org/simple"
_JSON = "application/vnd.pypi.simple.v1+json"


class DownloadFailed(Exception):
    """A source that does not give what it should, in a few words; never with an address that may hold a credential."""


class _File(msgspec.Struct):
    filename: str
    url: str
    hashes: dict[str, str] = {}


class _Project(msgspec.Struct):
    files: list[_File]


class Downloads:
    """Fetches files; follows redirects, honours the environment's proxies and certificates."""

    def __init__(self) -> None:
        self._client: SyncClient = (
            SyncClientBuilder()
            .user_agent("mesh-server")
            .connect_timeout(timedelta(seconds=CONNECT_S))
            .read_timeout(timedelta(seconds=IDLE_S))
            .gzip(enable=False)  # lengths and ranges are those of the file itself
            .brotli(enable=False)
            .zstd(enable=False)
            .deflate(enable=False)
            .build()
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def file(self, url: str, path: Path, progress: Callable[[int], None]) -> None:
        """Fetch a file, going on where an earlier try broke off.

        Raises:
            DownloadFailed: if its host can't be reached or does not have it.
        """
        host = urlsplit(url).hostname or "the source"
        for attempt in range(_TRIES):
            before = path.stat().st_size if path.exists() else 0
            try:
                self._transfer(url, path, before, progress)
            except PyreqwestError as problem:
                grown = path.exists() and path.stat().st_size > before
                if not grown and (before == 0 or attempt + 1 == _TRIES):
                    raise DownloadFailed(f"{host} can't be reached ({type(problem).__name__})") from None
            else:
                return
        raise DownloadFailed(f"{host} broke the transfer off {_TRIES} times")

    def wheel(self, wheel: Wheel, path: Path, progress: Callable[[int], None]) -> None:
        """Fetch a wheel from the package index, and check it against the index's hash.

        Raises:
            DownloadFailed: if the index does not have it, or gives another file than it says.
        """
        index = next((os.environ[name] for name in _INDEX_VARIABLES if os.environ.get(name)), _PYPI)
        found = self._find(index.rstrip("/"), wheel)
        path.unlink(missing_ok=True)  # of an earlier try, perhaps of another wheel
        self.file(found.url, path, progress)
        expected = found.hashes.get("sha256")
        if expected is not None:
            with path.open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
            if actual != expected:
                path.unlink()
                raise DownloadFailed(f"{found.filename} is not the file that the package index describes")

    def _transfer(self, url: str, path: Path, offset: int, progress: Callable[[int], None]) -> None:
        request = self._client.get(url)
        if offset:
            request = request.header("range", f"bytes={offset}-")
        with request.streamed_read_buffer_limit(0).build_streamed() as answer:
            if answer.status == 416 and offset:
                return  # all of it is here; whether it is right is the hash's to say
            if answer.status not in {200, 206}:
                raise DownloadFailed(f"{urlsplit(url).hostname} answered with status {answer.status}")
            # Without 206 the host sends the whole file, whatever was asked for.
            with path.open("ab" if answer.status == 206 and offset else "wb") as file:
                while (chunk := answer.body_reader.read_chunk()) is not None:
                    file.write(chunk)
                    progress(file.tell())

    def _find(self, index: str, wheel: Wheel) -> _File:
        host = urlsplit(index).hostname or "the package index"
        url = f"{index}/{wheel.project}/"
        try:
            with self._client.get(url).header("accept", f"{_JSON}, text/html;q=0.5").build_streamed() as answer:
                if answer.status != 200:
                    raise DownloadFailed(f"{host} does not have {wheel.project} (status {answer.status})")
                files = _files(answer, url, _read(answer, host))
        except (BuilderError, ValueError):
            raise DownloadFailed("the configured package index is not an http(s) address") from None
        except PyreqwestError as problem:
            raise DownloadFailed(f"{host} can't be reached ({type(problem).__name__})") from None
        prefix = f"{wheel.project.replace('-', '_')}-{wheel.version}-"
        for file in files:
            if file.filename.startswith(prefix) and file.filename.endswith(".whl"):
                return _File(file.filename, urljoin(url, file.url), file.hashes)
        raise DownloadFailed(f"{host} does not have {wheel.project} {wheel.version}")


def _read(answer: SyncResponse, host: str) -> bytes:
    content = bytearray()
    while (chunk := answer.body_reader.read_chunk()) is not None:
        content += chunk
        if len(content) > _MAX_INDEX_BYTES:
            raise DownloadFailed(f"the list of files of {host} is too long")
    return bytes(content)


def _files(answer: SyncResponse, url: str, content: bytes) -> list[_File]:
    """Return the files of a project page: JSON (PEP 691), or HTML (PEP 503) where a mirror has no other."""
    if (answer.get_header("content-type") or "").startswith(_JSON):
        try:
            return msgspec.json.decode(content, type=_Project).files
        except msgspec.DecodeError:
            raise DownloadFailed(f"{urlsplit(url).hostname} sent a list of files that can't be read") from None
    parser = _Links()
    parser.feed(content.decode("utf-8", "replace"))
    return parser.files


class _Links(HTMLParser):
    """Collects the links of a project page."""

    def __init__(self) -> None:
        super().__init__()
        self.files: list[_File] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take up one link."""
        target = dict(attrs).get("href") if tag == "a" else None
        if target:
            url, fragment = urldefrag(target)
            kind, _, digest = fragment.partition("=")
            self.files.append(_File(urlsplit(url).path.rsplit("/", 1)[-1], url, {kind: digest} if digest else {}))
