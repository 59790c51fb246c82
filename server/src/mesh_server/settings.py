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
from mesh_server.accounts.settings import IssuerTable, read_issuers, read_leeway
from mesh_server.addresses import check_url, host_of, is_loopback
from mesh_server.chat.models import ChatSettings, LocalSettings, Provider
from mesh_server.chat.settings import ProviderTable, RouteTable, read_fallbacks, read_providers
from mesh_server.db.engine import CONNECTIONS
from mesh_server.errors import StartupError
from mesh_server.proofs.models import Rates
from mesh_server.proofs.settings import rates
from mesh_server.telemetry import LEVELS, LogFormat
from mesh_server.vault.answers import HOUR_US, KEPT_US
from mesh_server.vault.master import MasterKeySource
from mesh_server.vault.models import DAY_US, MOST_VERSIONS, RESTORE_WINDOW_US, VERSIONS_KEPT, Limits

CONFIG_FILE = "mesh-server.toml"
DEFAULT_PORT = 8750
MOST_WORKERS = 256
#: Days for which the usage of a call is kept: a year and a month to compare it with.
USAGE_DAYS = 400
DEFAULT_LOCAL_MODEL = "qwen2.5-coder-0.5b-instruct"
#: In the model folder: which model is in use, as `mesh-server model use` left it.
IN_USE_FILE = "in-use"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class LocalTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The `[local]` table: the model on this machine, or another server in its place."""

    model: str | None = None
    base_url: str | None = None
    threads: int | None = None
    context: int | None = None
    model_dir: str | None = None


class ConfigFile(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`mesh-server.toml`."""

    host: str | None = None
    port: int | None = None
    public_url: str | None = None
    database_url: str | None = None
    database_url_file: str | None = None
    database_connections: int | None = None
    workers: int | None = None
    data_dir: str | None = None
    master_key_file: str | None = None
    zkp_root_file: str | None = None
    zkp_record_limit: str | None = None
    zkp_user_limit: str | None = None
    zkp_address_limit: str | None = None
    legacy_zkp: bool | None = None
    master_key_command: str | None = None
    audit_head_file: str | None = None
    usage_days: int | None = None
    audit_days: int | None = None
    answers_hours: int | None = None
    versions_kept: int | None = None
    restore_days: int | None = None
    server_id: str | None = None
    trusted_proxies: list[str] | None = None
    allowed_hosts: list[str] | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    log_level: str | None = None
    log_format: str | None = None
    local: LocalTable = msgspec.field(default_factory=LocalTable)
    strict_models: bool | None = None
    prices_file: str | None = None
    providers: list[ProviderTable] = []
    routes: list[RouteTable] = []
    issuers: list[IssuerTable] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the server was told. `repr` shows no secret.

    Attributes:
        database_url: `sqlite:///` and an absolute path, or `postgresql://…`, which may hold a password.
        database_connections: to PostgreSQL, for each worker at the most.
        workers: processes that serve.
        zkp_root: as given in the environment; None where `zkp_root_file` holds it.
        legacy_zkp: whether the published clients' old scheme of proofs is answered.
        master: where the master key comes from.
        usage_kept_us: microseconds for which the usage of a call is kept; None for ever.
        audit_kept_us: microseconds for which an event of the audit trail is kept; None for ever.
        audit_head_files: where the newest audit checkpoint is kept, the best place first.
        chat: providers, routes and models of chat.
        tls: certificate and key files, None for plain HTTP.
        issuers: who may log people in; the first is the one that clients are told.
        oidc_leeway_s: seconds by which an issuer's clock may differ from ours.
    """

    host: str
    port: int
    public_url: str
    database_url: str = field(repr=False)
    database_connections: int
    workers: int
    data_dir: Path
    master: MasterKeySource
    audit_head_files: tuple[Path, ...]
    vault: Limits
    usage_kept_us: int | None
    audit_kept_us: int | None
    zkp_root: str | None = field(repr=False)
    zkp_root_file: Path
    zkp_rates: Rates
    legacy_zkp: bool
    server_id: str
    trusted_proxies: tuple[str, ...]
    allowed_hosts: frozenset[str]
    tls: tuple[Path, Path] | None
    log_level: str
    log_format: LogFormat
    chat: ChatSettings
    issuers: tuple[Issuer, ...]
    oidc_leeway_s: float
    config_file: Path | None

    @property
    def master_key_file(self) -> Path:
        """The keyring file; used where the master key comes from nowhere else."""
        return self.master.file

    @property
    def loopback_only(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


class _Sources:
    """Looks a setting up: flag, then environment, then file."""

    def __init__(self, flags: Mapping[str, object], environment: Mapping[str, str], file: ConfigFile) -> None:
        self._flags = flags
        self._environment = environment
        self._file = file

    def text(self, name: str, default: str | None = None) -> str | None:
        for found in (self._flags.get(name), self._environment.get(f"MESH_{name.upper()}")):
            if found not in {None, ""}:  # 0 is a port
                return str(found)
        found = getattr(self._file, name, None)
        return str(found) if found is not None else default

    def number(self, name: str, default: int, *, least: int = 0, most: int) -> int:
        text = self.text(name, str(default)) or ""
        if not text.isdigit() or not least <= int(text) <= most:
            raise StartupError(f"MESH_{name.upper()} must be a whole number from {least} to {most}, not {text!r}.")
        return int(text)

    def switch(self, name: str) -> bool:
        text = (self.text(name, "false") or "").lower()
        if text not in {"true", "false", "1", "0", "yes", "no"}:
            raise StartupError(f"MESH_{name.upper()} must be true or false, not {text!r}.")
        return text in {"true", "1", "yes"}

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
        raise StartupError(f"{name}: can't read the file {path}: {_reason(problem)}.") from problem


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
    sources = _Sources(flags, environment, file)

    data_dir = Path(sources.text("data_dir") or platformdirs.user_data_dir("mesh", appauthor=False)).absolute()
    host = sources.text("host", "127.0.0.1") or ""
    port = sources.number("port", DEFAULT_PORT, most=65535)
    public_url = _public_url(sources, host, port)
    public_host = host_of(public_url)
    return Settings(
        host=host,
        port=port,
        public_url=public_url,
        database_url=_database_url(sources, file, data_dir),
        database_connections=sources.number("database_connections", CONNECTIONS, least=2, most=1000),
        workers=sources.number("workers", 1, least=1, most=MOST_WORKERS),
        data_dir=data_dir,
        master=MasterKeySource.choose(
            data_dir / "master.key",
            file=sources.text("master_key_file"),
            text=environment.get("MESH_MASTER_KEY"),
            passphrase=sources.secret("MESH_MASTER_KEY_PASSPHRASE"),
            command=sources.text("master_key_command"),
        ),
        audit_head_files=_head_files(sources, data_dir),
        vault=Limits(
            versions_kept=sources.number("versions_kept", VERSIONS_KEPT, least=1, most=MOST_VERSIONS),
            restore_window_us=sources.number("restore_days", RESTORE_WINDOW_US // DAY_US, most=3_650) * DAY_US,
        ),
        usage_kept_us=sources.number("usage_days", USAGE_DAYS, most=36_500) * DAY_US or None,
        audit_kept_us=sources.number("audit_days", 0, most=36_500) * DAY_US or None,
        zkp_root=environment.get("MESH_ZKP_ROOT") or None,
        zkp_root_file=Path(sources.text("zkp_root_file") or data_dir / "zkp.root"),
        zkp_rates=rates(sources.text),
        legacy_zkp=sources.switch("legacy_zkp"),
        server_id=sources.text("server_id") or f"mesh:{public_host.strip('[]')}",
        trusted_proxies=sources.words("trusted_proxies"),
        allowed_hosts=frozenset({*LOOPBACK_NAMES, public_host, *(h.lower() for h in sources.words("allowed_hosts"))}),
        tls=_tls(sources),
        log_level=_one_of(sources, "log_level", tuple(LEVELS), "info"),
        log_format=_log_format(sources),
        chat=_chat(sources, environment, file, data_dir),
        issuers=read_issuers(file.issuers, environment, sources.secret),
        oidc_leeway_s=read_leeway(environment),
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
        raise StartupError(f"Can't read the configuration {path}: {_reason(problem)}.") from problem
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise StartupError(f"The configuration {path} is not right: {problem}.") from problem


def _reason(problem: Exception) -> str:
    return (problem.strerror if isinstance(problem, OSError) else None) or "it is not UTF-8 text"


def _public_url(sources: _Sources, host: str, port: int) -> str:
    scheme = "https" if sources.text("tls_cert_file") else "http"
    shown = f"[{host}]" if ":" in host else host
    url = (sources.text("public_url") or f"{scheme}://{shown}:{port}").rstrip("/")
    check_url(url, "MESH_PUBLIC_URL")
    return url


def _head_files(sources: _Sources, data_dir: Path) -> tuple[Path, ...]:
    """Return where the newest audit checkpoint is kept: beside the data folder, so that it survives its roll-back."""
    named = sources.text("audit_head_file")
    if named:
        return (Path(named).absolute(),)
    return data_dir.with_name(f"{data_dir.name}.audit-head"), data_dir / "audit-head"


def _tls(sources: _Sources) -> tuple[Path, Path] | None:
    certificate, key = sources.text("tls_cert_file"), sources.text("tls_key_file")
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise StartupError("TLS needs both MESH_TLS_CERT_FILE and MESH_TLS_KEY_FILE.")
    return Path(certificate), Path(key)


def _database_url(sources: _Sources, file: ConfigFile, data_dir: Path) -> str:
    url = sources.secret("MESH_DATABASE_URL", file=None if file.database_url else file.database_url_file)
    return url or file.database_url or f"sqlite:///{data_dir / 'mesh.db'}"


def _one_of(sources: _Sources, name: str, choices: tuple[str, ...], default: str) -> str:
    value = (sources.text(name, default) or "").lower()
    if value not in choices:
        raise StartupError(f"MESH_{name.upper()} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def _log_format(sources: _Sources) -> LogFormat:
    chosen: Literal["console", "json"] = "console"
    if _one_of(sources, "log_format", get_args(LogFormat), chosen) == "json":
        chosen = "json"
    return chosen


def _chat(sources: _Sources, environment: Mapping[str, str], file: ConfigFile, data_dir: Path) -> ChatSettings:
    local = _local(sources, environment, file.local, data_dir)
    stand_in = (local,) if isinstance(local, Provider) else ()
    providers = (*read_providers(file.providers, environment, sources.secret), *stand_in)
    prices = sources.text("prices_file")
    return ChatSettings(
        providers=providers,
        local=local if isinstance(local, LocalSettings) else None,
        fallbacks=read_fallbacks(file.routes, {provider.name for provider in providers} | {"local"}),
        strict_models=sources.switch("strict_models"),
        prices_file=Path(prices).absolute() if prices else None,
        answers_kept_us=sources.number("answers_hours", KEPT_US // HOUR_US, least=1, most=8_760) * HOUR_US,
    )


def _local(
    sources: _Sources, environment: Mapping[str, str], table: LocalTable, data_dir: Path
) -> LocalSettings | Provider:
    model = environment.get("MESH_LOCAL_MODEL") or table.model
    base_url = environment.get("MESH_LOCAL_BASE_URL") or table.base_url
    if base_url:
        check_url(base_url, "MESH_LOCAL_BASE_URL")
        return Provider(
            name="local",
            kind="openai",
            base_url=base_url.rstrip("/"),
            api_key=None,
            models=(model,) if model else (),
            key_names=(),
        )
    named_dir = sources.text("model_dir") or table.model_dir
    model_dir = Path(named_dir).absolute() if named_dir else data_dir / "models"
    return LocalSettings(
        model_dir=model_dir,
        model=model or _in_use(model_dir) or DEFAULT_LOCAL_MODEL,
        threads=table.threads,
        context=table.context,
        log_file=data_dir / "local-model.log",
    )


def _in_use(model_dir: Path) -> str | None:
    try:
        return (model_dir / IN_USE_FILE).read_text("utf-8").strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as problem:
        raise StartupError(f"Can't read {model_dir / IN_USE_FILE}: {_reason(problem)}.") from problem
