"""The browser flow: authorization code with PKCE (RFC 6749 section 4.1, RFC 7636, RFC 8252)."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from mesh._plan import Plan, attempt
from mesh._secret import Secret
from mesh.auth.discovery import Settings
from mesh.auth.logins import Login, from_answer
from mesh.auth.oauth import client_members, form, printable, refusal, replied
from mesh.errors import local_error

CALLBACK_PATH = "/callback"

#: Longest query that is looked at, in characters.
_MOST_QUERY = 8192


class Stray(Exception):
    """A request that does not belong to the login that waits: it is ignored, and the login goes on waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """One login in a browser, begun.

    Attributes:
        url: where the person goes.
        redirect_uri: where the issuer sends the person back.
        state: tells our own login from one that somebody else began (RFC 6749 section 10.12).
        nonce: ties the ID token to it.
        verifier: of PKCE; who stole the code can't use it without.
    """

    url: str
    redirect_uri: str
    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: Secret = field(repr=False)


def begin(settings: Settings, redirect_uri: str) -> Authorization:
    """Return a new login for a browser.

    Raises:
        LoginFailed: if the issuer has no such flow.
    """
    if settings.authorization_endpoint is None or "browser" not in settings.flows:
        raise local_error("issuer_refused", f"{settings.issuer} offers no login in a browser.")
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    digest = hashlib.sha256(verifier.encode()).digest()
    members = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": redirect_uri,
        "scope": settings.scope,
        "audience": settings.audience,
        "state": state,
        "nonce": nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        # OpenID Connect Core 1.0, section 11: others than Auth0 drop `offline_access` where no consent is asked for.
        "prompt": None if settings.is_auth0 else "consent",
    }
    query = urlencode({name: value for name, value in members.items() if value})
    separator = "&" if urlsplit(settings.authorization_endpoint).query else "?"
    return Authorization(
        url=f"{settings.authorization_endpoint}{separator}{query}",
        redirect_uri=redirect_uri,
        state=state,
        nonce=nonce,
        verifier=Secret(verifier),
    )


def read_redirect(authorization: Authorization, settings: Settings, query: str) -> Secret:
    """Return the code that a redirect carries.

    Args:
        authorization: the login that waits.
        settings: the issuer that it waits for.
        query: of the address that the browser was sent to.

    Raises:
        Stray: if it belongs to another login, or to none.
        LoginFailed: if it is the answer to this login, and the answer is no, or another issuer gave it.
    """
    try:
        members = parse_qs(query[:_MOST_QUERY], keep_blank_values=True, max_num_fields=30)
    except ValueError:
        raise Stray from None
    state = members.get("state", [])
    if len(state) != 1 or not secrets.compare_digest(state[0].encode(), authorization.state.encode()):
        raise Stray
    issuer = members.get("iss")
    if (issuer is None and settings.names_itself) or (issuer is not None and issuer != [settings.issuer]):
        raise local_error("login_not_genuine", f"The answer to the login did not come from {settings.issuer}.")
    errors = members.get("error")
    if errors:
        raise _refused(settings, errors[0], members.get("error_description", [""])[0])
    code = members.get("code", [])
    if len(code) != 1 or not code[0]:
        raise Stray
    return Secret(code[0])


def pasted_query(authorization: Authorization, text: str) -> str:
    """Return the query of an address that a person copied from a browser.

    Raises:
        Stray: if it is not the address that this login ends at.
    """
    try:
        parts, wanted = urlsplit(text.strip().strip("'\"<>")), urlsplit(authorization.redirect_uri)
        same = (parts.path, parts.port) == (wanted.path, wanted.port) and parts.query
    except ValueError:
        raise Stray from None
    if not same:
        raise Stray
    return parts.query


def exchange(settings: Settings, authorization: Authorization, code: Secret) -> Plan[Login]:
    """Exchange the code for tokens (RFC 6749 section 4.1.3, RFC 7636 section 4.5).

    Raises:
        LoginFailed: if the issuer refuses it.
        ConnectionFailed: if it can't be reached.
    """
    members = client_members(settings.client_id, settings.client_secret)
    members |= {
        "grant_type": "authorization_code",
        "code": code.reveal(),
        "redirect_uri": authorization.redirect_uri,
        "code_verifier": authorization.verifier.reveal(),
    }
    told = yield from attempt(form(settings.token_endpoint, members))
    reply = replied(told, settings.issuer)
    if reply.status >= 500 or reply.status == 429:
        raise local_error("login_unavailable", f"{settings.issuer} can't finish the login (status {reply.status}).")
    if reply.status != 200:
        raise refusal(reply, "the login", settings.issuer)
    return from_answer(reply, settings, nonce=authorization.nonce)


def _refused(settings: Settings, error: str, description: str) -> Exception:
    if error == "access_denied":
        return local_error("login_denied", f"The login at {settings.issuer} was declined.")
    words = f": {printable(description)}" if description else ""
    return local_error(
        "issuer_refused",
        f"{settings.issuer} refused the login ({printable(error, 60)}){words}.",
        {"error": printable(error, 60), "issuer": settings.issuer},
    )
