"""The most that a call can come to, known before it is made: what a hard limit has to admit.

A token of text is at least one byte of it, so the length of the body bounds what is read; the answer is bounded by the
limit in the request, which is lowered or written where it would not fit.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import msgspec

from mesh_server.chat.catalog.models import catalog
from mesh_server.chat.catalog.prices import PriceList, ceiling
from mesh_server.chat.formats.common import CHAT, MESSAGES, RESPONSES, ChatRequest, Format
from mesh_server.chat.models import LOCAL, Target

#: Tokens that providers add to what a caller wrote: frames of messages, and their own words on tools.
_ADDED = 1024
#: Tokens that something may have which the body only points at, where the model's context is not known.
_POINTED_AT = 200_000
#: Tokens of an answer where neither the request nor the catalog bounds it.
_UNBOUNDED = 32_768
#: Of what a limit leaves, the part that a call without a limit of its own gets where it must be lowered: others may be
#: on their way, too. Below so many tokens it gets all of it.
_PART, _FEW = 4, 256
#: Bytes of a request that are a token, and tokens that a template adds: a guess for a share of a context.
_BYTES_A_TOKEN, _FRAME = 3, 32
#: Fewer tokens than this are no answer.
_LEAST = 16

_encoder = msgspec.json.Encoder()

#: Members that stand for more than their own bytes: what they point at, or what a small file may unfold to.
_POINTERS = (
    b'"url"', b'_url"', b"file_id", b"file_data", b'"base64"',
    b'"previous_response_id"', b'"conversation"', b'"prompt"',
)  # fmt: skip
_LIMITS: dict[Format, tuple[str, ...]] = {
    CHAT: ("max_completion_tokens", "max_tokens"),
    RESPONSES: ("max_output_tokens",),
    MESSAGES: ("max_tokens",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The most that a call can come to.

    Attributes:
        input: tokens that are read.
        output: tokens of one answer.
        answers: how many are asked for.
        asked: the request itself has the limit of `output`.
        written: the provider would go beyond `output`, unless it is written into the request.
    """

    input: int
    output: int
    answers: int
    asked: bool
    written: bool

    @property
    def tokens(self) -> int:
        """Of every kind, for a limit of tokens: there a likely size is enough for what is read."""
        return self.input // 3 + self.output * self.answers


def of_call(
    target: Target, format_: Format | None, fields: dict[str, Any], body: bytes, request: ChatRequest
) -> Ceiling:
    """Return the ceiling of a call.

    Args:
        target: where it goes.
        format_: the provider's format; None for embeddings, which write nothing.
        fields: the members of the provider's request.
        body: the same, encoded.
        request: the caller's: a limit that is not in it was written by Mesh, and may be lowered.
    """
    known = catalog().find(target.model)
    context = known.context if known is not None else None
    read = len(body) + _ADDED
    if any(pointer in body for pointer in _POINTERS):
        read = max(read, context or _POINTED_AT)
    if context is not None:
        read = min(read, context)
    if format_ is None:
        return Ceiling(input=read, output=0, answers=0, asked=True, written=False)
    # Of two limits a provider may know only the larger; Anthropic's 0 fills the cache, others read it as no limit.
    least = 0 if format_ == MESSAGES else 1
    limits = [n for name in _LIMITS[format_] if (n := _number(fields.get(name))) is not None and n >= least]
    limit = max(limits, default=None)
    most = target.abilities.max_output or (known.output if known is not None else None)
    return Ceiling(
        input=read,
        output=limit if limit is not None else most or _UNBOUNDED,
        answers=max(_number(fields.get("n")) or 1, 1) if format_ == CHAT else 1,
        asked=any(_number(request.fields.get(name)) is not None for name in _LIMITS[request.format]),
        written=limit is None and most is None,
    )


def write_share(fields: dict[str, Any], format_: Format, target: Target) -> None:
    """Limit a call to the target's share of a context, where the request has no limit of its own.

    Without that the endless answers of two would fill the context, and both would fail.
    """
    if target.share is None or any(_number(fields.get(name)) is not None for name in _LIMITS[format_]):
        return
    read = len(_encoder.encode(fields)) // _BYTES_A_TOKEN + _FRAME
    write_limit(fields, format_, target, max(target.share - read, target.share // _PART))


def write_limit(fields: dict[str, Any], format_: Format, target: Target, tokens: int) -> None:
    """Limit the answer in a provider's request."""
    if format_ == CHAT:
        name = "max_completion_tokens" if target.abilities.official else "max_tokens"
    else:
        name = _LIMITS[format_][0]
    fields[name] = tokens


def nano(prices: PriceList, target: Target, found: Ceiling, today: date) -> int | None:
    """Return what a call costs at the most, in nano-dollars; None where no price is known."""
    if target.provider == LOCAL:
        return 0
    known = prices.all_of(target.price_address, target.provider, target.model, today=today)
    return max((ceiling(p, found.input, found.output * found.answers) for p in known), default=None)


def least(fields: dict[str, Any]) -> int:
    """Return the fewest tokens that an answer must be allowed: more than are for thinking in Anthropic's format."""
    thinking = fields.get("thinking")
    if isinstance(thinking, msgspec.Raw):
        thinking = msgspec.json.decode(thinking)
    thought = _number(thinking.get("budget_tokens")) if isinstance(thinking, dict) else None
    return _LEAST if thought is None else max(thought + _LEAST, _LEAST)


def lowered(found: Ceiling, left: int, whole: int, reads: int, least_: int) -> int | None:
    """Return tokens of an answer that fit into what a limit leaves; None where none do.

    Args:
        found: the ceiling that did not fit.
        left: what the limit leaves, in its unit.
        whole: what the ceiling comes to in that unit.
        reads: what is read of it comes to.
        least_: fewer tokens are no answer.
    """
    a_token = max((whole - reads) / max(found.output, 1), 1e-9)
    for share in (left // _PART, left):
        tokens = int((share - reads) / a_token)
        if tokens >= (max(_FEW, least_) if share != left else least_):
            return min(tokens, found.output)
    return None


def _number(value: Any) -> int | None:
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
