"""Files of 32-byte secrets in base64: made once, readable by this user alone, never overwritten.

One secret a line, the current one first, then earlier ones; `#` begins a comment.
"""

import base64
import binascii
import os
import stat
from pathlib import Path

from mesh_server.errors import StartupError

SECRET_BYTES = 32


def create(path: Path, secret: bytes, what: str, comment: str) -> None:
    """Make a file that only this user can read.

    Args:
        path: where.
        secret: 32 bytes.
        what: the secret's name for the messages, such as `master key`.
        comment: one line for whoever opens the file.

    Raises:
        StartupError: if the file is there already or can't be written.
    """
    text = f"# {comment}\n{base64.b64encode(secret).decode()}\n"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise StartupError(f"There is a {what} at {path} already; it is never overwritten.") from None
    except OSError as problem:
        raise StartupError(f"The {what} can't be written to {path}: {problem.strerror}.") from problem


def read(path: Path, what: str, *, missing: str) -> list[bytes]:
    """Return the secrets of a file, the current one first.

    Args:
        path: of the file.
        what: the secret's name for the messages.
        missing: what to do where the file is not there.

    Raises:
        StartupError: one sentence that names the file and never shows any of it.
    """
    try:
        _check_private(path, what)
        lines = path.read_text("ascii").splitlines()
    except FileNotFoundError:
        raise StartupError(f"The {what} {path} is not there: {missing}.") from None
    except UnicodeDecodeError:
        raise StartupError(f"The {what} file {path} is not base64 text.") from None
    except OSError as problem:
        raise StartupError(f"The {what} file {path} can't be read: {problem.strerror}.") from problem
    found = [parse(line, str(path), what) for line in (line.partition("#")[0].strip() for line in lines) if line]
    if not found:
        raise StartupError(f"The {what} file {path} is empty; put it back from your copy.")
    return found


def parse(text: str, where: str, what: str) -> bytes:
    """Return the secret of a text.

    Raises:
        StartupError: naming where it stands, and nothing of it.
    """
    try:
        secret = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise StartupError(f"The {what} in {where} is not 32 bytes in base64; was it copied whole?")
    return secret


def _check_private(path: Path, what: str) -> None:
    if os.name == "nt":  # there the folder's permissions decide
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise StartupError(f"The {what} file {path} can be read by others (mode {mode:o}): run `chmod 600` on it.")
