"""Parameters of OAuth requests: each at most once, and no more than they need to be."""

from urllib.parse import parse_qsl

from mesh_server.asgi import Request, Send, send_bytes, send_json
from mesh_server.dev_issuer import pages
from mesh_server.dev_issuer.errors import OAuthProblem
from mesh_server.dev_issuer.settings import AUDIENCE, CLIENT_ID
from mesh_server.errors import InvalidRequest, MeshError

#: Largest form in bytes.
MOST_BODY = 32 * 1024
NO_STORE = (b"cache-control", b"no-store")
#: What can be asked for; anything else is left out of what is granted (RFC 6749, section 3.3).
SCOPES = ("openid", "profile", "email", "offline_access")


async def form(request: Request) -> dict[str, str]:
    """Return the fields of a form.

    Raises:
        OAuthProblem: `invalid_request`, if it is none or names a field twice (RFC 6749, section 3.2).
    """
    media_type = (request.header(b"content-type") or b"").partition(b";")[0].strip().lower()
    if media_type != b"application/x-www-form-urlencoded":
        raise OAuthProblem("invalid_request", "The body must be application/x-www-form-urlencoded.")
    return _fields((await request.body(MOST_BODY)).decode("latin-1"))


def query(request: Request) -> dict[str, str]:
    """Return the parameters of the query.

    Raises:
        OAuthProblem: `invalid_request`, if it names one twice (RFC 6749, section 3.1).
    """
    return _fields(request.scope["query_string"].decode("latin-1"))


def _fields(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError as problem:
        raise OAuthProblem("invalid_request", "The parameters are not valid percent-encoded UTF-8.") from problem
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise OAuthProblem("invalid_request", "A parameter is given twice.")
    return {name: value for name, value in fields.items() if value}  # RFC 6749, 3.1: without a value is left out


def needed(fields: dict[str, str], name: str) -> str:
    """Return a field.

    Raises:
        OAuthProblem: `invalid_request`, if it is not there.
    """
    if name not in fields:
        raise OAuthProblem("invalid_request", f"`{name}` is missing.")
    return fields[name]


def refuse_other_sites(request: Request) -> None:
    """Refuse a form that another site's page sent; programs, which say nothing of a site, pass.

    Compared with the Host header, which the guard has checked, and not with the issuer's own address: through a
    forwarded port (SSH, containers) the browser knows this page by another one.

    Raises:
        OAuthProblem: `invalid_request`.
    """
    site, origin = request.header(b"sec-fetch-site"), request.header(b"origin")
    ours = b"http://" + (request.header(b"host") or b"")
    if (site is not None and site != b"same-origin") or (origin is not None and origin != ours):
        raise OAuthProblem("invalid_request", "This form comes from another site's page.", status=403)


def check_client(fields: dict[str, str]) -> None:
    """Refuse another client than ours.

    Raises:
        OAuthProblem: `invalid_client`.
    """
    if fields.get("client_id") != CLIENT_ID:
        raise OAuthProblem("invalid_client", f"The client here is `{CLIENT_ID}`.", status=401)


def check_audience(fields: dict[str, str]) -> None:
    """Refuse to make a token for another server.

    Raises:
        OAuthProblem: `invalid_target` (RFC 8707, section 2).
    """
    if fields.get("audience", AUDIENCE) != AUDIENCE:
        raise OAuthProblem("invalid_target", f"The audience here is `{AUDIENCE}`.")


def scope_of(fields: dict[str, str]) -> str:
    """Return the part of the scope that is granted here."""
    asked = fields.get("scope", "openid").split()
    return " ".join(scope for scope in SCOPES if scope in asked)


async def send_oauth_error(send: Send, error: MeshError, request_id: str) -> None:
    """Answer an error as OAuth's endpoints do (RFC 6749, section 5.2)."""
    code = error.error if isinstance(error, OAuthProblem) else "server_error"
    if isinstance(error, InvalidRequest) or (error.status < 500 and code == "server_error"):
        code = "invalid_request"
    headers = [NO_STORE]
    if error.status == 401:
        headers.append((b"www-authenticate", f'Bearer error="{code}"'.encode()))
    body = {"error": code, "error_description": error.message, "request_id": request_id}
    await send_json(send, body, status=error.status, headers=headers)


async def send_page_error(send: Send, error: MeshError, request_id: str) -> None:
    """Answer an error as a page."""
    await send_bytes(send, error.status, pages.error(message=error.message, request_id=request_id), pages.headers())
