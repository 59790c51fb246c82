"""Writes a profile into a person's config.toml, and leaves the rest of that file as it is."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mesh._config import origin
from mesh.auth.filelock import FileLock
from mesh.auth.store import write_private
from mesh.errors import local_error

T = TypeVar("T")

#: Seconds to wait for another login that writes the file.
_LOCK_S = 3.0


def remember(folder: Path, server_url: str) -> str:
    """Make sure that a profile names this server, the default one where there is no default, and return its name.

    Raises:
        ConfigurationError: if the file is not TOML, or can't be written.
    """
    return edit(folder, lambda document, path: _put(document, server_url, path))


def edit(folder: Path, change: Callable[[Any, Path], T]) -> T:
    """Change the file, while no other process does, and return what the change returns.

    Args:
        folder: where the file is.
        change: is given the document, as tomlkit has it, and the file's path for its messages.

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
        result = change(document, path)
        written = tomlkit.dumps(document)
        if written != text:
            write_private(_real(path), written.encode())
    except (TOMLKitError, UnicodeDecodeError):
        raise local_error("profile_invalid", f"{path} is not valid TOML.") from None
    except OSError as problem:
        raise local_error("profile_invalid", f"{path} can't be written ({problem.strerror}).") from None
    finally:
        lock.release()
    return result


def change_entry(folder: Path, profile: str | None, entry: str, value: str | None) -> tuple[str, list[str]]:
    """Set or remove one entry of a profile, the default one where none is named.

    A token and a server's identity belong to the server that they were written for: where a profile goes to another
    one, they are taken out of it.

    Returns:
        The profile's name, and the entries that were taken out beside.

    Raises:
        ConfigurationError: if there is no such profile, or the file is not in order.
    """

    def change(document: Any, path: Path) -> tuple[str, list[str]]:
        name = profile or document.get("default")
        profiles = document.get("profiles")
        table = profiles.get(name) if isinstance(profiles, dict) else None
        if not isinstance(table, dict):
            raise local_error("profile_invalid", f"{path} has no profile{'' if name is None else f' {name!r}'}.")
        old = table.get("server_url")
        if value is None:
            table.pop(entry, None)
        else:
            table[entry] = value
        moved = entry == "server_url" and (value is None or not isinstance(old, str) or origin(old) != origin(value))
        gone = [bound for bound in ("token_file", "server_id") if moved and bound in table]
        for bound in gone:
            del table[bound]
        return str(name), gone

    return edit(folder, change)


def make_default(folder: Path, profile: str) -> None:
    """Make a profile the one that is used where none is named.

    Raises:
        ConfigurationError: if there is no such profile, or the file is not in order.
    """

    def change(document: Any, path: Path) -> None:
        profiles = document.get("profiles")
        if not isinstance(profiles, dict) or profile not in profiles:
            raise local_error("profile_invalid", f"{path} has no profile {profile!r}.")
        document["default"] = profile

    edit(folder, change)


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
