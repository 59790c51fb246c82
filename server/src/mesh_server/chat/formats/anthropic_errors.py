"""Errors as Anthropic's API answers them, by which its clients choose the exception and whether to try again."""

from typing import Any

from mesh_server.errors import MeshError

_TYPES = {
    "provider_quota_exceeded": "billing_error",
    "budget_exceeded": "billing_error",
    "provider_unavailable": "overloaded_error",
    "server_overloaded": "overloaded_error",
    "provider_timeout": "timeout_error",
    "deadline_exceeded": "timeout_error",
    "model_not_found": "not_found_error",
    "model_not_installed": "not_found_error",
    "model_retired": "not_found_error",
    "body_too_large": "request_too_large",
    "key_too_large": "request_too_large",
}
_BY_STATUS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
_STATUS = {
    **dict.fromkeys(("model_not_found", "model_not_installed", "model_retired"), 404),
    **dict.fromkeys(("provider_unavailable", "server_overloaded"), 529),
}


def anthropic_error(error: MeshError, request_id: str) -> dict[str, Any]:
    """Return the error body of Anthropic's API."""
    message = " ".join((error.message, *error.advice))  # there is no other place for what to do
    details = error.details or {}
    if details.get("reason") == "context_length":
        message = f"prompt is too long: {message}"  # the words by which its clients know to shorten the prompt
    kind = _TYPES.get(error.code) or _BY_STATUS.get(anthropic_status(error))
    if kind is None:
        kind = "api_error" if error.status >= 500 else "invalid_request_error"
    return {
        "type": "error",
        "error": {"type": kind, "message": message, "details": {"error_code": error.code}},
        "request_id": request_id,
    }


def anthropic_status(error: MeshError) -> int:
    """Return the status that Anthropic's API has for a failure."""
    if error.code == "provider_rejected" and (error.details or {}).get("status") == 413:
        return 413
    return _STATUS.get(error.code, error.status)
