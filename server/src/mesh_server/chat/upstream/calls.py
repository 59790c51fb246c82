"""Calls to providers of every kind: request out, whole answer or stream back, failures in the caller's meaning."""

from collections.abc import Mapping

import msgspec

from mesh_server.chat.formats.common import Outcome
from mesh_server.chat.models import Target
from mesh_server.chat.upstream import anthropic, openai
from mesh_server.chat.upstream.failures import UpstreamFailure
from mesh_server.chat.upstream.meanings import failure_of, no_answer
from mesh_server.chat.upstream.pool import Pool, UpstreamAnswer
from mesh_server.errors import MeshError, ProviderAuthFailed, ProviderFailed

#: Headers in which OpenAI and Anthropic tell what is left of a key's rate.
_LIMITS = ("x-ratelimit-", "anthropic-ratelimit-")
_MAX_ERROR_BYTES = 64 * 1024


class Listed(msgspec.Struct):
    """A model as its provider lists it: OpenAI gives a day of shutdown, Anthropic a lifecycle with a time."""

    id: str
    shutdown_date: str | None = None
    lifecycle: str | None = None
    retires_at: str | None = None

    @property
    def retires(self) -> str | None:
        """The day from which the provider refuses it, as far as it says."""
        return self.shutdown_date or (self.retires_at[:10] if self.retires_at else None)


class _Models(msgspec.Struct):
    data: list[Listed]


class Calls:
    """Calls providers.

    Args:
        pool: the connections to use.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def complete(
        self, target: Target, url: str, headers: Mapping[str, str], body: bytes, outcome: Outcome
    ) -> bytes:
        """Return a provider's whole answer; what is left of the key's rate goes into the outcome.

        Raises:
            MeshError: the provider's failure, in its meaning; see `meanings`.
        """
        answer = await self._open(target, "POST", url, headers, body)
        try:
            outcome.limits = limits_of(target, answer)
            return await answer.read()
        except UpstreamFailure as problem:
            raise no_answer(target, problem) from None
        finally:
            await answer.close()

    async def stream(self, target: Target, url: str, headers: Mapping[str, str], body: bytes) -> UpstreamAnswer:
        """Open a provider's stream, which has to be closed; its pieces may still fail with an UpstreamFailure.

        Raises:
            MeshError: the provider's failure, before the first piece.
        """
        answer = await self._open(target, "POST", url, headers, body, streams=True)
        kind = answer.header("content-type") or ""
        if not kind.startswith("text/event-stream"):
            await answer.close()
            raise ProviderFailed(f"{target.provider} answered a stream with {kind.partition(';')[0] or 'nothing'}.")
        return answer

    async def models(self, target: Target) -> list[Listed]:
        """Return the models that a provider lists.

        Raises:
            MeshError: as `complete`.
        """
        key = usable_key(target)
        if target.kind == "anthropic":
            url, headers = anthropic.models_path(target), anthropic.headers(key, _listing_version(target))
        else:
            url, headers = openai.models_path(target), openai.headers(key)
        answer = await self._open(target, "GET", url, headers, None)
        try:
            return msgspec.json.decode(await answer.read(), type=_Models).data
        except UpstreamFailure as problem:
            raise no_answer(target, problem) from None
        except msgspec.DecodeError:
            raise ProviderFailed(f"{target.provider} answered with something that is no list of models.") from None
        finally:
            await answer.close()

    async def _open(
        self,
        target: Target,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        streams: bool = False,
    ) -> UpstreamAnswer:
        """Send a request and return the answer, whose status is 200.

        Raises:
            MeshError: the provider's failure, in its meaning.
        """
        sent = {"accept": "application/json, text/event-stream", "content-type": "application/json", **headers}
        try:
            answer = await self._pool.request(
                method, url, headers=sent, body=body, streams=streams, within_s=target.within_s
            )
        except UpstreamFailure as problem:
            raise no_answer(target, problem) from None
        if answer.status == 200:
            return answer
        try:
            raise await _failure(target, answer)
        finally:
            await answer.close()


def usable_key(target: Target) -> str | None:
    """Return the key as it goes into a header; None where the provider asks for none.

    Raises:
        ProviderAuthFailed: if the stored value can be no key; it is not shown.
    """
    if target.api_key is None:
        return None
    key = target.api_key.strip()
    if not key or not key.isascii() or not key.isprintable():
        which = target.key_name or "the server's own key"
        raise ProviderAuthFailed(f"The value of {which} can't be a key for {target.provider}.")
    return key


def _listing_version(target: Target) -> str:
    return anthropic.NEWEST if target.official else anthropic.OLDEST


def limits_of(target: Target, answer: UpstreamAnswer) -> dict[str, str]:
    """Return what is left of the rate of the caller's own key; of the server's own it is nobody's business."""
    return {} if target.shared_key else answer.headers(*_LIMITS)


async def _failure(target: Target, answer: UpstreamAnswer) -> MeshError:
    try:
        body = await answer.read(_MAX_ERROR_BYTES)
    except UpstreamFailure:
        body = b""  # its status says enough
    return failure_of(target, answer.status, body, answer.header("retry-after"), answer.header("x-should-retry"))
