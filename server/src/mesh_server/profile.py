"""The SDK's profile file: how a server on this machine hands itself over to the client.

The two sides share no code for this on purpose: the file is the interface.
"""

import os
import secrets
from pathlib import Path

import platformdirs
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from mesh_server.errors import StartupError

FILE = "config.toml"


def folder() -> Path:
    """Return the folder of the SDK's configuration."""
    named = os.environ.get("MESH_CONFIG_DIR")
    return Path(named) if named else Path(platformdirs.user_config_dir("mesh", appauthor=False))


def read_token(name: str) -> str | None:
    """Return the token of a profile, or None where there is none."""
    try:
        return _token_file(name).read_text("utf-8").strip() or None
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    except OSError as problem:
        raise StartupError(f"Can't read {_token_file(name)}: {problem.strerror}.") from problem


def write_token(name: str, token: str) -> None:
    """Store the token of a profile where only this user can read it."""
    write_private(_token_file(name), f"{token}\n")


def write(name: str, values: dict[str, str]) -> Path:
    """Write one profile, make it the default where there is none, and leave all else as it is.

    Args:
        name: the profile.
        values: its entries; entries that it has and this does not name are kept.

    Returns:
        The file.

    Raises:
        StartupError: if the file is there and is not TOML, or can't be written.
    """
    path = folder() / FILE
    try:
        document = tomlkit.parse(path.read_text("utf-8"))
    except FileNotFoundError:
        document = tomlkit.document()
    except (TOMLKitError, UnicodeDecodeError) as problem:
        raise StartupError(f"{path} is not valid TOML; mend or delete it, then start again.") from problem
    except OSError as problem:
        raise StartupError(f"Can't read {path}: {problem.strerror}.") from problem
    if "default" not in document:
        document["default"] = name
    profiles = document.setdefault("profiles", tomlkit.table(is_super_table=True))
    profile = profiles.setdefault(name, tomlkit.table()) if isinstance(profiles, Table) else None
    if not isinstance(profile, Table):
        raise StartupError(f"In {path}, `profiles.{name}` is not a table; mend or delete it, then start again.")
    profile.update({**values, "token_file": _token_file(name).name})
    write_private(path, tomlkit.dumps(document))
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all.

    Raises:
        StartupError: if the folder can't be made or written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise StartupError(f"Can't write {path}: {problem.strerror}. Is the folder writable?") from problem


def _token_file(name: str) -> Path:
    return folder() / f"{name}.token"
