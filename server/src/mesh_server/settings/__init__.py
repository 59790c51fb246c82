"""The server's configuration: flag over environment over `mesh-server.toml` over default.

Every secret can come from a file instead: `NAME_FILE` in the environment, `name_file` in the file.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import msgspec
import platformdirs

from mesh_server.accounts.oidc.models import Issuer
from mesh_server.chat.models import LocalSettings, Provider
from mesh_server.errors import StartupError
from mesh_server.settings.issuers import IssuerTable, load_issuers, load_leeway
from mesh_server.settings.providers import (
    DEFAULT_LOCAL_MODEL,
    IN_USE_FILE,
    LocalTable,
    ProviderTable,
    load_local,
    load_providers,
)
from mesh_server.settings.sources import LOOPBACK_NAMES, Sources, check_url, host_of, is_loopback, reason
from mesh_server.telemetry import LEVELS, LogFormat

__all__ = [
    "CONFIG_FILE",
    "DEFAULT_LOCAL_MODEL",
    "DEFAULT_PORT",
    "IN_USE_FILE",
    "LOOPBACK_NAMES",
    "ConfigFile",
    "Settings",
    "check_url",
    "host_of",
    "is_loopback",
    "load",
]

CONFIG_FILE = "mesh-server.toml"
DEFAULT_PORT = 8750


class ConfigFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`mesh-server.toml`."""

    host: str | None = None
    port: int | None = None
    public_url: str | None = None
    database_url: str | None = None
    data_dir: str | None = None
    master_key_file: str | None = None
    server_id: str | None = None
    trusted_proxies: list[str] | None = None
    allowed_hosts: list[str] | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    log_level: str | None = None
    log_format: str | None = None
    local: LocalTable = msgspec.field(default_factory=LocalTable)
    providers: list[ProviderTable] = []
    issuers: list[IssuerTable] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the server was told. `repr` shows no secret.

    Attributes:
        database_url: `sqlite:///` and an absolute path.
        master_key: as given in the environment; None where `master_key_file` holds it.
        local: the model on this machine; None where `[local] base_url` puts another server in its place.
        tls: certificate and key files, None for plain HTTP.
        issuers: who may log people in; the first is the one that clients are told.
        oidc_leeway_s: seconds by which an issuer's clock may differ from ours.
    """

    host: str
    port: int
    public_url: str
    database_url: str
    data_dir: Path
    master_key: str | None = field(repr=False)
    master_key_file: Path
    server_id: str
    trusted_proxies: tuple[str, ...]
    allowed_hosts: frozenset[str]
    tls: tuple[Path, Path] | None
    log_level: str
    log_format: LogFormat
    local: LocalSettings | None
    providers: tuple[Provider, ...]
    issuers: tuple[Issuer, ...]
    oidc_leeway_s: float
    config_file: Path | None

    @property
    def loopback_only(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


def load(flags: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the configuration.

    Args:
        flags: command-line options by setting name; None and "" count as not given. `config` names the file.
        environment: default `os.environ`.

    Raises:
        StartupError: one sentence that names the setting, where it stands, and what it must be.
    """
    flags = flags or {}
    environment = os.environ if environment is None else environment
    path = _config_path(flags, environment)
    file = _read_file(path) if path else ConfigFile()
    sources = Sources(flags, environment, file)

    data_dir = Path(sources.text("data_dir") or platformdirs.user_data_dir("mesh", appauthor=False)).absolute()
    host = sources.text("host", "127.0.0.1") or ""
    port = sources.number("port", DEFAULT_PORT, most=65535)
    public_url = _public_url(sources, host, port)
    public_host = host_of(public_url)
    local = load_local(sources, environment, file.local, data_dir)
    return Settings(
        host=host,
        port=port,
        public_url=public_url,
        database_url=sources.text("database_url") or f"sqlite:///{data_dir / 'mesh.db'}",
        data_dir=data_dir,
        master_key=environment.get("MESH_MASTER_KEY") or None,
        master_key_file=Path(sources.text("master_key_file") or data_dir / "master.key"),
        server_id=sources.text("server_id") or f"mesh:{public_host.strip('[]')}",
        trusted_proxies=sources.words("trusted_proxies"),
        allowed_hosts=frozenset({*LOOPBACK_NAMES, public_host, *(h.lower() for h in sources.words("allowed_hosts"))}),
        tls=_tls(sources),
        log_level=_one_of(sources, "log_level", tuple(LEVELS), "info"),
        log_format=_log_format(sources),
        local=local if isinstance(local, LocalSettings) else None,
        providers=load_providers(sources, environment, file.providers, local),
        issuers=load_issuers(sources, environment, file.issuers),
        oidc_leeway_s=load_leeway(environment),
        config_file=path,
    )


def _config_path(flags: Mapping[str, object], environment: Mapping[str, str]) -> Path | None:
    named = flags.get("config") or environment.get("MESH_CONFIG")
    if named:
        return Path(str(named)).absolute()
    here = Path(CONFIG_FILE).absolute()
    return here if here.is_file() else None


def _read_file(path: Path) -> ConfigFile:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=ConfigFile)
    except OSError as problem:
        raise StartupError(f"Can't read the configuration {path}: {reason(problem)}.") from problem
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise StartupError(f"The configuration {path} is not right: {problem}.") from problem


def _public_url(sources: Sources, host: str, port: int) -> str:
    scheme = "https" if sources.text("tls_cert_file") else "http"
    shown = f"[{host}]" if ":" in host else host
    url = (sources.text("public_url") or f"{scheme}://{shown}:{port}").rstrip("/")
    check_url(url, "MESH_PUBLIC_URL")
    return url


def _tls(sources: Sources) -> tuple[Path, Path] | None:
    certificate, key = sources.text("tls_cert_file"), sources.text("tls_key_file")
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise StartupError("TLS needs both MESH_TLS_CERT_FILE and MESH_TLS_KEY_FILE.")
    return Path(certificate), Path(key)


def _one_of(sources: Sources, name: str, choices: tuple[str, ...], default: str) -> str:
    value = (sources.text(name, default) or "").lower()
    if value not in choices:
        raise StartupError(f"MESH_{name.upper()} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def _log_format(sources: Sources) -> LogFormat:
    chosen: Literal["console", "json"] = "console"
    if _one_of(sources, "log_format", get_args(LogFormat), chosen) == "json":
        chosen = "json"
    return chosen
