"""Key values that were read, kept sealed on this machine for when the server can't be reached.

Each value is a file of its own, `cache/<server>/<key>.key`, sealed as logins are (`mesh.auth.store`), under the same
key. It is bound to server, login, namespace, owner and name: what one login read is never given to another.
"""

import contextlib
import hashlib
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from mesh import _debug
from mesh._config import origin_text
from mesh._plan import Plan, do
from mesh._send import Ready
from mesh.auth.filelock import FileLock
from mesh.auth.store import Damaged, SealedFile
from mesh.errors import MeshError
from mesh_protocol.quiet import Quiet

#: Seconds for which a value that was read may stand in for the server's.
MAX_AGE_S = 7 * 86400.0
#: Seconds that a clock may have gone back without making a value look as if it came from the future.
_CLOCK_TOLERANCE_S = 60.0
#: Seconds to wait for another process that writes; after that this value is not kept.
_LOCK_S = 2.0

#: What is wrong when the server can't be asked; whatever it answers itself counts, and nothing cached does.
_UNREACHABLE = frozenset({"connection_failed", "host_not_found", "timeout", "login_unavailable"})
#: The server's answers after which a value must not stand in for it any more.
_TAKEN_AWAY = frozenset({"key_not_found", "grant_insufficient", "account_disabled", "token_revoked"})


class StaleText(str):
    """A key's text from the offline cache, since the server could not be reached.

    Attributes:
        read_at: when it was read from the server.
    """

    __slots__ = ("read_at",)
    read_at: datetime


class StaleBytes(bytes):
    """As `StaleText`, of a value that is bytes.

    Attributes:
        read_at: when it was read from the server.
    """

    read_at: datetime


class _Entry(Quiet, msgspec.Struct):
    content: bytes
    is_text: bool
    read_at: float
    expires_at: float | None


_decoder = msgspec.json.Decoder(_Entry)


class KeyCache:
    """The cached values of one server."""

    def __init__(self, folder: Path, server_url: str) -> None:
        self._root = folder
        self._origin = origin_text(server_url)
        self._folder = folder_of(folder, server_url)
        self._lock = FileLock(self._folder / "lock")

    def keep(self, ready: Ready, where: tuple[str, ...], value: str | bytes, expires_at: str | None) -> Plan[None]:
        """Keep a value that was read now. That it can't be kept is a warning: the value itself is there."""
        file = self._file(ready, where)
        if file is None:
            return
        content = value.encode() if isinstance(value, str) else value
        try:
            ends = datetime.fromisoformat(expires_at).timestamp() if expires_at else None
        except (ValueError, TypeError):
            _debug.warn("A value was not kept in the offline cache: it can't be told when it ends.")
            return
        entry = _Entry(content, isinstance(value, str), time.time(), ends)
        yield from do(lambda: self._write(file, msgspec.json.encode(entry)))

    def forget(self, ready: Ready, where: tuple[str, ...]) -> Plan[None]:
        """Forget a value: it was changed or taken away."""
        file = self._file(ready, where)
        if file is not None:
            yield from do(lambda: self._erase(file))

    def after(self, ready: Ready, where: tuple[str, ...], problem: MeshError) -> Plan[str | bytes | None]:
        """Return the value to give instead of a failure; None where the failure stands.

        Args:
            ready: as whom.
            where: namespace, owner and name.
            problem: why there is no answer.
        """
        if problem.code in _TAKEN_AWAY:
            yield from self.forget(ready, where)
            return None
        file = self._file(ready, where)
        if file is None or not (problem.code in _UNREACHABLE or problem.status in {502, 503, 504}):
            return None
        found = yield from do(lambda: _read(file))
        if found is not None:
            _debug.warn(
                "%s can't be reached: a value read at %s is used.",
                self._origin,
                found.read_at.isoformat(timespec="seconds"),
            )
        return found

    def _file(self, ready: Ready, where: tuple[str, ...]) -> SealedFile | None:
        """Return where a value is kept; None where it can't be said whose it is."""
        who = _identity(ready)
        if who is None:
            return None
        parts = [b"mesh key cache", self._origin.encode(), who, *(part.encode() for part in where)]
        bound_to = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
        return SealedFile(self._root, self._folder / f"{hashlib.sha256(bound_to).hexdigest()[:32]}.key", bound_to)

    def _erase(self, file: SealedFile) -> None:
        """Remove a value; where that fails it is told, since what the caller did is done nevertheless."""
        try:
            file.erase()
        except MeshError as problem:
            _debug.warn("A value in the offline cache could not be removed: %s", problem.message)

    def _write(self, file: SealedFile, content: bytes) -> None:
        try:
            file.prepare()
            deadline = time.monotonic() + _LOCK_S
            while not self._lock.try_acquire():
                if time.monotonic() > deadline:
                    _debug.warn("The offline cache is in use by another process: a value was not kept.")
                    return
                time.sleep(0.01)
            try:
                file.write(content)
            finally:
                self._lock.release()
        except (MeshError, OSError) as problem:
            _debug.warn("A value could not be kept in the offline cache (%s).", type(problem).__name__)


def folder_of(folder: Path, server_url: str) -> Path:
    """Return where the values of a server are."""
    return folder / "cache" / hashlib.sha256(origin_text(server_url).encode()).hexdigest()[:32]


def erase(folder: Path, server_url: str) -> bool:
    """Remove every value of a server; returns whether there were any."""
    place = folder_of(folder, server_url)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(place)
        return True
    return False


def _identity(ready: Ready) -> bytes | None:
    login = ready.credentials.kept
    if login is not None:
        whose = f"{login.issuer}\n{login.client_id}\n{login.subject}"
        return hashlib.sha256(whose.encode()).digest() if login.subject else None
    token = ready.credentials.ready()
    return hashlib.sha256(token.reveal().encode()).digest() if token is not None else None


def _read(file: SealedFile) -> StaleText | StaleBytes | None:
    try:
        content = file.read()
        entry = None if content is None else _decoder.decode(content)
    except (Damaged, MeshError, msgspec.DecodeError) as problem:
        _debug.warn("A value of the offline cache does not open (%s).", type(problem).__name__)
        return None
    now = time.time()
    if entry is None or not -_CLOCK_TOLERANCE_S <= now - entry.read_at <= MAX_AGE_S:
        return None
    if entry.expires_at is not None and now >= entry.expires_at:
        return None
    found = StaleText(entry.content.decode()) if entry.is_text else StaleBytes(entry.content)
    found.read_at = datetime.fromtimestamp(entry.read_at, UTC)
    return found
