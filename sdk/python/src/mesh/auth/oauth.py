"""The words of OAuth on the wire (RFC 6749): requests to an issuer, and what its answers say; pure."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from mesh._config import LOOPBACK
from mesh._plan import Told
from mesh._secret import Secret
from mesh._transport import Reply, TransportFailure, WireRequest
from mesh.errors import MeshError, local_error

#: Seconds for one request of a login.
REQUEST_S = 10.0

_decoder = msgspec.json.Decoder(dict[str, Any])


def form(url: str, members: Mapping[str, str | None]) -> WireRequest:
    """Return a form post to an endpoint of the issuer."""
    content = urlencode({name: value for name, value in members.items() if value is not None})
    headers = (("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"))
    return WireRequest("POST", url, headers, content.encode(), REQUEST_S, streamed=False)


def get(url: str) -> WireRequest:
    """Return a request for a JSON document, without any credential."""
    return WireRequest("GET", url, (("accept", "application/json"),), None, REQUEST_S, streamed=False)


def client_members(client_id: str, secret: Secret | None) -> dict[str, str | None]:
    """Return what tells an issuer which client asks (`client_secret_post` where there is a secret)."""
    return {"client_id": client_id, "client_secret": secret.reveal() if secret else None}


def error_of(reply: Reply) -> str | None:
    """Return the `error` of an OAuth answer, whatever its status; None where there is none."""
    error = body(reply).get("error")
    return error if isinstance(error, str) else None


def body(reply: Reply) -> dict[str, Any]:
    """Return a JSON object; an empty one where the reply is none."""
    try:
        return _decoder.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def printable(text: object, limit: int = 200) -> str:
    """Return text from elsewhere so that it can't command a terminal."""
    return "".join(c if c.isprintable() else " " for c in str(text))[:limit].strip()


def refusal(reply: Reply, doing: str, issuer: str) -> MeshError:
    """Return the error of an issuer that said no, with its own reason."""
    told = body(reply)
    error = error_of(reply) or f"status {reply.status}"
    reason = told.get("error_description")
    words = f": {printable(reason)}" if isinstance(reason, str) and reason else ""
    message = f"{issuer} refused {doing} ({printable(error, 60)}){words}."
    return local_error("issuer_refused", message, {"error": printable(error, 60), "issuer": issuer})


def replied(told: Told, where: str) -> Reply:
    """Return the reply; raises where none came."""
    if isinstance(told, Reply):
        return told
    raise no_reply(told, where)


def no_reply(failure: TransportFailure, where: str) -> MeshError:
    """Return the error of a request to which no reply came."""
    if failure.kind == "closed":
        return local_error("client_closed", "This client was closed.")
    if failure.kind == "forked":
        return local_error("process_forked", "This process was forked from one that had used Mesh already.")
    return local_error("login_unavailable", f"{where} can't be reached.", {"reason": failure.kind})


def acceptable(url: str) -> bool:
    """Return whether secrets may go there: https, or http on this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK))
