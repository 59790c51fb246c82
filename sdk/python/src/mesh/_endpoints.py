"""Old and other servers: paths under `/api/v1/` first, then those under `/v1/mesh/`; what worked is remembered."""

import time
from dataclasses import replace

from mesh import _answers
from mesh._plan import Plan
from mesh._requests import Request
from mesh._send import Found, config_of, send
from mesh._transport import Reply
from mesh.errors import MeshError, local_error
from mesh_protocol.wire import API_PREFIX

LEGACY_PREFIX = "/v1/mesh"
#: Where the older path is not the new one under the other prefix.
_LEGACY = {"/chat/completions": "/chat"}

#: Servers that answered under the older paths, and the newest so many of them.
_older: dict[str, None] = {}
_MOST = 256


def reach(found: Found, request: Request, timeout: float | None) -> Plan[Reply]:
    """Send a request to the first of its endpoints that the server has, and return the reply, whatever its status.

    Only where the server has no such endpoint (404 or 405 without a code of Mesh's own) is the next one tried: nothing
    was executed then.

    Raises:
        ConnectionFailed: `all_endpoints_failed`, with what was tried; and as `send` does.
    """
    config = config_of(found)
    server = config.server_url if config is not None else ""
    older = server in _older
    tried: list[str] = []
    started = time.monotonic()
    for legacy in (older, not older):
        attempt = _legacy(request) if legacy else request
        left = None if timeout is None else max(timeout - (time.monotonic() - started), 1e-9)
        reply = yield from send(found, attempt, left if tried else timeout)
        if not _no_endpoint(reply):
            _remember(server, older=legacy)
            return reply
        tried.append(f"{attempt.method} {attempt.route}: {reply.status}")
    raise _all_failed(tried, reply)


def _legacy(request: Request) -> Request:
    after = request.path.removeprefix(API_PREFIX)
    route = request.route.removeprefix(API_PREFIX)
    return replace(
        request, path=f"{LEGACY_PREFIX}{_LEGACY.get(after, after)}", route=f"{LEGACY_PREFIX}{_LEGACY.get(route, route)}"
    )


def _no_endpoint(reply: Reply) -> bool:
    """Return whether the server has no such endpoint; a missing key, or a provider's 404, is another thing."""
    if reply.status not in {404, 405}:
        return False
    code = _answers.failure(reply).code
    return code in {"route_not_found", "method_not_allowed", "answer_invalid"}


def _remember(server: str, *, older: bool) -> None:
    if older and server not in _older:
        while len(_older) >= _MOST:
            del _older[next(iter(_older))]
        _older[server] = None
    elif not older and _older:
        _older.pop(server, None)


def _all_failed(tried: list[str], reply: Reply) -> MeshError:
    error = local_error("all_endpoints_failed", "Request failed: All endpoints failed", {"tried": tried})
    error.status, error.request_id = reply.status, reply.headers.get("x-request-id")
    return error
