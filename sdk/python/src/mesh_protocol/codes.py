"""The stable error codes: what each means on the wire and what a person can do about it.

The server answers with these codes, the client raises them again, and both take status and advice
from this one table, so that a message reads the same wherever it is met.
"""

from typing import NamedTuple


class Code(NamedTuple):
    """One error code.

    Attributes:
        status: the HTTP status the server answers with; None for a code that only a client raises.
        type: the family a program branches on, in the words of the field (`invalid_request_error`, …).
        advice: what to do, one step a line, the most likely first.
        retryable: whether the same request may succeed later without any change.
    """

    status: int | None
    type: str
    advice: tuple[str, ...]
    retryable: bool = False


_INVALID = "invalid_request_error"
_AUTH = "authentication_error"
_PERMISSION = "permission_error"
_NOT_FOUND = "not_found_error"
_CONFLICT = "conflict_error"
_RATE = "rate_limit_error"
_UPSTREAM = "upstream_error"
_SERVER = "server_error"
_CLIENT = "client_error"

_RENEW = "Ask the server's operator for a token, or on your own machine run `mesh-server dev` again."
_LOGIN = "Log in again: `mesh-auth`."

CODES: dict[str, Code] = {
    # The request itself
    "invalid_request": Code(400, _INVALID, ("Compare the request with /openapi.json on the server.",)),
    "invalid_json": Code(
        400,
        _INVALID,
        ("Send one JSON object, encoded as UTF-8.", "With curl, quote the body in single quotes."),
    ),
    "invalid_http": Code(400, _INVALID, ("Check the client or the proxy that wrote this request.",)),
    "body_too_large": Code(413, _INVALID, ("Send less in one request; images can be given as a URL or scaled down.",)),
    "headers_too_large": Code(431, _INVALID, ("Remove large cookies or custom headers.",)),
    "host_not_allowed": Code(
        421,
        _INVALID,
        ("Use the server's own address.", "The operator can add this name to MESH_ALLOWED_HOSTS."),
    ),
    "route_not_found": Code(404, _NOT_FOUND, ("Check the address; /openapi.json lists every path of this server.",)),
    "method_not_allowed": Code(405, _INVALID, ("Use a method that the `allow` header names.",)),
    # Who is calling
    "token_missing": Code(
        401,
        _AUTH,
        ("Send `Authorization: Bearer <token>`.", "In Python, set MESH_AUTH_TOKEN or pass auth_token=."),
    ),
    "token_invalid": Code(401, _AUTH, ("Check that the whole token was copied.", _LOGIN, _RENEW)),
    "token_expired": Code(401, _AUTH, (_LOGIN, _RENEW)),
    "token_revoked": Code(401, _AUTH, (_LOGIN, _RENEW)),
    "token_malformed": Code(401, _AUTH, ("Check that the whole token was copied.", _LOGIN)),
    "token_opaque": Code(
        401,
        _AUTH,
        (
            "Set AUTH0_AUDIENCE to this server's audience where the login is made, then log in again: `mesh-auth`.",
            "Without settings of your own `mesh-auth` takes the audience from the server: unset AUTH0_DOMAIN there.",
        ),
    ),
    "token_algorithm": Code(
        401,
        _AUTH,
        ("Set the signing algorithm of the API to RS256 at the issuer (Auth0: APIs, Settings).", _LOGIN),
    ),
    "token_signature": Code(401, _AUTH, (_LOGIN, "If it lasts, the operator runs `mesh-server doctor`.")),
    "token_wrong_issuer": Code(
        401, _AUTH, ("Log in at this server's issuer: `mesh-auth`. GET /api/v1/auth/config names it.",)
    ),
    "token_wrong_audience": Code(
        401,
        _AUTH,
        (
            "Log in for this server: `mesh-auth`. GET /api/v1/auth/config names its audience.",
            "The operator compares AUTH0_AUDIENCE with the API's identifier at the issuer.",
        ),
    ),
    "token_is_id_token": Code(401, _AUTH, ("Send the access token, not the ID token: `mesh-auth token` prints it.",)),
    "token_not_yet_valid": Code(
        401, _AUTH, ("Let the clocks be set by NTP: `mesh-auth doctor` and `mesh-server doctor` compare them.",)
    ),
    "login_not_configured": Code(
        404,
        _NOT_FOUND,
        (
            "Use an API token: the operator makes one with `mesh-server token create --user NAME`.",
            "The operator can set an issuer: AUTH0_DOMAIN, AUTH0_CLIENT_ID and AUTH0_AUDIENCE.",
        ),
    ),
    "login_refused": Code(400, _AUTH, ("Log in from the start: `mesh-auth`.",)),
    "issuer_unavailable": Code(
        503,
        _SERVER,
        ("Try again shortly.", "The operator finds the cause with `mesh-server doctor`."),
        retryable=True,
    ),
    "rate_limited": Code(429, _RATE, ("Wait as long as Retry-After says, then try again.",), retryable=True),
    "oauth_error": Code(400, _INVALID, ("The issuer's own code is in `error`.",)),
    "token_not_found": Code(404, _NOT_FOUND, ("List your tokens to see their ids: GET /api/v1/tokens.",)),
    "scope_missing": Code(403, _PERMISSION, ("Use a token that has the scope named in the message.",)),
    # Keys
    "key_not_found": Code(
        404,
        _NOT_FOUND,
        ("List your keys to see their names.", "A deleted key can be restored while its window lasts."),
    ),
    "key_exists": Code(409, _CONFLICT, ("Leave out `If-None-Match` to store a new version.",)),
    "key_not_deleted": Code(409, _CONFLICT, ("The key is in use already: there is nothing to restore.",)),
    "revision_conflict": Code(412, _CONFLICT, ("Read the key again and repeat the change on what it is now.",)),
    "key_too_large": Code(413, _INVALID, ("A value may have at most 65,536 bytes.",)),
    "version_not_found": Code(404, _NOT_FOUND, ("List the key's versions: GET /api/v1/keys/{name}/versions.",)),
    "version_destroyed": Code(409, _CONFLICT, ("Choose a version whose value is still there.",)),
    "version_in_use": Code(409, _CONFLICT, ("Store a new version first, or delete the key.",)),
    "idempotency_mismatch": Code(
        422, _INVALID, ("Use a new `Idempotency-Key` for every new request; repeat one only with the same request.",)
    ),
    "grant_not_found": Code(404, _NOT_FOUND, ("List your grants to see their ids: GET /api/v1/grants.",)),
    "grantee_not_found": Code(
        404, _NOT_FOUND, ("Ask the other person for the `id` in GET /api/v1/auth/profile, or name a token by its id.",)
    ),
    "grant_insufficient": Code(403, _PERMISSION, ("Ask the key's owner for a grant with the action in the message.",)),
    "account_not_found": Code(404, _NOT_FOUND, ("Name the account by the `id` in its GET /api/v1/auth/profile.",)),
    # Proofs
    "server_identity_mismatch": Code(
        400,
        _INVALID,
        (
            "Use the server's address as the profile has it, or set `server_id` in the profile to the server's.",
            "The operator sets it with MESH_SERVER_ID.",
        ),
    ),
    "record_exists": Code(
        409,
        _CONFLICT,
        ("Say overwrite=True to replace what is enrolled.", "Verify the key: it may be this one already."),
    ),
    "record_superseded": Code(
        409, _CONFLICT, ("Another enrolment of this key, or a new value of it, came first: enrol again.",)
    ),
    "record_not_found": Code(404, _NOT_FOUND, ("Nothing is enrolled under this name: there is nothing to remove.",)),
    "challenge_unusable": Code(
        409, _CONFLICT, ("Ask for a new challenge: each is good once, for two minutes, with the login that asked.",)
    ),
    "protocol_upgrade_required": Code(
        426,
        _INVALID,
        ("Update the client: pip install --upgrade mesh-beta.", "Read what took its place in docs/security/proofs.md."),
    ),
    # Models and providers
    "model_not_found": Code(
        400, _INVALID, ("Use one of the names in the message.", "`GET /v1/models` lists what you can use.")
    ),
    "model_retired": Code(
        400,
        _INVALID,
        ("Use the successor named in the message.", "Leave out `strict_models` to be answered by it at once."),
    ),
    "provider_not_found": Code(400, _INVALID, ("Use one of the providers in the message, or leave `provider` out.",)),
    "provider_key_missing": Code(
        400,
        _INVALID,
        (
            "Store a key for the provider under the name in the message: mesh.store_key(name, value).",
            "The operator can give the server a key of its own.",
        ),
    ),
    "unsupported_feature": Code(400, _INVALID, ("Leave out the field named in the message.",)),
    "provider_auth_failed": Code(
        424, _UPSTREAM, ("The provider refused the stored key: store a valid one under the same name.",)
    ),
    "provider_rejected": Code(400, _UPSTREAM, ("The provider refused the request: its reason is in the message.",)),
    "provider_rate_limited": Code(429, _RATE, ("Wait as long as Retry-After says, then try again.",), retryable=True),
    "provider_quota_exceeded": Code(402, _UPSTREAM, ("Add credit or raise the limit at the provider.",)),
    "provider_failed": Code(
        502, _UPSTREAM, ("Try again; if it lasts, look at the provider's status page.",), retryable=True
    ),
    "provider_unavailable": Code(
        503,
        _UPSTREAM,
        ("Check that the provider's address is right and that it is running.",),
        retryable=True,
    ),
    "provider_timeout": Code(
        504, _UPSTREAM, ("Try again, with a smaller request or a longer timeout.",), retryable=True
    ),
    "model_not_installed": Code(
        400,
        _INVALID,
        ("Fetch it with `mesh-server model pull NAME`.", "See what is there with `mesh-server model list`."),
    ),
    "local_model_failed": Code(
        503,
        _UPSTREAM,
        (
            "Look at local-model.log in the server's data folder.",
            "Fetch the file again: `mesh-server model pull NAME`.",
        ),
        retryable=True,
    ),
    # The server
    "deadline_exceeded": Code(504, _SERVER, ("Give the call more time.",), retryable=True),
    "database_unavailable": Code(
        503,
        _SERVER,
        ("Try again shortly; the operator finds the cause with `mesh-server doctor`.",),
        retryable=True,
    ),
    "server_overloaded": Code(
        503,
        _SERVER,
        (
            "Wait as long as Retry-After says, then try again.",
            "The operator can allow the server more open files, or give it more workers.",
        ),
        retryable=True,
    ),
    # Limits
    "budget_exceeded": Code(
        402,
        _RATE,
        (
            "`mesh usage` shows what was spent; `mesh budget` shows the limits and when they start anew.",
            "A smaller `max_tokens` or a cheaper model may fit into what is left.",
            "Who made the limit can raise it: `mesh-server budget set`.",
        ),
    ),
    "quota_exceeded": Code(
        429,
        _RATE,
        ("Wait as long as Retry-After says, then try again.", "`mesh budget` shows the limits."),
        retryable=True,
    ),
    "price_unknown": Code(
        400,
        _INVALID,
        ("Name a model with a known price.", "The operator can give it one in MESH_PRICES_FILE."),
    ),
    "budget_not_found": Code(404, _NOT_FOUND, ("List the limits to see their ids: GET /api/v1/budget.",)),
    "request_in_progress": Code(
        409,
        _CONFLICT,
        ("Send the same request with the same `Idempotency-Key` again, to get its answer when it is there.",),
        retryable=True,
    ),
    "outcome_unknown": Code(
        409,
        _CONFLICT,
        (
            "Look whether the change is there before you ask for it again; it may have been made.",
            "A chat may have been paid for: to ask anew, use a new `Idempotency-Key`.",
        ),
    ),
    "storage_read_only": Code(
        503, _SERVER, ("The operator must make the data folder writable or free some space.",), retryable=True
    ),
    "vault_damaged": Code(
        500,
        _SERVER,
        ("Restore a backup: stored data does not open with this server's keys.", "Run `mesh-server doctor`."),
    ),
    "internal_error": Code(500, _SERVER, ("Report it to the operator with the request id.",)),
    # The client's own
    "not_logged_in": Code(
        None,
        _AUTH,
        (
            "Log in: run `mesh-auth`, or `mesh-auth --headless` on a machine without a browser.",
            "For a script or a service set MESH_AUTH_TOKEN or pass auth_token=.",
            "Or start a server of your own with `mesh-server dev`: it logs you in.",
        ),
    ),
    "login_denied": Code(None, _AUTH, ("The login was declined. Run `mesh-auth` to try again.",)),
    "login_timed_out": Code(None, _AUTH, ("Nobody finished the login in time. Run `mesh-auth` to get a new code.",)),
    "issuer_refused": Code(
        None,
        _AUTH,
        (
            "Run `mesh-auth doctor`: it checks the settings at the issuer and names what to change.",
            "Check AUTH0_DOMAIN, AUTH0_CLIENT_ID and AUTH0_AUDIENCE where you set them yourself.",
        ),
    ),
    "login_not_genuine": Code(
        None,
        _AUTH,
        (
            "Nothing was stored. Run `mesh-auth` again, and only follow the address that it shows.",
            "If it happens again, tell the server's operator: the issuer's answers contradict its own settings.",
        ),
    ),
    "login_token_opaque": Code(
        None,
        _AUTH,
        (
            "Set AUTH0_AUDIENCE to the identifier of the API at the issuer, here or on the server.",
            "Then run `mesh-auth` again.",
        ),
    ),
    "login_unavailable": Code(
        None,
        _CLIENT,
        ("Try again shortly.", "Run `mesh-auth doctor` to see what can't be reached."),
        retryable=True,
    ),
    "login_port_taken": Code(
        None,
        _CLIENT,
        ("Choose another port: `mesh-auth --port N`.", "Or log in without one: `mesh-auth --headless`."),
    ),
    "session_ended": Code(None, _AUTH, ("Log in again: run `mesh-auth`.",)),
    "login_store_unreadable": Code(
        None,
        _CLIENT,
        (
            "Unlock the keyring of this system, then try again.",
            "Or log in again with `mesh-auth`; MESH_KEYRING=off keeps the key in a file instead.",
            "`mesh-auth doctor` checks the keyring and the files.",
        ),
    ),
    "server_not_configured": Code(
        None,
        _CLIENT,
        (
            "Set MESH_API_URL to your server's address.",
            "Or log in there once with `mesh-auth --server URL`: that is remembered.",
            "Or start one here with `mesh-server dev`.",
        ),
    ),
    "server_insecure": Code(
        None,
        _CLIENT,
        ("Use an https:// address.", "On a network that you trust, allow_insecure=True accepts plain http."),
    ),
    "profile_invalid": Code(
        None, _CLIENT, ("Mend the profile file named in the message, or delete it and log in again.",)
    ),
    "connection_failed": Code(
        None,
        _CLIENT,
        (
            "Check that the server is running and that the address is right.",
            "Check proxies and firewalls between here and there.",
        ),
        retryable=True,
    ),
    "host_not_found": Code(
        None,
        _CLIENT,
        (
            "Check the spelling of the server's address: MESH_API_URL, server_url= or the profile.",
            "Check that this machine has a network and a name server.",
        ),
        retryable=True,
    ),
    "certificate_refused": Code(
        None,
        _CLIENT,
        (
            "Where your company signs its own, set SSL_CERT_FILE to its certificate, or pass verify=PATH.",
            "Check the address, and this machine's clock.",
        ),
    ),
    "timeout": Code(None, _CLIENT, ("Try again, or give the call more time with timeout=.",), retryable=True),
    "stream_truncated": Code(
        None,
        _CLIENT,
        (
            "The answer is not complete: ask again.",
            "What came of it is paid for: `mesh usage` counts it.",
            "Check the server's log by the request id.",
        ),
        retryable=True,
    ),
    "output_invalid": Code(
        None,
        _CLIENT,
        (
            "Ask again, or another model: the answer is in the details.",
            "Where it was cut, give it more max_tokens; where it does not fit, describe the fields more closely.",
        ),
    ),
    "answer_invalid": Code(None, _CLIENT, ("Check that the address is a Mesh server and not a web page or a proxy.",)),
    "proof_parameters_refused": Code(
        None,
        _CLIENT,
        ("Nothing was proven: the server asked for more work than a client does, or for an unknown function.",),
    ),
    "all_endpoints_failed": Code(
        None,
        _CLIENT,
        (
            "Check that the address is a Mesh server.",
            "Check that the server has the endpoints named in the details.",
        ),
    ),
    "registration_failed": Code(
        None,
        _CLIENT,
        (
            "Try calling the auth profile endpoint directly first",
            "Verify your authentication token is valid",
            "Check that the server URL is correct",
        ),
    ),
    "process_forked": Code(
        None,
        _CLIENT,
        (
            'Start processes with "spawn": multiprocessing.get_context("spawn").',
            "Or make the first call to Mesh after the fork, in each process.",
        ),
    ),
    "client_closed": Code(None, _CLIENT, ("Make a new client: this one was closed.",)),
}
