"""How a request is sent: one deadline over all tries, and a second try only where the first surely did nothing.

Written without I/O, as a plan: see `mesh._plan`.
"""

import time
from dataclasses import dataclass

from mesh import _answers, _debug
from mesh._config import CHAT_TIMEOUT_S, TIMEOUT_S, Config
from mesh._plan import Plan, Told, Wait, attempt
from mesh._requests import Request
from mesh._secret import Secret
from mesh._transport import Reply, TransportFailure, WireRequest
from mesh.auth.order import Credentials
from mesh.errors import MeshError, local_error
from mesh_protocol.codes import CODES

_FIRST_WAIT_S, _MOST_WAIT_S = 0.5, 8.0


@dataclass(frozen=True, slots=True)
class Ready:
    """Where requests go, and as whom."""

    config: Config
    credentials: Credentials


Found = Ready | MeshError


def config_of(found: Found) -> Config | None:
    """Return the configuration where there is one."""
    return None if isinstance(found, MeshError) else found.config


def send(found: Found, request: Request, timeout: float | None) -> Plan[Reply]:
    """Send a request and return its reply, whatever its status.

    Args:
        found: the configuration, or what is wrong with it: that is told only now, after the call was checked.
        request: what to send.
        timeout: seconds, over all tries.

    Raises:
        ConnectionFailed, DeadlineExceeded: if no reply comes.
        MeshError: what is wrong with the configuration.
    """
    if isinstance(found, MeshError):
        raise found
    config, credentials = found.config, found.credentials
    # A login that must be found or renewed first is no part of the call's time: a person may have to confirm it.
    token = credentials.ready() or (yield from credentials.token())
    given = timeout or config.timeout or (CHAT_TIMEOUT_S if request.chat else TIMEOUT_S)
    deadline = time.monotonic() + given
    tries, renewed = 0, False
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _too_late(config, given)
        started = time.monotonic()
        # Of a stream the time is the longest silence, not the whole.
        told = yield from attempt(_wire(config, token, request, given if request.streamed else left))
        _debug.note(request, told, started)
        if not renewed and _login_refused(told):
            renewed, fresh = True, (yield from credentials.renew(token))
            if fresh is not None:  # the request was refused before anything was done
                token = fresh
                continue
        wait = _wait_before_retry(request, told, tries) if tries < config.max_retries else None
        if wait is None or time.monotonic() + wait >= deadline:
            return _reply(config, told, given)
        tries += 1
        _debug.again(request, wait)
        yield Wait(wait)


def _wire(config: Config, token: Secret, request: Request, timeout: float) -> WireRequest:
    headers = [("authorization", f"Bearer {token.reveal()}"), ("accept", "application/json, text/event-stream")]
    if request.body is not None:
        headers.append(("content-type", "application/json"))
    return WireRequest(
        method=request.method,
        url=config.server_url + request.path,
        headers=(*headers, *request.headers),
        body=request.body,
        timeout=timeout,
        streamed=request.streamed,
    )


def _reply(config: Config, told: Told, given: float) -> Reply:
    if isinstance(told, Reply):
        return told
    kind = told.kind
    if kind == "timeout":
        raise _too_late(config, given)
    if kind == "closed":
        raise local_error("client_closed", "This client was closed.")
    if kind == "forked":
        raise local_error("process_forked", "This process was forked from one that had used Mesh already.")
    why = told.why
    if why == "name":
        raise local_error("host_not_found", f"The name in {config.server_url} has no address.")
    if why == "certificate":
        raise local_error("certificate_refused", f"The certificate of {config.server_url} is not trusted here.")
    what = "No connection could be made" if kind == "connect" else "The connection ended before the answer came"
    raise local_error("connection_failed", f"{what}: {config.server_url}.")


def _login_refused(told: Told) -> bool:
    """Return whether the server itself said that the token is no longer good; a provider's 401 has other codes."""
    return isinstance(told, Reply) and told.status == 401 and _answers.failure(told).code.startswith("token_")


def _too_late(config: Config, given: float) -> MeshError:
    if given < 0.001:  # what was left of a call in several steps: its tools took the rest
        return local_error("timeout", "The time that the call was given passed before its next step.")
    return local_error("timeout", f"{config.server_url} did not answer within {given:g} s.")


def _wait_before_retry(request: Request, told: Told, tries: int) -> float | None:
    """Return the seconds until the next try; None where there must be none.

    Without a connection nothing was sent. A 429 or 503 that names a time, or whose code says so, was refused before
    anything was done. Everything else may have been done, and only what may be done twice is tried again.
    """
    if isinstance(told, TransportFailure):
        if told.why == "certificate":  # it will be the same one again
            return None
        again = told.kind == "connect" or (told.kind == "broken" and request.repeatable)
        return _backoff(tries) if again else None
    if told.status not in {429, 502, 503, 504}:
        return None
    if told.status in {502, 504} and not request.repeatable:
        return None
    error = _answers.failure(told)
    asked = _answers.seconds(told.headers.get("retry-after"))
    known = CODES.get(error.code)
    if known is None or not known.retryable or (asked is None and not request.repeatable):
        return None
    return max(asked or 0.0, _backoff(tries))


def _backoff(tries: int) -> float:
    import random  # noqa: PLC0415 - only where something failed

    return float(min(_FIRST_WAIT_S * 2**tries, _MOST_WAIT_S) * random.uniform(0.75, 1.0))  # noqa: S311 - spreads load
