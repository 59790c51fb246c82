"""Who may log people in: `AUTH0_*`, `MESH_OIDC_*` and `[[issuers]]`."""

import re
from collections.abc import Iterable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.accounts.oidc.models import LEEWAY_S, Flow, Issuer
from mesh_server.addresses import check_url, is_loopback
from mesh_server.errors import StartupError

#: The tenant of an issuer that names none.
DEFAULT_TENANT = "default"
_MOST_LEEWAY_S = 300.0
#: Longest address of an issuer; with a slash more it still fits its column.
_MOST_URL = 500


class IssuerTable(Quiet, msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One `[[issuers]]` table of the file."""

    client_id: str
    audience: str
    issuer: str | None = None
    domain: str | None = None
    client_secret: str | None = None
    client_secret_file: str | None = None
    tenant: str = DEFAULT_TENANT
    flows: tuple[Flow, ...] = ("device", "browser")
    admins: list[str] = []


class Secret(Protocol):
    """Looks a secret up by its name, in the environment or in a file."""

    def __call__(self, name: str, *, file: str | None = None) -> str | None:
        """Return it, or None where there is none."""


def read_issuers(tables: Iterable[IssuerTable], environment: Mapping[str, str], secret: Secret) -> tuple[Issuer, ...]:
    """Return every issuer, those of the environment first.

    Args:
        tables: the `[[issuers]]` of the configuration.
        environment: of the process.
        secret: where secrets come from.

    Raises:
        StartupError: one sentence that names the setting.
    """
    found = [
        *_from_environment(environment, secret, "AUTH0", "DOMAIN"),
        *_from_environment(environment, secret, "MESH_OIDC", "ISSUER"),
        *(_from_table(table, secret) for table in tables),
    ]
    if len({issuer.name for issuer in found}) != len(found):
        raise StartupError("The same issuer is configured twice; keep one of them.")
    return tuple(found)


def read_leeway(environment: Mapping[str, str]) -> float:
    """Return how many seconds an issuer's clock may differ from ours."""
    text = environment.get("MESH_OIDC_LEEWAY") or str(LEEWAY_S)
    if not re.fullmatch(r"\d{1,3}(\.\d{1,3})?", text) or float(text) > _MOST_LEEWAY_S:
        raise StartupError(f"MESH_OIDC_LEEWAY must be seconds, 0 to {_MOST_LEEWAY_S:.0f}, not {text!r}.")
    return float(text)


def _from_environment(environment: Mapping[str, str], secret: Secret, prefix: str, where: str) -> list[Issuer]:
    names = {part: f"{prefix}_{part}" for part in (where, "CLIENT_ID", "AUDIENCE")}
    values = {part: environment.get(name, "").strip() for part, name in names.items()}
    missing = [names[part] for part, value in values.items() if not value]
    if len(missing) == len(names):
        return []
    if missing:
        there = next(names[part] for part, value in values.items() if value)
        raise StartupError(f"{there} is set, but {' and '.join(missing)} is not: a login needs all of {_all(names)}.")
    return [
        _issuer(
            _url(values[where], names[where]),
            names[where],
            client_id=values["CLIENT_ID"],
            client_secret=secret(f"{prefix}_CLIENT_SECRET"),
            audience=values["AUDIENCE"],
            is_auth0=prefix == "AUTH0",
        )
    ]


def _all(names: Mapping[str, str]) -> str:
    return ", ".join(names.values())


def _from_table(table: IssuerTable, secret: Secret) -> Issuer:
    if (table.issuer is None) == (table.domain is None):
        raise StartupError("Each of [[issuers]] needs either `issuer` or `domain`.")
    setting = "issuer of [[issuers]]" if table.issuer else "domain of [[issuers]]"
    if table.client_secret and table.client_secret_file:
        raise StartupError("One of [[issuers]] has client_secret and client_secret_file; keep one of them.")
    from_file = secret("client_secret of [[issuers]]", file=table.client_secret_file)
    if not table.flows or len(set(table.flows)) != len(table.flows):
        raise StartupError('flows of [[issuers]] must name "device", "browser", or both.')
    return _issuer(
        _url(table.issuer or table.domain or "", setting),
        setting,
        client_id=table.client_id,
        client_secret=from_file or table.client_secret or None,
        audience=table.audience,
        tenant=table.tenant,
        flows=table.flows,
        admins=frozenset(table.admins),
        is_auth0=table.domain is not None,
    )


def _url(text: str, setting: str) -> str:
    """Return an issuer's URL: as given, or from a bare domain as Auth0 writes its own (with a slash at the end)."""
    url = text if "://" in text else f"https://{text.rstrip('/')}/"
    check_url(url, setting)
    parts = urlsplit(url)
    if len(url) > _MOST_URL:
        raise StartupError(f"{setting} is longer than {_MOST_URL} characters.")
    if parts.query or parts.fragment:
        raise StartupError(f"{setting} must be an address without `?` and `#`.")
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise StartupError(f"{setting} must be https://: http:// is for an issuer on this machine only.")
    return url


def _issuer(
    url: str,
    setting: str,
    *,
    client_id: str,
    client_secret: str | None,
    audience: str,
    tenant: str = DEFAULT_TENANT,
    flows: tuple[Flow, ...] = ("device", "browser"),
    admins: frozenset[str] = frozenset(),
    is_auth0: bool = False,
) -> Issuer:
    for name, value in (("client id", client_id), ("audience", audience)):
        if not value.strip() or not value.isprintable():
            raise StartupError(f"The {name} that belongs to {setting} is empty or not printable.")
    # A tenant's name has a letter: what belongs to the server itself is kept under a name that has none.
    if not re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", tenant):
        raise StartupError(f"The tenant {tenant!r} may have letters, digits, `-`, `_` and `.`, and needs a letter.")
    return Issuer(
        url=url,
        client_id=client_id.strip(),
        client_secret=client_secret,
        audience=audience.strip(),
        tenant=tenant,
        flows=flows,
        admins=admins,
        is_auth0=is_auth0,
    )
