"""What kind of place this program runs in, as far as a login must know."""

import os
import sys
from pathlib import Path

#: Variables that say: this is a shell on a machine that somebody sits far away from.
_REMOTE = ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT", "CODESPACES", "KUBERNETES_SERVICE_HOST", "REMOTE_CONTAINERS")


def unattended() -> bool:
    """Return whether this is CI, where nobody would come to log in."""
    return os.environ.get("CI", "").strip().lower() not in {"", "0", "false", "no"}


def interactive() -> bool:
    """Return whether a person is there: a terminal to read from and to write to, and not in CI."""
    if unattended():
        return False
    return all(stream is not None and not stream.closed and stream.isatty() for stream in (sys.stdin, sys.stderr))


def far_away() -> bool:
    """Return whether a person's browser may not reach this machine as `localhost`: SSH, container, WSL."""
    if any(os.environ.get(name) for name in _REMOTE):
        return True
    if any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")):
        return True
    try:
        return "microsoft" in Path("/proc/version").read_text("ascii", "replace").lower()
    except OSError:
        return False


def has_display() -> bool:
    """Return whether a window can be shown here (X11 or Wayland)."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
