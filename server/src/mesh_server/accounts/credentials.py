"""Credentials as requests carry them."""

from mesh_protocol.wire import API_TOKEN_PREFIX
from mesh_server.errors import TokenInvalid, TokenMissing

_SCHEMES = frozenset({"bearer", "apikey"})


def credential(authorization: bytes | None, x_api_key: bytes | None) -> str:
    """Return the token that a request carries.

    A token always comes through a header: in a URL it would end in logs.

    Raises:
        TokenMissing, TokenInvalid: if there is none, or none that this server reads.
    """
    if authorization is not None:
        scheme, _, rest = authorization.decode("latin-1").partition(" ")
        if scheme.lower() in _SCHEMES:
            token = rest.strip()
            if token:
                return token
        elif authorization.strip():
            raise TokenInvalid("The header `Authorization` must be `Bearer <token>`.")
    if x_api_key is not None and x_api_key.strip():
        return x_api_key.decode("latin-1").strip()
    raise TokenMissing("This request carries no token.")


def shape_problem(token: str) -> str:
    """Return what is wrong with a text that can be no API token; nothing of it."""
    if not token.startswith(API_TOKEN_PREFIX):
        return f"This is no token of Mesh: those begin with `{API_TOKEN_PREFIX}`. This server has no issuer for logins."
    return "This token is incomplete or mistyped: its checksum does not fit."


def credential_of(authorization: bytes | None, x_api_key: bytes | None) -> bytes:
    """Return the bytes of the credential that a request carries, without its scheme: what a proof is bound to.

    Raises:
        TokenMissing, TokenInvalid: as `authenticate` does.
    """
    return credential(authorization, x_api_key).encode("latin-1")
