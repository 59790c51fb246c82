"""Sealed files, and the one that a login is kept in: one for each server, bound to its origin.

    "MSHL"(4) | version 01(1) | place of the key(1) | key id(8) | nonce(12, random) | AES-256-GCM ciphertext and tag

The 32-byte key is in the system's keyring, else in a file beside. AAD = everything before the nonce, then what the file
is bound to; of a login that is the origin: a file renamed to another server's does not open.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mesh import _debug
from mesh._config import origin_text
from mesh.auth import native_keyring
from mesh.auth.filelock import FileLock
from mesh.auth.logins import Login
from mesh.errors import MeshError, local_error

T = TypeVar("T")

_MAGIC, _VERSION = b"MSHL", 1
_IN_KEYRING, _IN_FILE = 1, 2
_HEADER, _NONCE, _TAG = 14, 12, 16
#: Times that a file is tried on Windows while another process has it open, and the pause in seconds.
_BUSY_TRIES, _BUSY_S = 50, 0.02
#: Seconds to wait for another process that makes the key; the keyring alone may take 6.
_KEY_WAIT_S = 15.0


class Damaged(Exception):
    """The file is no login of this server, or its key is gone."""


class SealedFile:
    """A file that only this user of this machine can open. Everything here waits for files, and maybe for the keyring.

    Take a lock around whatever reads and then writes.
    """

    def __init__(self, folder: Path, path: Path, bound_to: bytes) -> None:
        self.path = path
        self.key_path = folder / "logins" / "key"
        self._folder = folder
        self._bound_to = bound_to
        self._key: tuple[int, bytes] | None = None

    def exists(self) -> bool:
        """Return whether there is a file, readable or not; cheap."""
        return self.path.exists()

    def prepare(self) -> None:
        """Make the folders, for this user only; raises `login_store_unreadable` where they can't be."""
        for folder in (self.path.parent, self.key_path.parent):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as problem:
                raise _unreadable(folder, problem) from None

    def read(self) -> bytes | None:
        """Return what was sealed; None where there is no file.

        Raises:
            Damaged: if there is a file that does not open.
            MeshError: `login_store_unreadable` if it can't be read now, but perhaps later.
        """
        try:
            content = _patiently(self.path.read_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as problem:
            raise _unreadable(self.path, problem) from None
        return self._open(content)

    def write(self, content: bytes) -> None:
        """Seal this, on the disk before it returns.

        Raises:
            MeshError: `login_store_unreadable` if it can't be written.
        """
        place, key = self._usable_key()
        self._key = (place, key)
        header = _MAGIC + bytes([_VERSION, place]) + _key_id(key)
        nonce = secrets.token_bytes(_NONCE)
        sealed = _cipher(key).encrypt(nonce, content, header + self._bound_to)
        self.prepare()
        try:
            write_private(self.path, header + nonce + sealed)
        except OSError as problem:
            raise _unreadable(self.path, problem) from None

    def erase(self) -> bool:
        """Remove the file, for every process; returns whether there was one."""
        try:
            _patiently(self.path.unlink)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as problem:
            raise _unreadable(self.path, problem) from None
        return True

    def _open(self, content: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - only where there is a login to open

        if len(content) < _HEADER + _NONCE + _TAG or content[:4] != _MAGIC:
            raise Damaged
        if content[4] != _VERSION:
            raise local_error("login_store_unreadable", f"A newer Mesh wrote {self.path}: update this one.")
        header, nonce, sealed = content[:_HEADER], content[_HEADER : _HEADER + _NONCE], content[_HEADER + _NONCE :]
        key = self._key_of(content[5], header[6:])
        try:
            opened: bytes = _cipher(key).decrypt(nonce, sealed, header + self._bound_to)
        except InvalidTag:
            raise Damaged from None
        return opened

    def _key_of(self, place: int, key_id: bytes) -> bytes:
        """Return the key with this id; the one in memory may have been replaced meanwhile."""
        if self._key is None or self._key[0] != place or _key_id(self._key[1]) != key_id:
            key = self._from_keyring() if place == _IN_KEYRING else self._from_file()
            if key is None or _key_id(key) != key_id:
                raise Damaged
            self._key = (place, key)
        return self._key[1]

    def _from_keyring(self) -> bytes | None:
        if not wanted():
            raise local_error(
                "login_store_unreadable", "The key of the stored login is in the keyring, and MESH_KEYRING is off."
            )
        try:
            text = native_keyring.read(self._keyring_name())
        except native_keyring.NoKeyring as problem:
            message = f"The login is stored, but its key is in the keyring. {problem}"
            raise local_error("login_store_unreadable", message) from None
        return _decoded(text)

    def _from_file(self) -> bytes | None:
        try:
            text = _patiently(self.key_path.read_bytes)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise _unreadable(self.key_path, problem) from None
        return _decoded(text.decode("ascii", "replace"))

    def _usable_key(self) -> tuple[int, bytes]:
        """Return the key to seal with, made if there is none; one process makes it, the others find it."""
        self.prepare()
        lock = FileLock(self.key_path.with_suffix(".lock"))
        deadline = time.monotonic() + _KEY_WAIT_S
        try:
            while not lock.try_acquire():
                if time.monotonic() > deadline:
                    raise local_error("login_store_unreadable", f"Another process holds {self.key_path}.")
                time.sleep(_BUSY_S)
            return self._known_key() or self._new_key()
        except OSError as problem:
            raise _unreadable(self.key_path, problem) from None
        finally:
            lock.release()

    def _known_key(self) -> tuple[int, bytes] | None:
        """Return the key in use: of this login, else the one that other servers' logins are sealed with."""
        from_file = self._from_file()
        if from_file is not None:
            return _IN_FILE, from_file
        if self._key is not None and self._key[0] == _IN_KEYRING:
            return self._key
        if wanted():
            try:
                from_keyring = _decoded(native_keyring.read(self._keyring_name()))
            except native_keyring.NoKeyring:
                return None
            if from_keyring is not None:
                return _IN_KEYRING, from_keyring
        return None

    def _new_key(self) -> tuple[int, bytes]:
        key = secrets.token_bytes(32)
        reason = ""
        if wanted():
            try:
                native_keyring.write(self._keyring_name(), key.hex())
            except native_keyring.NoKeyring as problem:
                reason = str(problem)
            else:
                return _IN_KEYRING, key
        write_private(self.key_path, key.hex().encode())
        if reason:
            _debug.warn("%s The key of your login is in %s, which only you can read.", reason, self.key_path)
        return _IN_FILE, key

    def _keyring_name(self) -> str:
        return f"logins in {self._folder.resolve()}"


class Store(SealedFile):
    """The login for one server; take `lock` around whatever reads and then writes."""

    def __init__(self, folder: Path, server_url: str) -> None:
        self._origin = origin_text(server_url)
        name = hashlib.sha256(self._origin.encode()).hexdigest()[:32]
        super().__init__(folder, folder / "logins" / f"{name}.login", self._origin.encode())
        self.lock = FileLock(self.path.with_suffix(".lock"))

    def load(self) -> Login | None:
        """Return the login; None where there is none.

        Raises:
            Damaged: if there is a file that is none.
            MeshError: `login_store_unreadable` if it can't be read now, but perhaps later.
        """
        content = self.read()
        try:
            return None if content is None else Login.decode(content)
        except ValueError:
            raise Damaged from None

    def save(self, login: Login) -> None:
        """Keep a login, on the disk before this returns.

        Raises:
            MeshError: `login_store_unreadable` if it can't be written.
        """
        self.write(login.encode())

    def set_aside(self) -> Path | None:
        """Put a file that is no login out of the way and return where it is; call it with the lock held."""
        try:
            self.load()
        except Damaged:
            aside = self.path.with_suffix(".damaged")
            try:
                self.path.replace(aside)
            except OSError as problem:
                raise _unreadable(self.path, problem) from None
            _debug.warn("The stored login for %s is damaged; it was kept as %s. Log in again.", self._origin, aside)
            return aside
        return None


def wanted() -> bool:
    """Return whether the keyring is to be asked: MESH_KEYRING=off says no."""
    return os.environ.get("MESH_KEYRING", "").strip().lower() not in {"off", "false", "0", "no"}


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only this user can read: whole or not at all, and on the disk when this returns.

    Its name while it is written is always the same, so that a process killed meanwhile leaves nothing to pile up.
    Who calls this holds a lock.
    """
    partial = path.with_name(f"{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(partial, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    _patiently(lambda: partial.replace(path))
    if os.name != "nt":  # the rename itself must survive a crash, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _patiently(work: Callable[[], T]) -> T:
    """Do it, again where Windows says that another process has the file open."""
    for _ in range(_BUSY_TRIES if os.name == "nt" else 0):
        try:
            return work()
        except PermissionError:
            time.sleep(_BUSY_S)
    return work()


def _unreadable(path: Path, problem: OSError) -> MeshError:
    return local_error(
        "login_store_unreadable", f"{path} can't be used ({problem.strerror or type(problem).__name__})."
    )


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - 10 ms that few processes need

    return AESGCM(key)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"mesh login store key id" + key).digest()[:8]


def _decoded(text: str | None) -> bytes | None:
    try:
        key = bytes.fromhex(text or "")
    except ValueError:
        return None
    return key if len(key) == 32 else None
