"""The browser login for clients that leave the issuer's endpoints to this server.

The published clients do: they ask where to send the browser, and bring the code, and later the refresh token, here.
The client secret, where there is one, stays here.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

from mesh_server.accounts.oidc.fetch import Fetched
from mesh_server.accounts.oidc.issuers import Issuers
from mesh_server.accounts.oidc.keys import Metadata
from mesh_server.accounts.oidc.models import LOGIN_SCOPE, Issuer
from mesh_server.errors import InvalidRequest, IssuerUnavailable, LoginNotConfigured, LoginRefused, TokenInvalid
from mesh_server.ids import now_us

#: Where a browser may be sent back to: this machine, one path. Anything else would make this an open redirector.
_REDIRECT = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\]):(\d{1,5})/callback")
_STATE = re.compile(r"[\x21-\x7e]{1,512}")
#: RFC 6749, section 3.3.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e ]{1,512}")
#: RFC 7636, sections 4.1 and 4.2: a verifier, and the S256 challenge made of one.
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_OAUTH_ERROR = re.compile(r"[a-z_]{1,64}")
_MOST_GRANT = 8 * 1024
_NO_STATES = "`state` must be 1 to 512 printable ASCII characters without spaces: a random value of the client's."


class Exchange:
    """Speaks with the first issuer on behalf of a client.

    Args:
        issuers: as configured.
        keyed_hash: makes a PKCE verifier that can be made again from the redirect URI.
    """

    def __init__(self, issuers: Issuers, keyed_hash: Callable[[bytes], bytes]) -> None:
        self._issuers = issuers
        self._hash = keyed_hash

    def issuer(self) -> Issuer:
        """Return the issuer that clients are told.

        Raises:
            LoginNotConfigured: if there is none.
        """
        issuer = self._issuers.first
        if issuer is None:
            raise LoginNotConfigured("This server has no issuer: nobody logs in here, API tokens are the way in.")
        return issuer

    async def issuer_id(self) -> str:
        """Return the exact `iss` of the first issuer, with its slash at the end or without.

        Its own document decides; where that can't be had now, it is the address as configured.
        """
        issuer = self.issuer()
        try:
            return (await self._metadata(issuer)).issuer
        except IssuerUnavailable:
            return issuer.url

    async def authorization_url(
        self, *, redirect_uri: str, state: str, scope: str | None, code_challenge: str | None
    ) -> str:
        """Return where to send the browser (RFC 6749, section 4.1.1).

        Args:
            redirect_uri: `http://localhost|127.0.0.1|[::1]:PORT/callback`.
            state: the client's own, handed back to it.
            scope: what to ask for; None for what a login needs.
            code_challenge: S256 of the client's own PKCE verifier; None where the client has none.

        Raises:
            InvalidRequest: if one of them is not that.
            LoginNotConfigured, IssuerUnavailable: if there is no issuer, or it can't be reached.
        """
        issuer = self.issuer()
        _check(_STATE, state, _NO_STATES)
        scope = scope or LOGIN_SCOPE
        _check(_SCOPE, scope, "`scope` has a character that no scope has, or is too long.")
        _check_redirect(redirect_uri)
        if code_challenge is None:
            code_challenge = _s256(self._verifier(redirect_uri))
        _check(_CHALLENGE, code_challenge, "`code_challenge` must be an S256 challenge: 43 characters of base64url.")
        metadata = await self._metadata(issuer)
        if metadata.authorization_endpoint is None:
            raise IssuerUnavailable(f"The issuer {issuer.name} has no endpoint for a login in the browser.")
        query = {
            "response_type": "code",
            "client_id": issuer.client_id,
            "redirect_uri": redirect_uri,
            "scope": scope,
            "audience": issuer.audience,
            "state": state,
            "code_challenge": code_challenge,
            "code_challenge_method": "S256",
        }
        if not issuer.is_auth0 and "offline_access" in scope.split():
            query["prompt"] = "consent"  # OpenID Connect Core 1.0, section 11: else no refresh token
        endpoint = metadata.authorization_endpoint
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def code(self, *, code: str, redirect_uri: str, code_verifier: str | None) -> dict[str, Any]:
        """Return the tokens for an authorization code (RFC 6749, section 4.1.3).

        Raises:
            InvalidRequest: if what was given can't be right.
            LoginRefused: if the issuer refuses it, or its token is of no use here.
            LoginNotConfigured, IssuerUnavailable: if there is no issuer, or it can't be reached.
        """
        issuer = self.issuer()
        _check_grant(code, "code")
        _check_redirect(redirect_uri)
        if code_verifier is None:
            code_verifier = self._verifier(redirect_uri)
        _check(_VERIFIER, code_verifier, "`code_verifier` must be 43 to 128 unreserved characters.")
        return await self._token(
            issuer,
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": code_verifier,
            },
        )

    async def refresh(self, refresh_token: str) -> dict[str, Any]:
        """Return new tokens for a refresh token; the one given where the issuer does not change it.

        Raises:
            InvalidRequest, LoginRefused, LoginNotConfigured, IssuerUnavailable: as `code`.
        """
        issuer = self.issuer()
        _check_grant(refresh_token, "refresh_token")
        answer = await self._token(issuer, {"grant_type": "refresh_token", "refresh_token": refresh_token})
        # The answer takes the place of what the published clients have stored: without it they could not go on.
        answer.setdefault("refresh_token", refresh_token)
        return answer

    async def _token(self, issuer: Issuer, form: dict[str, str]) -> dict[str, Any]:
        metadata = await self._metadata(issuer)
        if metadata.token_endpoint is None:
            raise IssuerUnavailable(f"The issuer {issuer.name} has no token endpoint.")
        form["client_id"] = issuer.client_id
        answer = await self._authenticated(issuer, metadata, metadata.token_endpoint, form)
        if answer.status >= 500 or answer.status == 429:
            raise IssuerUnavailable(f"The issuer {issuer.name} answers with status {answer.status}.", retry_after=2)
        if answer.status != 200:
            error = answer.body.get("error")
            named = error if isinstance(error, str) and _OAUTH_ERROR.fullmatch(error) else f"status {answer.status}"
            raise LoginRefused(f"The issuer refused this login: {named}.", details={"error": named})
        return await self._usable(answer.body)

    async def _authenticated(self, issuer: Issuer, metadata: Metadata, endpoint: str, form: dict[str, str]) -> Fetched:
        """Send a form, with the client secret in the way that this client is registered for.

        Which way that is no document says; an issuer that wants the other one refuses the client before it looks at
        the grant, so the grant is still good for a second try.
        """
        fetcher, secret = self._issuers.fetcher, issuer.client_secret
        if secret is None:
            return await fetcher.post_form(endpoint, form)
        with_basic = partial(fetcher.post_form, endpoint, form, basic=(issuer.client_id, secret))
        with_post = partial(fetcher.post_form, endpoint, form | {"client_secret": secret})
        known = {"client_secret_basic": with_basic, "client_secret_post": with_post}
        order = sorted(known, reverse=issuer.is_auth0)  # Basic is the rule (RFC 6749, 2.3.1), the other Auth0's default
        ways = [name for name in order if not metadata.auth_methods or name in metadata.auth_methods] or order
        answer = await known[ways[0]]()
        if len(ways) > 1 and answer.status in {400, 401} and answer.body.get("error") == "invalid_client":
            answer = await known[ways[1]]()
        return answer

    async def _usable(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the members that a client needs, after seeing that this server accepts the token."""
        token = body.get("access_token")
        if not isinstance(token, str):
            raise IssuerUnavailable("The issuer's answer has no access token.")
        try:
            claims = await self._issuers.verify(token)
        except TokenInvalid as problem:
            raise LoginRefused(
                f"The issuer's access token can't be used here: {problem.message}",
                details={"code": problem.code},
                advice=problem.advice,
            ) from problem
        kept = {name: body[name] for name in ("refresh_token", "id_token", "scope") if isinstance(body.get(name), str)}
        lives = body.get("expires_in")
        if not isinstance(lives, int) or isinstance(lives, bool):  # RECOMMENDED only: RFC 6749, section 5.1
            lives = max(0, (claims.expires_at - now_us()) // 1_000_000)
        return {"access_token": token, "token_type": "Bearer", "expires_in": lives, **kept}

    async def _metadata(self, issuer: Issuer) -> Metadata:
        return (await self._issuers.keys(issuer).known()).metadata

    def _verifier(self, redirect_uri: str) -> str:
        """Return the verifier for clients that have none of their own: the same for the same redirect URI.

        It does for an issuer that insists on PKCE; it does not do what PKCE is for, since whoever has the code can
        bring it here as well (docs/adr/0011).
        """
        return base64.urlsafe_b64encode(self._hash(redirect_uri.encode())).decode().rstrip("=")


def _s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _check(shape: re.Pattern[str], value: str, problem: str) -> None:
    if not shape.fullmatch(value):
        raise InvalidRequest(problem)


def _check_redirect(redirect_uri: str) -> None:
    found = _REDIRECT.fullmatch(redirect_uri)
    if found is None or not 0 < int(found[2]) < 65536:
        raise InvalidRequest(
            "`redirect_uri` must be http://localhost:PORT/callback, or the same with 127.0.0.1 or [::1]."
        )


def _check_grant(value: str, name: str) -> None:
    if not value or len(value) > _MOST_GRANT or not value.isascii() or not value.isprintable():
        raise InvalidRequest(f"`{name}` must be what the issuer gave out: up to {_MOST_GRANT} ASCII characters.")
