"""Where a setting's value comes from, and what every address has to be."""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from mesh_server.errors import StartupError

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Sources:
    """Looks a setting up: flag, then environment, then file."""

    def __init__(self, flags: Mapping[str, object], environment: Mapping[str, str], file: object) -> None:
        self._flags = flags
        self._environment = environment
        self._file = file

    def text(self, name: str, default: str | None = None) -> str | None:
        """Return a setting's text."""
        for found in (self._flags.get(name), self._environment.get(f"MESH_{name.upper()}")):
            if found not in {None, ""}:  # 0 is a port
                return str(found)
        found = getattr(self._file, name, None)
        return str(found) if found is not None else default

    def number(self, name: str, default: int, *, most: int) -> int:
        """Return a setting that is a whole number."""
        text = self.text(name, str(default)) or ""
        if not text.isdigit() or int(text) > most:
            raise StartupError(f"MESH_{name.upper()} must be a whole number up to {most}, not {text!r}.")
        return int(text)

    def words(self, name: str) -> tuple[str, ...]:
        """Return a list: comma-separated in the environment, an array in the file."""
        text = self._environment.get(f"MESH_{name.upper()}")
        if text is not None:
            return tuple(word.strip() for word in text.split(",") if word.strip())
        return tuple(getattr(self._file, name) or ())

    def secret(self, name: str, *, file: str | None = None) -> str | None:
        """Return a secret from NAME, or from the file that NAME_FILE or `file` names."""
        value = self._environment.get(name)
        path = self._environment.get(f"{name}_FILE") or file
        if value and path and self._environment.get(f"{name}_FILE"):
            raise StartupError(f"{name} and {name}_FILE are both set; keep one of them.")
        if value or path is None:
            return value or None
        return read_secret_file(Path(path), name)


def read_secret_file(path: Path, name: str) -> str:
    """Return the content of a secret's file without the newline at its end.

    Raises:
        StartupError: naming the setting and the file, never what is in it.
    """
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as problem:
        raise StartupError(f"{name}: can't read the file {path}: {reason(problem)}.") from problem


def reason(problem: Exception) -> str:
    """Return why a file can't be read."""
    return (problem.strerror if isinstance(problem, OSError) else None) or "it is not UTF-8 text"


def check_url(url: str, setting: str) -> None:
    """Refuse what is not an http(s) address, or carries a credential.

    Raises:
        StartupError: naming the setting.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise StartupError(f"{setting} must be an http:// or https:// address.")
    if parts.username or parts.password:
        raise StartupError(f"{setting} must not carry a user name or password: give the key as a key.")


def host_of(url: str) -> str:
    """Return the lower-case host of a URL as a Host header has it: IPv6 in brackets, no port."""
    host = (urlsplit(url).hostname or "").lower()
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
