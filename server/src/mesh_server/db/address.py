"""The database's URL: which kind it names, and what of it may be shown."""

from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from mesh_server.errors import StartupError

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")
#: Our own parameter in the URL of PostgreSQL, for poolers that lend a connection for one transaction only.
_PREPARED = "prepared_statements"


def is_postgres(url: str) -> bool:
    """Return whether the URL names PostgreSQL."""
    return url.startswith(_POSTGRES)


def is_sqlite(url: str) -> bool:
    """Return whether the URL names a file of SQLite."""
    return url.startswith(_SQLITE)


def sqlite_path(url: str) -> Path:
    """Return the file that the URL names.

    Raises:
        StartupError: if its path is not absolute.
    """
    path = Path(url.removeprefix(_SQLITE))
    if not path.is_absolute():
        raise StartupError("MESH_DATABASE_URL must name an absolute path: sqlite:////var/lib/mesh/mesh.db.")
    return path


def driver_url(url: str) -> tuple[str, bool]:
    """Return the URL as the driver takes it, and whether statements may stay prepared between transactions.

    Raises:
        StartupError: if it can't be a URL of PostgreSQL; nothing of it is shown.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where a password was not percent-encoded
        parameters = parse_qsl(parts.query, strict_parsing=True) if parts.query else []
    except ValueError:
        raise _unreadable() from None
    if parts.netloc.count("@") > 1 or parts.fragment:
        raise _unreadable()
    chosen = dict(parameters).get(_PREPARED, "on")
    if chosen not in {"on", "off"}:
        raise StartupError(f"MESH_DATABASE_URL: {_PREPARED} must be on or off.")
    rest = urlencode([pair for pair in parameters if pair[0] != _PREPARED])
    return url.partition("?")[0] + (f"?{rest}" if rest else ""), chosen == "on"


def shown(url: str) -> str:
    """Return the address without user, password and parameters, for messages."""
    if is_sqlite(url):
        return url.removeprefix(_SQLITE)
    try:
        parts = urlsplit(url)
        parameters = dict(parse_qsl(parts.query))
    except ValueError:
        return "postgresql://…"
    host = parts.netloc.rpartition("@")[2] or parameters.get("host", "")
    return f"{unquote(parts.path.lstrip('/')) or 'the default database'} on {host or 'the default host'}"


def _unreadable() -> StartupError:
    return StartupError(
        "MESH_DATABASE_URL is not a URL that can be read: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with "
        "the characters @ : / ? # of a password percent-encoded."
    )
