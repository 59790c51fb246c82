"""Writes a profile into a person's config.toml, and leaves the rest of that file as it is."""

import contextlib
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mesh._config import origin
from mesh.auth.filelock import FileLock
from mesh.auth.store import write_private
from mesh.errors import local_error

#: Seconds to wait for another login that writes the file.
_LOCK_S = 3.0


def remember(folder: Path, server_url: str) -> str:
    """Make sure that a profile names this server, the default one where there is no default, and return its name.

    Raises:
        ConfigurationError: if the file is not TOML, or can't be written.
    """
    import tomlkit  # noqa: PLC0415 - only after a login
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415 - as above

    path = folder / "config.toml"
    lock = FileLock(folder / "config.lock")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = time.monotonic() + _LOCK_S
        while not lock.try_acquire():
            time.sleep(0.02)
            if time.monotonic() > deadline:
                raise local_error("profile_invalid", f"Another process is writing {path}.")
        text = ""
        with contextlib.suppress(FileNotFoundError):
            text = path.read_text("utf-8")
        document: Any = tomlkit.parse(text)
        name = _put(document, server_url, path)
        written = tomlkit.dumps(document)
        if written != text:
            write_private(_real(path), written.encode())
    except (TOMLKitError, UnicodeDecodeError):
        raise local_error("profile_invalid", f"{path} is not valid TOML.") from None
    except OSError as problem:
        raise local_error("profile_invalid", f"{path} can't be written ({problem.strerror}).") from None
    finally:
        lock.release()
    return name


def server_id(server_url: str) -> str:
    """Return what a server is called in proofs where nothing else is said: `mesh:` and its host."""
    return f"mesh:{(urlsplit(server_url).hostname or '').lower()}"


def _put(document: Any, server_url: str, path: Path) -> str:
    import tomlkit  # noqa: PLC0415 - as above

    profiles = document.get("profiles")
    if profiles is None:
        profiles = document["profiles"] = tomlkit.table(is_super_table=True)
    if not isinstance(profiles, dict) or not all(isinstance(table, dict) for table in profiles.values()):
        raise local_error("profile_invalid", f"In {path}, `profiles` does not hold tables.")
    name = _named(profiles, server_url)
    if name is None:
        name = _free_name(profiles, server_url)
        profiles[name] = tomlkit.table()
        profiles[name]["server_url"] = server_url
    profiles[name].setdefault("server_id", server_id(server_url))
    if "default" not in document:
        document["default"] = name  # before the first table, as TOML needs it
    return name


def _named(profiles: Any, server_url: str) -> str | None:
    for name, table in profiles.items():
        url = table.get("server_url")
        if isinstance(url, str) and origin(url) == origin(server_url):
            return str(name)
    return None


def _free_name(profiles: Any, server_url: str) -> str:
    parts = urlsplit(server_url)
    name = (parts.hostname or "server").replace(":", "-") + (f"-{parts.port}" if parts.port else "")
    while name in profiles:
        name += "-2"
    return name


def _real(path: Path) -> Path:
    """Return the file that a link leads to: people keep their settings elsewhere and link to them."""
    return Path(os.path.realpath(path))
