"""A lock between processes that ends with its holder, however that one ends."""

import os
import sys
import threading
import weakref
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _give(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _take(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _give(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)


class FileLock:
    """Holds a file locked against other holders, in this process and in others. The file stays where it is.

    `flock` rather than record locks: those are lost when any other handle on the file is closed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        self._lock = threading.Lock()
        _all.add(self)

    def try_acquire(self) -> bool:
        """Take the lock if it is free, at once.

        Raises:
            OSError: if the file can't be made.
        """
        with self._lock:
            if self._handle is not None:
                return False
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                taken = _take(handle)
            except BaseException:  # Ctrl-C, too: the descriptor would stay open
                os.close(handle)
                raise
            if taken:
                self._handle = handle
            else:
                os.close(handle)
            return taken

    def release(self) -> None:
        """Give it back."""
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            try:
                _give(handle)
            finally:
                os.close(handle)

    def forget(self) -> None:
        """In a forked child: close the copy of the parent's handle, whose lock would outlive the parent in it."""
        self._lock = threading.Lock()
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


_all: "weakref.WeakSet[FileLock]" = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_all):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
