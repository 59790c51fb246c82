"""Providers that speak OpenAI's format: OpenAI itself, Ollama, vLLM, Groq, another Mesh, the model on this machine."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime

import msgspec

from mesh_server.chat.models import Target
from mesh_server.chat.upstream.failures import Stalled, Unreachable, UpstreamFailure
from mesh_server.chat.upstream.pool import Pool, UpstreamAnswer
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
)
from mesh_server.telemetry import mask

_MAX_ERROR_BYTES = 64 * 1024
_MAX_RETRY_AFTER_S = 3600.0


class _Problem(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None


class _ProblemBody(msgspec.Struct):
    error: _Problem | str | None = None
    message: str | None = None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class OpenAIFormat:
    """Calls providers of this format.

    Args:
        pool: the connections to use.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def complete(self, target: Target, body: bytes) -> bytes:
        """Return a provider's whole answer.

        Raises:
            MeshError: the provider's failure, in its meaning; see `failure_of`.
        """
        async with self._call(target, "POST", "/chat/completions", body) as answer:
            try:
                return await answer.read()
            except UpstreamFailure as problem:
                raise no_answer(target, problem) from None

    @asynccontextmanager
    async def stream(self, target: Target, body: bytes) -> AsyncIterator[UpstreamAnswer]:
        """Open a provider's stream; its pieces may still fail with an UpstreamFailure.

        Raises:
            MeshError: the provider's failure, before the first piece.
        """
        async with self._call(target, "POST", "/chat/completions", body) as answer:
            kind = answer.header("content-type") or ""
            if not kind.startswith("text/event-stream"):
                raise ProviderFailed(f"{target.provider} answered a stream with {kind.partition(';')[0] or 'nothing'}.")
            yield answer

    async def models(self, target: Target) -> list[str]:
        """Return the names of the models that a provider lists.

        Raises:
            MeshError: as `complete`.
        """
        async with self._call(target, "GET", "/models", None) as answer:
            try:
                found = msgspec.json.decode(await answer.read(), type=_Models)
            except UpstreamFailure as problem:
                raise no_answer(target, problem) from None
            except msgspec.DecodeError:
                raise ProviderFailed(f"{target.provider} answered with something that is no list of models.") from None
            return [model.id for model in found.data]

    @asynccontextmanager
    async def _call(self, target: Target, method: str, path: str, body: bytes | None) -> AsyncIterator[UpstreamAnswer]:
        headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        if target.api_key is not None:
            headers["authorization"] = f"Bearer {_usable(target)}"
        try:
            async with self._pool.request(method, target.base_url + path, headers=headers, body=body) as answer:
                if answer.status != 200:
                    raise await _failure_of(target, answer)
                yield answer
        except UpstreamFailure as problem:
            raise no_answer(target, problem) from None


def no_answer(target: Target, problem: UpstreamFailure) -> MeshError:
    """Return the error for a provider that could not be reached, or stopped in the middle."""
    name = target.provider
    if isinstance(problem, Unreachable):
        return ProviderUnavailable(f"No connection to {name} could be made.", retry_after=1)
    if isinstance(problem, Stalled):
        return ProviderTimeout(f"{name} stopped answering.")
    return ProviderFailed(f"{name} broke the connection before its answer was complete.")


def failure_from_event(target: Target, error: bytes) -> MeshError:
    """Return the error that a provider told in the middle of its stream."""
    text = _text(_problem(b'{"error":' + error + b"}")[0])
    return ProviderFailed(f"{target.provider} failed in the middle of its answer{text}")


async def _failure_of(target: Target, answer: UpstreamAnswer) -> MeshError:
    try:
        body = await answer.read(_MAX_ERROR_BYTES)
    except UpstreamFailure:
        body = b""  # its status says enough
    return failure_of(target, answer.status, body, answer.header("retry-after"))


def failure_of(target: Target, status: int, body: bytes, retry_after: str | None) -> MeshError:
    """Return what a provider's error means to the caller.

    Args:
        target: whose error it is.
        status: its HTTP status; never handed on where it would mean something else here.
        body: JSON, or whatever a proxy in between answered.
        retry_after: the header, as seconds or as a date.
    """
    name = target.provider
    message, code, kind = _problem(body)
    text = _text(message)
    if status >= 500 or status < 400:
        return _failed(name, status, text, _seconds(retry_after))
    if status in {401, 403}:
        # What the provider says of a key may quote it: its text is not handed on.
        key = f"the key {target.key_name}" if target.key_name else "the server's own key"
        return ProviderAuthFailed(f"{name} refused {key if target.api_key else 'a call without a key'}.")
    if status == 402 or "insufficient_quota" in {code, kind}:
        return ProviderQuotaExceeded(f"The account at {name} has no credit left{text}")
    if status == 429:
        return ProviderRateLimited(f"{name} limits the rate of calls{text}", retry_after=_seconds(retry_after) or 1)
    if code == "model_not_found" or (status == 404 and "model" in message.lower()):
        return ModelNotFound(f"{name} has no model {target.model!r}.")
    return ProviderRejected(f"{name} refused the request{text}", details={"status": status})


def _failed(name: str, status: int, text: str, wait: float | None) -> MeshError:
    if status in {503, 529}:
        return ProviderUnavailable(f"{name} is overloaded or down{text}", retry_after=wait)
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
        return found.error.message or "", str(found.error.code or ""), found.error.type or ""
    return found.error or found.message or "", "", ""


def _text(message: str) -> str:
    """Return a provider's own words as the end of a sentence, without anything that looks like a credential."""
    message = mask(" ".join(message.split()))[:500].rstrip(".")
    return f": {message}." if message else "."


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)


def _usable(target: Target) -> str:
    key = (target.api_key or "").strip()
    if not key or not key.isascii() or not key.isprintable():
        which = target.key_name or "the server's own key"
        raise ProviderAuthFailed(f"The value of {which} can't be a key for {target.provider}.")
    return key
