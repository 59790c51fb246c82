"""Registration: a server makes an account when it first sees who is calling, and a chat needs one."""

import threading
import time
from typing import Any

from mesh import _answers
from mesh._plan import Plan, acquire
from mesh._requests import Request
from mesh._send import Found, send
from mesh.errors import ConfigurationError, ConnectionFailed, MeshError, SessionEnded, local_error
from mesh_protocol.wire import API_PREFIX, API_TOKEN_PREFIX

#: The endpoint, and that of old servers, in the order to try.
_PATHS = (f"{API_PREFIX}/auth/profile", "/v1/mesh/auth/profile")
#: Seconds for it.
_LIMIT_S = 30.0


class Registration:
    """What one client knows of its account."""

    def __init__(self) -> None:
        self.profile: dict[str, Any] | None = None
        self.lock = threading.Lock()


def before_chat(found: Found, registration: Registration, timeout: float | None) -> Plan[float | None]:
    """See to it that the account is there, once per client, and return what is left of the call's seconds.

    A `mesh_` token needs none of it: an account made it.

    Raises:
        AuthenticationError: `registration_failed`, with what the server said in its details.
        MeshError: what kept it from being asked: no network, no login, no configuration.
    """
    if registration.profile is not None or isinstance(found, MeshError):
        return timeout
    token = found.credentials.ready() or (yield from found.credentials.token())
    if token.reveal().startswith(API_TOKEN_PREFIX):
        registration.profile = {}
        return timeout
    started = time.monotonic()
    limit = min(timeout or found.config.timeout or _LIMIT_S, _LIMIT_S)
    if not (yield from acquire(lambda: registration.lock.acquire(blocking=False), limit)):
        raise local_error("timeout", f"{found.config.server_url} did not answer within {limit:g} s.")
    try:
        if registration.profile is None:
            registration.profile = yield from _ask(found, limit)
    finally:
        registration.lock.release()
    return None if timeout is None else max(timeout - (time.monotonic() - started), 0.001)


def _ask(found: Found, limit: float) -> Plan[dict[str, Any]]:
    tried = []
    for path in _PATHS:
        request = Request(method="GET", route=path, path=path)
        try:
            reply = yield from send(found, request, limit)
            if reply.status in {404, 405}:
                tried.append(f"{path}: {reply.status}")
                continue
            return _answers.read(reply)
        except (ConnectionFailed, ConfigurationError, SessionEnded) as problem:
            if problem.code == "answer_invalid":
                raise _failed(problem) from None
            raise
        except MeshError as problem:
            raise _failed(problem) from None
    raise _failed(local_error("all_endpoints_failed", "Request failed: All endpoints failed", {"tried": tried}))


def _failed(problem: MeshError) -> MeshError:
    error = local_error("registration_failed", "Failed to register user. Chat requires user registration.")
    error.details = {"code": problem.code, "error": problem.message, "details": problem.details}
    error.status, error.request_id = problem.status, problem.request_id
    return error
