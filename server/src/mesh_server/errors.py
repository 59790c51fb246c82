"""Every failure that the server can answer with, in one tree.

Each class has a stable code; HTTP status and advice come from the table both sides share
(`mesh_protocol.codes`). Messages are for people and never hold a secret.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mesh_protocol.codes import CODES


class MeshError(Exception):
    """A failure with a code, to be answered or printed.

    Args:
        message: one sentence: what was wrong.
        details: facts for a program (JSON values only), never a secret.
        advice: what to do, where it is more exact than the advice of the code.
        retry_after: seconds after which another try makes sense.
    """

    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        advice: tuple[str, ...] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = dict(details) if details else None
        self._advice = advice
        self.retry_after = retry_after
        #: Nothing of the request was executed: another try repeats nothing.
        self.unexecuted = False
        #: A part of the request may have been executed, whatever this failure says of its end.
        self.executed = False
        #: The provider itself answered that it failed.
        self.answered = False

    @property
    def status(self) -> int:
        """The HTTP status of this failure."""
        return CODES[self.code].status or 500

    @property
    def type(self) -> str:
        """The family of this failure."""
        return CODES[self.code].type

    @property
    def advice(self) -> tuple[str, ...]:
        """What a person can do, one step each."""
        return self._advice if self._advice is not None else CODES[self.code].advice


class InvalidRequest(MeshError):
    """The request's content is not what this endpoint takes."""

    code = "invalid_request"


class InvalidJSON(MeshError):
    """The body is not a JSON object."""

    code = "invalid_json"


class BodyTooLarge(MeshError):
    """The body is over the limit."""

    code = "body_too_large"


class HeadersTooLarge(MeshError):
    """Request line and headers are over the limit."""

    code = "headers_too_large"


class InvalidHTTP(MeshError):
    """The bytes received are not an HTTP request that this server reads."""

    code = "invalid_http"


class HostNotAllowed(MeshError):
    """The Host header names a host that is not this server (DNS rebinding)."""

    code = "host_not_allowed"


class RouteNotFound(MeshError):
    """No endpoint has this path."""

    code = "route_not_found"


class MethodNotAllowed(MeshError):
    """The path is there, the method is not.

    Args:
        message: one sentence.
        allowed: the methods that the path takes.
    """

    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: Sequence[str]) -> None:
        super().__init__(message, details={"allow": list(allowed)})
        self.allowed = list(allowed)


class TokenInvalid(MeshError):
    """The credential is not one that this server accepts; its subclasses say why, where that is known.

    The published clients look for one of three phrases in the body of a 401 to choose their help text: `details`
    always has the one that fits.
    """

    code = "token_invalid"
    reason: ClassVar[str] = "invalid token"

    def __init__(self, message: str) -> None:
        super().__init__(message, details={"reason": self.reason})


class TokenMissing(TokenInvalid):
    """No credential came with the request."""

    code = "token_missing"


class TokenExpired(TokenInvalid):
    """The credential was good once."""

    code = "token_expired"
    reason = "expired"


class TokenRevoked(TokenInvalid):
    """The credential was taken back."""

    code = "token_revoked"


class TokenMalformed(TokenInvalid):
    """The credential is no JWT, or not a whole one."""

    code = "token_malformed"
    reason = "jwt malformed"


class TokenOpaque(TokenInvalid):
    """An access token that only its issuer can read: the login asked for no audience."""

    code = "token_opaque"


class TokenAlgorithm(TokenInvalid):
    """A JWT signed with an algorithm that this server does not accept."""

    code = "token_algorithm"


class TokenSignature(TokenInvalid):
    """A JWT that no key of its issuer signed."""

    code = "token_signature"


class TokenWrongIssuer(TokenInvalid):
    """A JWT of an issuer that this server does not know."""

    code = "token_wrong_issuer"


class TokenWrongAudience(TokenInvalid):
    """A JWT that was made for another server."""

    code = "token_wrong_audience"


class TokenIsIdToken(TokenInvalid):
    """An ID token where an access token belongs."""

    code = "token_is_id_token"


class TokenNotYetValid(TokenInvalid):
    """A JWT from the future: a clock is wrong."""

    code = "token_not_yet_valid"


class IssuerUnavailable(MeshError):
    """The issuer of a login can't be reached, or does not answer as an issuer does."""

    code = "issuer_unavailable"


class LoginNotConfigured(MeshError):
    """This server has no issuer to log in at."""

    code = "login_not_configured"


class LoginRefused(MeshError):
    """The issuer refused to hand out or renew a token."""

    code = "login_refused"


class RateLimited(MeshError):
    """Too many requests of one kind, from one address, by one account or for one object."""

    code = "rate_limited"


class TokenNotFound(MeshError):
    """The caller has no API token of that id."""

    code = "token_not_found"


class ScopeMissing(MeshError):
    """The credential is good, but not for this."""

    code = "scope_missing"


class KeyNotFound(MeshError):
    """No such key for this principal: absent, deleted or somebody else's look the same."""

    code = "key_not_found"


class KeyExists(MeshError):
    """`If-None-Match: *` on a key that is there."""

    code = "key_exists"


class KeyNotDeleted(MeshError):
    """A restore of a key that was not deleted."""

    code = "key_not_deleted"


class RevisionConflict(MeshError):
    """`If-Match` names another revision than the current one."""

    code = "revision_conflict"


class KeyTooLarge(MeshError):
    """The value is over the limit."""

    code = "key_too_large"


class VersionNotFound(MeshError):
    """The key never had such a version."""

    code = "version_not_found"


class VersionDestroyed(MeshError):
    """The version's value is gone for good."""

    code = "version_destroyed"


class VersionInUse(MeshError):
    """The version is the current one, which can't be destroyed or rolled back to."""

    code = "version_in_use"


class IdempotencyMismatch(MeshError):
    """An `Idempotency-Key` that was used for another request."""

    code = "idempotency_mismatch"


class GrantNotFound(MeshError):
    """The caller gave no grant of that id."""

    code = "grant_not_found"


class GranteeNotFound(MeshError):
    """Neither an account nor a token of this tenant has that id."""

    code = "grantee_not_found"


class GrantInsufficient(MeshError):
    """The key is shared with the caller, but not for this."""

    code = "grant_insufficient"


class AccountNotFound(MeshError):
    """The tenant has no such account."""

    code = "account_not_found"


class ServerIdentityMismatch(MeshError):
    """The client means another server than this one; nothing was looked at."""

    code = "server_identity_mismatch"


class RecordExists(MeshError):
    """Something is enrolled under this name already."""

    code = "record_exists"


class RecordSuperseded(MeshError):
    """The record changed while an enrolment was under way."""

    code = "record_superseded"


class RecordNotFound(MeshError):
    """Nothing is enrolled under this name for this principal."""

    code = "record_not_found"


class ChallengeUnusable(MeshError):
    """A challenge or an enrolment that is unknown, expired, used, or another login's: they look the same."""

    code = "challenge_unusable"


class ProtocolUpgradeRequired(MeshError):
    """An endpoint of a protocol that this server does not speak any more."""

    code = "protocol_upgrade_required"


class ModelNotFound(MeshError):
    """No provider of this server has the model."""

    code = "model_not_found"


class ModelRetired(MeshError):
    """The provider has retired the model, and the caller wants no other."""

    code = "model_retired"


class ModelNotInstalled(MeshError):
    """A local model whose weights are not on this machine."""

    code = "model_not_installed"


class ProviderNotFound(MeshError):
    """No provider of that name is configured."""

    code = "provider_not_found"


class ProviderKeyMissing(MeshError):
    """Neither the caller's vault nor the server has a key for the provider."""

    code = "provider_key_missing"


class UnsupportedFeature(MeshError):
    """The request asks for something that the target can't do."""

    code = "unsupported_feature"


class ProviderAuthFailed(MeshError):
    """The provider refused its key."""

    code = "provider_auth_failed"


class ProviderRejected(MeshError):
    """The provider refused the request itself."""

    code = "provider_rejected"


class ProviderRateLimited(MeshError):
    """The provider's own limit is reached."""

    code = "provider_rate_limited"


class ProviderQuotaExceeded(MeshError):
    """The account at the provider has no credit left."""

    code = "provider_quota_exceeded"


class ProviderFailed(MeshError):
    """The provider answered with a failure of its own, or with nonsense."""

    code = "provider_failed"


class ProviderUnavailable(MeshError):
    """The provider can't be reached or is overloaded."""

    code = "provider_unavailable"


class ServerOverloaded(MeshError):
    """This server has no room for another call, whatever the provider has; nothing was sent."""

    code = "server_overloaded"


class ProviderTimeout(MeshError):
    """The provider did not answer, or stopped answering, in time."""

    code = "provider_timeout"


class LocalModelFailed(MeshError):
    """The local model's process did not start or died."""

    code = "local_model_failed"


class DeadlineExceeded(MeshError):
    """The caller's own deadline passed."""

    code = "deadline_exceeded"


class BudgetExceeded(MeshError):
    """A limit of money does not admit the call; `left` nano-dollars of it are left."""

    code = "budget_exceeded"
    left = 0


class QuotaExceeded(MeshError):
    """A limit of calls or tokens does not admit the call; `left` of its `unit` are left."""

    code = "quota_exceeded"
    unit = "requests"
    left = 0


class PriceUnknown(MeshError):
    """A limit of money applies, and what the call costs is not known."""

    code = "price_unknown"


class RequestInProgress(MeshError):
    """A call with the same `Idempotency-Key` is still running."""

    code = "request_in_progress"


class BudgetNotFound(MeshError):
    """There is no such limit."""

    code = "budget_not_found"


class DatabaseUnavailable(MeshError):
    """The database can't be used now."""

    code = "database_unavailable"


class OutcomeUnknown(MeshError):
    """The connection to the database was lost at the commit, and whether it happened could not be found out."""

    code = "outcome_unknown"


class StorageReadOnly(MeshError):
    """The database can be read but not written: read-only or full."""

    code = "storage_read_only"


class VaultDamaged(MeshError):
    """A stored blob does not open: wrong key, or changed bytes."""

    code = "vault_damaged"


class InternalError(MeshError):
    """A defect of the server; the cause is in its log under the request id."""

    code = "internal_error"


class StartupError(Exception):
    """The server or a command can't do its work, for a reason that its operator can mend.

    Printed as one sentence without a traceback.

    Args:
        message: what is wrong and what to do, in one or two sentences.
        exit_status: 1 failed, 3 not allowed, 4 not found, 5 unavailable.
    """

    def __init__(self, message: str, *, exit_status: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.exit_status = exit_status
