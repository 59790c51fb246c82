"""Renewing a login with its refresh token (RFC 6749 section 6), and ending it (RFC 7009)."""

from mesh._plan import Plan, Told, Wait, attempt
from mesh._secret import Secret
from mesh._transport import Reply
from mesh.auth.logins import Login, renewed
from mesh.auth.oauth import client_members, error_of, form, no_reply, refusal
from mesh.errors import MeshError, local_error

#: A refresh whose reply was lost is sent again with the same token: issuers accept that for a while (Auth0 calls it the
#: rotation overlap), and the reply may hold the only successor of the token.
_TRIES = 3
_FIRST_WAIT_S = 0.25


def renew(login: Login, client_secret: Secret | None) -> Plan[Login]:
    """Return the login's successor. Only one process may do this at a time.

    Raises:
        SessionEnded: if the issuer says that the refresh token is no longer good: that is final.
        LoginFailed: if it refuses this client.
        ConnectionFailed: if it can't be reached, or can't serve now.
    """
    if login.refresh_token is None:
        raise local_error("session_ended", f"The login at {login.issuer} has expired, and it can't be renewed.")
    members = client_members(login.client_id, client_secret)
    members |= {"grant_type": "refresh_token", "refresh_token": login.refresh_token.reveal()}
    tries = 0
    while True:
        told = yield from attempt(form(login.token_endpoint, members))
        if isinstance(told, Reply) and told.status == 200:
            return renewed(login, told)
        tries += 1
        if tries == _TRIES or not _may_pass(told):
            raise _failed(login, told)
        yield Wait(_FIRST_WAIT_S * 2 ** (tries - 1))


def revoke(login: Login, client_secret: Secret | None) -> Plan[bool]:
    """Tell the issuer that the login is over; returns whether it heard.

    The refresh token is what is revoked: who revokes it also ends the access tokens that came of it (RFC 7009
    section 2.1), as far as the issuer can.
    """
    token = login.refresh_token or login.access_token
    if login.revocation_endpoint is None:
        return False
    hint = "refresh_token" if login.refresh_token else "access_token"
    members = client_members(login.client_id, client_secret)
    told = yield from attempt(
        form(login.revocation_endpoint, {**members, "token": token.reveal(), "token_type_hint": hint})
    )
    return isinstance(told, Reply) and told.status == 200


def _may_pass(told: Told) -> bool:
    if not isinstance(told, Reply):
        return told.kind not in {"closed", "forked"}
    return error_of(told) != "invalid_grant" and (told.status >= 500 or told.status == 429)


def _failed(login: Login, told: Told) -> MeshError:
    if not isinstance(told, Reply):
        return no_reply(told, login.issuer)
    if error_of(told) == "invalid_grant":
        return local_error(
            "session_ended", f"{login.issuer} no longer renews this login: it was revoked or is too old."
        )
    if _may_pass(told):
        return local_error("login_unavailable", f"{login.issuer} can't renew the login now (status {told.status}).")
    return refusal(told, "to renew the login", login.issuer)
