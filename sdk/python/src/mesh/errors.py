"""Everything that can go wrong at run time, in one tree.

Each class has its fields from one place, the error that a server answers with or the client finds; the methods that
report failures in their result give the same fields there. A wrong call is `TypeError` or `ValueError`, never one of
these.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mesh_protocol.codes import CODES


class MeshError(Exception):
    """A call that failed.

    Attributes:
        code: stable, for programs: see the table of error codes.
        details: facts for programs, or None.
        troubleshooting: what to do, one step each.
        status: the HTTP status, None where no answer came.
        request_id: by which the server's operator finds the call, None where no answer came.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        details: object = None,
        troubleshooting: Sequence[str] | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        known = CODES.get(code)
        self.message = message
        self.code = code
        self.details = details
        self.troubleshooting = list(troubleshooting if troubleshooting is not None else known.advice if known else ())
        self.status = status
        self.request_id = request_id

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as the failing result of a method has them."""
        return {
            "success": False,
            "error": self.message,
            "details": self.details,
            "troubleshooting": self.troubleshooting,
            "code": self.code,
            "status": self.status,
            "request_id": self.request_id,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """Make it picklable: multiprocessing hands exceptions on that way."""
        return _rebuild, (type(self), self.to_dict())


class AuthenticationError(MeshError):
    """No login, or one that the server does not accept."""


class LoginFailed(AuthenticationError):
    """A login that a person began did not come to its end; nothing was stored."""


class SessionEnded(AuthenticationError):
    """The stored login is over: logged out, revoked, or not renewed for too long."""


class PermissionDenied(MeshError):
    """The login is good, but not for this."""


class InvalidRequest(MeshError):
    """The server, or the provider, refused what was asked for."""


class NotFoundError(MeshError):
    """There is no such thing for this account."""


class ConflictError(MeshError):
    """The thing is not in the state that the call expects."""


class RequestInProgress(ConflictError):
    """The chat with this `Idempotency-Key` is still running: the same call, made again, gets its answer."""


class OutcomeUnknown(ConflictError):
    """The server went down in the middle: the change, or the chat, may have been made, and is not made again."""


class RateLimited(MeshError):
    """Too many calls; `details["retry_after"]` has the seconds to wait where they are known."""


class QuotaExceeded(RateLimited):
    """A limit of calls or tokens is reached; `details` has it as `BudgetExceeded` has its own."""


class BudgetExceeded(MeshError):
    """A hard budget does not admit the call; nothing was spent on it.

    `details` has `scope`, `unit`, `period`, `limit`, `used`, `held`, `left` and `resets_at`.
    """


class ProviderError(MeshError):
    """The model's provider failed, refused its key, or could not be reached."""


class ServerError(MeshError):
    """The Mesh server failed, or is not able to serve now."""


class ConnectionFailed(MeshError):
    """No answer, or none that a Mesh server gives."""


class DeadlineExceeded(ConnectionFailed):
    """The time that the call was given passed."""


class StreamTruncated(ConnectionFailed):
    """A stream stopped before its answer was complete."""


class OutputInvalid(MeshError):
    """The model's answer is not of the form that was asked for; `details["content"]` has its text."""


class ConfigurationError(MeshError):
    """The client does not know where to go, or must not go there."""


_BY_CODE: dict[str, type[MeshError]] = {
    "not_logged_in": AuthenticationError,
    "login_denied": LoginFailed,
    "login_timed_out": LoginFailed,
    "issuer_refused": LoginFailed,
    "login_not_configured": ConfigurationError,
    "login_not_genuine": LoginFailed,
    "login_token_opaque": LoginFailed,
    "login_port_taken": LoginFailed,
    "session_ended": SessionEnded,
    "login_unavailable": ConnectionFailed,
    "login_store_unreadable": ConfigurationError,
    "server_not_configured": ConfigurationError,
    "server_insecure": ConfigurationError,
    "profile_invalid": ConfigurationError,
    "client_closed": ConfigurationError,
    "budget_exceeded": BudgetExceeded,
    "quota_exceeded": QuotaExceeded,
    "request_in_progress": RequestInProgress,
    "outcome_unknown": OutcomeUnknown,
    "timeout": DeadlineExceeded,
    "stream_truncated": StreamTruncated,
    "connection_failed": ConnectionFailed,
    "host_not_found": ConnectionFailed,
    "certificate_refused": ConnectionFailed,
    "output_invalid": OutputInvalid,
    "answer_invalid": ConnectionFailed,
    "all_endpoints_failed": ConnectionFailed,
    "registration_failed": AuthenticationError,
    "process_forked": ConfigurationError,
    "proof_parameters_refused": ConnectionFailed,
}
_BY_TYPE: dict[str, type[MeshError]] = {
    "invalid_request_error": InvalidRequest,
    "authentication_error": AuthenticationError,
    "permission_error": PermissionDenied,
    "not_found_error": NotFoundError,
    "conflict_error": ConflictError,
    "rate_limit_error": RateLimited,
    "upstream_error": ProviderError,
    "server_error": ServerError,
}


def error_class(code: str, type_: str | None = None) -> type[MeshError]:
    """Return the class for an error code, or for the family that a newer server names with a code unknown here."""
    known = CODES.get(code)
    return _BY_CODE.get(code) or _BY_TYPE.get(known.type if known else type_ or "", MeshError)


def local_error(code: str, message: str, details: object = None) -> MeshError:
    """Return an error that the client itself found."""
    return error_class(code)(message, code=code, details=details)


def _rebuild(kind: type[MeshError], fields: Mapping[str, Any]) -> MeshError:
    return kind(
        fields["error"],
        code=fields["code"],
        details=fields["details"],
        troubleshooting=fields["troubleshooting"],
        status=fields["status"],
        request_id=fields["request_id"],
    )
