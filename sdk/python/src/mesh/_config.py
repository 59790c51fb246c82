"""Where a client goes and as whom: argument over environment over profile file over default."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mesh._secret import Secret
from mesh.errors import local_error

#: Seconds for a chat, and for everything else, where nothing is said.
CHAT_TIMEOUT_S = 600.0
TIMEOUT_S = 60.0
MAX_RETRIES = 2

#: Where Mesh is hosted: nothing is sent there before a person has agreed.
HOSTED_URL = "https://mesh-abh5.onrender.com"

#: Hosts that are this machine.
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Profile:
    """One `[profiles.NAME]` of the profile file."""

    server_url: str | None = None
    default_provider: str | None = None
    default_model: str | None = None
    token_file: Path | None = None
    server_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """What a client was told. `repr` shows no secret.

    Attributes:
        server_url: without a slash at its end.
        token: the login that was given, by argument or environment; None where it is to be found.
        timeout: seconds for each call; None for the defaults.
        max_retries: further tries of a call that surely was not executed.
        profile: the profile in use; empty where there is none.
        folder: where profiles and logins are.
        agreed: whether a person, or a setting, chose the server; to another one nothing is sent.
        environment: the variables that name default models, and no other.
    """

    server_url: str
    token: Secret | None
    timeout: float | None
    max_retries: int
    profile: Profile
    folder: Path
    agreed: bool
    environment: Mapping[str, str]


def load(
    *,
    server_url: str | None = None,
    auth_token: str | None = None,
    profile: str | None = None,
    timeout: float | None = None,
    max_retries: int | None = None,
    allow_insecure: bool = False,
    environment: Mapping[str, str] | None = None,
    may_ask: bool = False,
) -> Config:
    """Return the configuration.

    Args:
        server_url: as the clients' argument, as all the next ones.
        auth_token: the login.
        profile: a name in the profile file.
        timeout: seconds.
        max_retries: further tries.
        allow_insecure: accept http:// to other machines.
        environment: in place of the process's own.
        may_ask: a person is there who can be asked to agree to the hosted server, where no other is named.

    Raises:
        ConfigurationError: if no server is named, it must not be used, or the profile file can't be read.
    """
    env = os.environ if environment is None else environment
    found = _profile(profile or env.get("MESH_PROFILE") or None, env)
    url = server_url or env.get("MESH_API_URL") or found.server_url
    if not url and not may_ask:
        raise local_error("server_not_configured", "No server is configured.")
    agreed, url = bool(url), (url or HOSTED_URL).rstrip("/")
    check_url(url, allow_insecure=allow_insecure)
    token = (auth_token or env.get("MESH_AUTH_TOKEN") or "").strip()
    return Config(
        server_url=url,
        token=Secret(token) if token else None,
        timeout=timeout if timeout is not None else _number(env, "MESH_TIMEOUT"),
        max_retries=max_retries if max_retries is not None else int(_number(env, "MESH_MAX_RETRIES", MAX_RETRIES)),
        profile=found,
        folder=config_dir(env),
        agreed=agreed,
        environment={name: value for name, value in env.items() if name.startswith("DEFAULT_")},
    )


def _number(env: Mapping[str, str], name: str, default: float | None = None) -> Any:
    text = env.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name} must be a number, not negative.")
    return number


def is_true(env: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    """Return whether a variable switches something on."""
    text = env.get(name, "").strip().lower()
    return text in {"1", "true", "yes", "on"} if text else default


def config_dir(env: Mapping[str, str]) -> Path:
    """Return the folder of the profile file."""
    named = env.get("MESH_CONFIG_DIR")
    if named:
        return Path(named)
    import platformdirs  # noqa: PLC0415 - only where nothing else says

    return Path(platformdirs.user_config_dir("mesh", appauthor=False))


def _profile(name: str | None, env: Mapping[str, str]) -> Profile:
    path = config_dir(env) / "config.toml"
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if name is not None:
            raise local_error("profile_invalid", f"There is no profile {name!r}: {path} is not there.") from None
        return Profile()
    except (OSError, UnicodeDecodeError) as problem:
        raise local_error("profile_invalid", f"{path} can't be read ({type(problem).__name__}).") from None
    import tomllib  # noqa: PLC0415 - only where there is a profile

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise local_error("profile_invalid", f"{path} is not valid TOML.") from None
    named = name or document.get("default")
    if named is None:
        return Profile()
    profiles = document.get("profiles")
    table = profiles.get(named) if isinstance(profiles, dict) else None
    if not isinstance(table, dict):
        raise local_error("profile_invalid", f"{path} has no profile {named!r}.")
    for entry in ("server_url", "server_id", "default_provider", "default_model", "token_file"):
        if not isinstance(table.get(entry, ""), str):
            raise local_error("profile_invalid", f"In {path}, `{entry}` of the profile {named!r} is not text.")
    token_file = table.get("token_file")
    return Profile(
        server_url=table.get("server_url"),
        server_id=table.get("server_id"),
        default_provider=table.get("default_provider"),
        default_model=table.get("default_model"),
        token_file=path.parent / token_file if token_file else None,
        name=named,
    )


def check_url(url: str, *, allow_insecure: bool) -> None:
    """Refuse an address that a login must not be sent to.

    Raises:
        ConfigurationError: if it is none, or not safe.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise local_error("server_not_configured", "The server's address must begin with https:// or http://.")
    if parts.username or parts.password:
        raise local_error("server_not_configured", "The server's address must not carry a user name or password.")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not allow_insecure:
        raise local_error("server_insecure", f"http:// to {parts.hostname} would send your login in clear text.")


def profile_token(profile: Profile, url: str) -> Secret | None:
    """Return the profile's token, but only for the server that it belongs to.

    Raises:
        ConfigurationError: if its file can't be read.
    """
    if profile.token_file is None or profile.server_url is None or origin(profile.server_url) != origin(url):
        return None
    try:
        text = profile.token_file.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise local_error(
            "profile_invalid", f"{profile.token_file} can't be read ({type(problem).__name__})."
        ) from None
    return Secret(text) if text else None


def server_id(config: Config) -> str:
    """Return the identity of the server in proofs: the profile's, if it is the profile's server; else from its host.

    Never from an answer: whoever answers could say anything.
    """
    profile = config.profile
    if profile.server_id and profile.server_url and origin(profile.server_url) == origin(config.server_url):
        return profile.server_id
    return f"mesh:{urlsplit(config.server_url).hostname}"


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port (RFC 6454); a login belongs to one origin and never goes to another."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def origin_text(url: str) -> str:
    """Return the origin as one text, always with its port."""
    scheme, host, port = origin(url)
    return f"{scheme}://{host}:{port}"
