"""What a provider's failure means to the caller: its status, its body in either format, or no answer at all."""

import time
from email.utils import parsedate_to_datetime

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.chat.models import LOCAL, Target
from mesh_server.chat.upstream.failures import Crowded, Stalled, Unreachable, UpstreamFailure
from mesh_server.errors import (
    MeshError,
    ModelNotFound,
    ProviderAuthFailed,
    ProviderFailed,
    ProviderQuotaExceeded,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    ServerOverloaded,
)
from mesh_server.telemetry import mask

_MAX_RETRY_AFTER_S = 3600.0
_QUOTA = frozenset({"insufficient_quota", "billing_error", "enforced_spend_limit_reached"})
#: What llama.cpp says of a text to be embedded that is longer than it takes.
_TOO_LONG_FOR_LLAMA = "is too large to process"
#: What it says where the calls that it answers at once have filled the context that they share.
_FULL_FOR_LLAMA = "Context size has been exceeded"
_TOO_LONG = ("prompt is too long", "maximum context length", "context window", "exceeds the available context")


class _Details(Quiet, msgspec.Struct):
    error_code: str | None = None


class _Problem(Quiet, msgspec.Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    details: _Details | None = None


class _ProblemBody(Quiet, msgspec.Struct):
    error: _Problem | str | None = None
    message: str | None = None
    code: str | int | None = None


def no_answer(target: Target, problem: UpstreamFailure) -> MeshError:
    """Return the error for a provider that could not be reached, or stopped in the middle."""
    name = target.provider
    if isinstance(problem, Unreachable):
        failure: MeshError = ProviderUnavailable(f"No connection to {name} could be made.")
        failure.unexecuted = True
        return failure
    if isinstance(problem, Crowded):
        failure = ServerOverloaded("This server has as many calls under way as it has room for.", retry_after=1)
        failure.unexecuted = True
        return failure
    if isinstance(problem, Stalled):
        return ProviderTimeout(f"{name} stopped answering.")
    return ProviderFailed(f"{name} broke the connection before its answer was complete.")


def failure_from_event(target: Target, error: bytes) -> MeshError:
    """Return the error that a provider told in the middle of its stream.

    Args:
        target: whose error it is.
        error: its own JSON: an error object, or an event with its members.
    """
    body = error if b'"error"' in error[:20] else b'{"error":' + error + b"}"
    message, code, kind = _problem(body)
    text = _text(message)
    if kind == "overloaded_error":
        return ProviderUnavailable(f"{target.provider} is overloaded{text}")
    if kind == "rate_limit_error" or code == "rate_limit_exceeded":
        return ProviderRateLimited(f"{target.provider} limits the rate of calls{text}", retry_after=1)
    return ProviderFailed(f"{target.provider} failed in the middle of its answer{text}")


def failure_of(
    target: Target, status: int, body: bytes, retry_after: str | None, should_retry: str | None = None
) -> MeshError:
    """Return what a provider's error means to the caller.

    Args:
        target: whose error it is.
        status: its HTTP status; never handed on where it would mean something else here.
        body: JSON, or whatever a proxy in between answered.
        retry_after: the header, as seconds or as a date.
        should_retry: the header `x-should-retry`, by which OpenAI and Anthropic say whether another try is safe.
    """
    failure = _meaning(target, status, body, seconds(retry_after))
    failure.answered = status >= 400 and status != 504
    # Overloaded and over the rate mean that nothing was begun; of other failures only the provider itself can say so.
    if should_retry in {"true", "false"}:
        failure.unexecuted = should_retry == "true"
    else:
        failure.unexecuted = status != 500 and isinstance(failure, ProviderRateLimited | ProviderUnavailable)
    return failure


def _meaning(target: Target, status: int, body: bytes, wait: float | None) -> MeshError:
    name = target.provider
    message, code, kind = _problem(body)
    text = _text(message)
    if status >= 500 or status < 400:
        return _failed(name, status, text, wait)
    if status in {401, 403}:
        # What the provider says of a key may quote it: its text is not handed on.
        key = f"the key {target.key_name}" if target.key_name else "the server's own key"
        return ProviderAuthFailed(f"{name} refused {key if target.api_key else 'a call without a key'}.")
    if status == 402 or _QUOTA & {code, kind}:
        return ProviderQuotaExceeded(f"The account at {name} has no credit left{text}")
    if status == 429:
        return ProviderRateLimited(f"{name} limits the rate of calls{text}", retry_after=wait or 1)
    if code == "model_not_found" or (status == 404 and "model" in message.lower()):
        return ModelNotFound(f"{name} has no model {target.model!r}.")
    details: dict[str, object] = {"status": status}
    if code == "context_length_exceeded" or any(words in message.lower() for words in _TOO_LONG):
        details["reason"] = "context_length"
    return ProviderRejected(f"{name} refused the request{text}", details=details)


def _of_llama(name: str, text: str) -> MeshError | None:
    """Return what one of llama.cpp's own sentences means, which all have one status; None for any other."""
    if _TOO_LONG_FOR_LLAMA in text:
        return ProviderRejected(f"{name} refused the request{text}", details={"reason": "context_length"})
    if name == LOCAL and _FULL_FOR_LLAMA in text:
        return ProviderUnavailable(
            "The answers that the local model was giving at once filled its context: ask for fewer tokens with "
            "`max_tokens`, or try again.",
            retry_after=1,
        )
    return None


def _failed(name: str, status: int, text: str, wait: float | None) -> MeshError:
    if status == 500 and (found := _of_llama(name, text)) is not None:
        return found
    if status in {503, 529}:
        return ProviderUnavailable(f"{name} is overloaded or down{text}", retry_after=wait)
    if status == 504:
        return ProviderTimeout(f"{name} took too long{text}")
    if status >= 500:
        return ProviderFailed(f"{name} failed with status {status}{text}")
    if status >= 300:
        return ProviderFailed(f"{name} answered with a redirect, which is not followed: check its base_url.")
    return ProviderFailed(f"{name} answered with the unexpected status {status}.")


def _problem(body: bytes) -> tuple[str, str, str]:
    """Return message, code and type of an error body; empty where it has none."""
    try:
        found = msgspec.json.decode(body, type=_ProblemBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", "", ""
    if isinstance(found.error, _Problem):
        precise = found.error.details.error_code if found.error.details is not None else None
        return found.error.message or "", str(precise or found.error.code or ""), found.error.type or ""
    return found.error or found.message or "", str(found.code or ""), ""


def _text(message: str) -> str:
    """Return a provider's own words as the end of a sentence, without anything that looks like a credential."""
    message = mask(" ".join(message.split()))[:500].rstrip(".")
    return f": {message}." if message else "."


def seconds(retry_after: str | None) -> float | None:
    """Return a Retry-After header's seconds from now, at most an hour; None where it says nothing."""
    if retry_after is None:
        return None
    try:
        found = float(retry_after)
    except ValueError:
        try:
            found = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(found, 0.0), _MAX_RETRY_AFTER_S) if found == found else None  # noqa: PLR0124 - not for NaN
