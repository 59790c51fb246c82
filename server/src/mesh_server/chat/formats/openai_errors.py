"""Errors as OpenAI's API answers them, by which its clients choose the exception and whether to try again."""

from typing import Any

from mesh_protocol.codes import CODES
from mesh_server.errors import MeshError

_NAMES = {
    "token_missing": ("authentication_error", "invalid_api_key"),
    "token_invalid": ("authentication_error", "invalid_api_key"),
    "token_expired": ("authentication_error", "invalid_api_key"),
    "token_revoked": ("authentication_error", "invalid_api_key"),
    "provider_quota_exceeded": ("insufficient_quota", "insufficient_quota"),
    "provider_rate_limited": ("rate_limit_error", "rate_limit_exceeded"),
    "budget_exceeded": ("insufficient_quota", "insufficient_quota"),
    "quota_exceeded": ("rate_limit_error", "rate_limit_exceeded"),
    "model_retired": ("invalid_request_error", "model_not_found"),
}
_TYPES = {
    "not_found_error": "invalid_request_error",
    "conflict_error": "invalid_request_error",
    "upstream_error": "server_error",
}
_STATUS = {
    "model_not_found": 404,
    "model_not_installed": 404,
    "model_retired": 404,
    "provider_quota_exceeded": 429,
    "budget_exceeded": 429,
}


def openai_error(error: MeshError) -> dict[str, Any]:
    """Return the error body of OpenAI's API."""
    kind, code = _NAMES.get(error.code, (None, None))
    if (error.details or {}).get("reason") == "context_length":
        kind, code = "invalid_request_error", "context_length_exceeded"
    message = " ".join((error.message, *error.advice))  # there is no other place for what to do
    return {
        "error": {
            "message": message,
            "type": kind or _TYPES.get(error.type, error.type),
            "param": None,
            "code": code or error.code,
        }
    }


def openai_status(error: MeshError) -> int:
    """Return the status that OpenAI's API has for a failure."""
    if error.code == "provider_rejected" and (error.details or {}).get("status") == 413:
        return 413
    return _STATUS.get(error.code, error.status)


def retry_headers(error: MeshError) -> list[tuple[bytes, bytes]]:
    """Return whether the clients of OpenAI and Anthropic should try again.

    They would do so on every 408, 409, 429 and 5xx. A failure of a provider has been tried again here as often as makes
    sense; only a rate limit that was too long to be waited for here, or is Mesh's own, is theirs to wait out.
    """
    waits = error.code == "provider_rate_limited" and (error.details or {}).get("attempts", 1) == 1
    waits = waits or error.code in {"quota_exceeded", "request_in_progress"}
    ours = error.type == "server_error" and error.code != "deadline_exceeded"  # that was the caller's own wish
    again = CODES[error.code].retryable and (waits or ours)
    return [(b"x-should-retry", b"true" if again else b"false")]
