"""Files of secrets: made once, readable by this user alone, never overwritten."""

import os
import stat
from pathlib import Path

from mesh_server.errors import StartupError


def create(path: Path, text: str, what: str) -> None:
    """Make a file that only this user can read.

    Args:
        path: where.
        text: ASCII.
        what: the secret's name for the messages, such as `master key`.

    Raises:
        StartupError: if the file is there already or can't be written.
    """
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


def check(path: Path, what: str) -> None:
    """Refuse a file that others can read; on Windows the folder's permissions decide.

    Raises:
        StartupError: naming the file and what to do.
        OSError: if it can't be looked at.
    """
    if os.name == "nt":
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise StartupError(f"The {what} {path} can be read by others (mode {mode:o}): run `chmod 600` on it.")
