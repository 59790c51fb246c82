"""Where and how to log in: what the server says of its issuer, what overrides it, and what the issuer says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mesh._plan import Plan, attempt
from mesh._secret import Secret
from mesh.auth.oauth import acceptable, body, get, replied
from mesh.auth.overrides import Overrides, issuer_of
from mesh.errors import local_error

SCOPE = "openid profile email offline_access"

_CONFIG_PATHS = ("/api/v1/auth/config", "/v1/mesh/auth/config", "/auth/config")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An issuer and its endpoints, and what this client is to it."""

    issuer: str
    client_id: str
    client_secret: Secret | None = field(default=None, repr=False)
    audience: str | None = None
    scope: str = SCOPE
    flows: tuple[str, ...] = ("device", "browser")
    token_endpoint: str
    device_endpoint: str | None = None
    authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    names_itself: bool = False  # sends `iss` with each authorization response (RFC 9207)
    is_auth0: bool = False


def discover(server_url: str, given: Overrides) -> Plan[Settings]:
    """Find out where and how to log in to a server.

    Raises:
        MeshError: `login_not_configured` if the server has no issuer, `login_unavailable` if somebody can't be reached,
            `issuer_refused` or `login_not_genuine` if what they say is of no use.
    """
    announced: dict[str, Any] = {}
    if not given.complete:
        announced = yield from _announced(server_url, needed=given.domain is None or given.client_id is None)
    issuer = issuer_of(given.domain) if given.domain else _issuer(announced)
    client_id = given.client_id or announced.get("client_id")
    if not issuer or not isinstance(client_id, str) or not client_id:
        raise local_error("issuer_refused", f"{server_url} names no issuer and client to log in with.")
    metadata = yield from _metadata(issuer, exact=given.domain is None and "issuer" in announced)
    flows = announced.get("flows")
    audience = given.audience or announced.get("audience")
    scope = announced.get("scope")
    return Settings(
        issuer=metadata["issuer"],
        client_id=client_id,
        client_secret=given.client_secret,
        audience=audience if isinstance(audience, str) and audience else None,
        scope=scope if isinstance(scope, str) and scope else SCOPE,
        flows=tuple(map(str, flows)) if isinstance(flows, list) and flows else ("device", "browser"),
        token_endpoint=_endpoint(metadata, "token_endpoint") or _missing(issuer),
        device_endpoint=_endpoint(metadata, "device_authorization_endpoint"),
        authorization_endpoint=_endpoint(metadata, "authorization_endpoint"),
        revocation_endpoint=_endpoint(metadata, "revocation_endpoint"),
        names_itself=metadata.get("authorization_response_iss_parameter_supported") is True,
        is_auth0=(urlsplit(issuer).hostname or "").endswith(".auth0.com") or "mfa_challenge_endpoint" in metadata,
    )


def _announced(server_url: str, *, needed: bool) -> Plan[dict[str, Any]]:
    """Ask the server; old ones know other paths. Where nothing is needed of it, it needn't know anything."""
    tried = []
    for path in _CONFIG_PATHS:
        told = yield from attempt(get(server_url + path))
        reply = replied(told, server_url)
        if reply.status == 200 and (found := body(reply)):
            return found
        error = body(reply).get("error")
        code = error.get("code") if isinstance(error, dict) else None
        tried.append(f"{path}: {reply.status}")
        if code == "login_not_configured" or (reply.status in {404, 405} and code not in {None, "route_not_found"}):
            break
        if reply.status >= 500:
            raise local_error("login_unavailable", f"{server_url} can't say now how to log in (status {reply.status}).")
        if reply.status not in {404, 405}:
            break
    if not needed:
        return {}
    error_ = local_error("login_not_configured", f"{server_url} has no login of its own.", {"tried": tried})
    error_.troubleshooting = ["Use an API token of this server: set MESH_AUTH_TOKEN or pass auth_token=."]
    raise error_


def _issuer(announced: Mapping[str, Any]) -> str | None:
    issuer, domain = announced.get("issuer"), announced.get("domain")
    if isinstance(issuer, str) and issuer:
        return issuer
    return issuer_of(domain) if isinstance(domain, str) and domain else None


def _metadata(issuer: str, *, exact: bool) -> Plan[dict[str, Any]]:
    """Return the issuer's metadata (OpenID Connect Discovery 1.0, section 4; RFC 8414 section 3.3)."""
    if not acceptable(issuer):
        raise local_error("issuer_refused", f"The issuer {issuer} must have an https:// address.")
    told = yield from attempt(get(issuer.rstrip("/") + "/.well-known/openid-configuration"))
    reply = replied(told, issuer)
    metadata = body(reply)
    if reply.status >= 500 or reply.status == 429:
        raise local_error("login_unavailable", f"{issuer} can't serve its settings now (status {reply.status}).")
    if reply.status != 200 or not metadata:
        raise local_error(
            "issuer_refused", f"{issuer} is no OpenID issuer: it has no settings there (status {reply.status})."
        )
    named = metadata.get("issuer")
    if named != issuer and (exact or str(named).rstrip("/") != issuer.rstrip("/")):
        raise local_error(
            "login_not_genuine", f"{issuer} gives the settings of another issuer.", {"issuer": str(named)}
        )
    return metadata


def _endpoint(metadata: Mapping[str, Any], name: str) -> str | None:
    url = metadata.get(name)
    if not isinstance(url, str) or not url:
        return None
    if not acceptable(url):
        raise local_error("issuer_refused", f"The issuer's {name} must have an https:// address.")
    return url


def _missing(issuer: str) -> str:
    raise local_error("issuer_refused", f"{issuer} has no token endpoint.")
