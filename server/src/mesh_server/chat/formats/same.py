"""Surface and provider of one format: the caller's members go on as they are, and the answer's bytes come back so.

Only what must be known is read on the side; only what a call under Mesh must not have, or what its model does not
take, is written anew.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from mesh_protocol.quiet import Quiet
from mesh_server.chat.formats.anthropic_messages.answer import MessageUsage
from mesh_server.chat.formats.anthropic_messages.thinking import EFFORTS as ANTHROPIC_EFFORTS
from mesh_server.chat.formats.common import (
    CHAT,
    MESSAGES,
    RESPONSES,
    Abilities,
    ChatRequest,
    Thought,
    Usage,
)
from mesh_server.chat.formats.openai_chat.answer import ChatUsage
from mesh_server.chat.formats.openai_chat.build import effort_of
from mesh_server.chat.formats.openai_responses.answer import Response
from mesh_server.chat.formats.shared import fail
from mesh_server.errors import UnsupportedFeature

_NULL = b"null"
_encoder = msgspec.json.Encoder()
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])

#: Names of what a provider keeps for the owner of a key: under the server's shared key it would cross accounts.
_KEPT = frozenset({"file_id", "file_ids", "vector_store_ids", "container", "container_id", "skill_id"})
#: What the caller's own tools take and give: any name may stand there.
_FREE = frozenset({"input", "arguments", "parameters", "input_schema", "schema", "metadata"})
_STATE = ("previous_response_id", "conversation", "prompt", "background", "container")
_PLACES = ("messages", "input", "tools", "system")


def check_state(request: ChatRequest) -> None:
    """Refuse what names the provider's stored state, for a call under the server's own key.

    Raises:
        UnsupportedFeature: naming the member.
    """
    for name in _STATE:
        if name in request.fields and bytes(request.fields[name]) != b"false":
            raise _kept(name)
    for name in _PLACES:
        raw = bytes(request.fields.get(name, b""))
        # an escaped letter could hide a name
        if raw and (b"\\u" in raw or b"item_reference" in raw or any(word.encode() in raw for word in _KEPT)):
            _walk(msgspec.json.decode(raw))


def _walk(value: Any) -> None:
    if isinstance(value, list):
        for entry in value:
            _walk(entry)
    elif isinstance(value, dict):
        if value.get("type") == "item_reference":
            raise _kept("item_reference")
        for name, inner in value.items():
            if name in _KEPT and inner is not None and not (name == "container" and isinstance(inner, dict)):
                raise _kept(name)
            if name not in _FREE:
                _walk(inner)


def _kept(name: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        f"`{name}` names something that the provider keeps, and this server's own key is shared by many accounts.",
        advice=("Store a key of your own for this provider, or send the whole conversation each time.",),
    )


def body(
    request: ChatRequest, *, model: str, abilities: Abilities, adapt: bool, shared_key: bool, target: str
) -> tuple[dict[str, Any], list[str]]:
    """Return the members for a provider of the request's own format, and what was left out.

    Args:
        request: as the surface read it.
        model: the provider's name of the model.
        abilities: of that model.
        adapt: fit the request to the model, because it is another than the one that was asked for.
        shared_key: the call is made with the server's own key.
        target: who is to answer, for messages.
    """
    fields: dict[str, Any] = {**request.fields, "model": model}
    warnings: list[str] = []
    if request.format == CHAT:
        _fit_chat(request, fields, abilities, target, warnings, adapt=adapt)
    elif request.format == MESSAGES and adapt:
        _fit_messages(fields, abilities, target, warnings)
    if adapt and not abilities.sampling:
        _without_sampling(request, fields, target, warnings)
    if shared_key and (request.format == RESPONSES or (request.format == CHAT and "store" in fields)):
        if bytes(fields.get("store", b"")) == b"true":
            warnings.append("`store` was set to false: the key of this call is shared by many accounts.")
        fields["store"] = False
    return fields, warnings


def _fit_chat(
    request: ChatRequest, fields: dict[str, Any], abilities: Abilities, target: str, warnings: list[str], *, adapt: bool
) -> None:
    if request.stream:
        options = _members.decode(bytes(fields.get("stream_options", b"{}")))
        fields["stream_options"] = {**options, "include_usage": True}  # Mesh must know what was spent
    if adapt and abilities.official and not abilities.sampling and "max_tokens" in fields:
        limit = fields.pop("max_tokens")
        fields.setdefault("max_completion_tokens", limit)  # these models know the new name only
    if request.thinking is not None:
        thought = mesh_thought(request)
        effort = effort_of(thought, abilities, target, warnings)
        if effort is not None:
            fields.setdefault("reasoning_effort", effort)


def mesh_thought(request: ChatRequest) -> Thought:
    """Return what Mesh chat's `thinking` and `thinking_budget` ask for."""
    if not request.thinking:
        return Thought(mode="off")
    return Thought(mode="on", budget=request.thinking_budget or DEFAULT_BUDGET, shown=True)


#: Tokens for thinking where a caller asks for it and names no number.
DEFAULT_BUDGET = 4000


def _without_sampling(request: ChatRequest, fields: dict[str, Any], target: str, warnings: list[str]) -> None:
    if fields.get("reasoning_effort") == "none" or member(request.fields, "reasoning_effort") == "none":
        return
    names = ("temperature", "top_p", "top_k") if request.format == MESSAGES else ("temperature", "top_p")
    lost = [name for name in names if fields.pop(name, None) is not None]
    warnings += [f"`{name}` was left out: the model of {target} takes none." for name in lost]


def _fit_messages(fields: dict[str, Any], abilities: Abilities, target: str, warnings: list[str]) -> None:
    most = abilities.max_output
    if most is not None and msgspec.json.decode(fields["max_tokens"]) > most:
        warnings.append(f"The limit of tokens became {most}, the most that this model writes.")
        fields["max_tokens"] = most
    thinking = _object(fields, "thinking")
    if thinking.get("type") == "enabled" and abilities.thinking == "adaptive":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int):
            raise fail("thinking.budget_tokens", "must be a number of tokens")
        effort = next((word for limit, word in ANTHROPIC_EFFORTS if budget <= limit), "xhigh")
        warnings.append(f"A budget of {budget} tokens for thinking became the effort {effort!r} of {target}.")
        fields["thinking"] = {"type": "adaptive", "display": thinking.get("display", "summarized")}
        fields["output_config"] = {"effort": effort, **_object(fields, "output_config")}
    elif thinking.get("type") == "enabled" and abilities.thinking == "none":
        warnings.append("Thinking was left out: this model can't be told to think.")
        del fields["thinking"]


def _object(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = msgspec.json.decode(fields.get(name, b"{}"))
    if not isinstance(found, dict):
        raise fail(name, "must be an object")
    return found


# --- What must be known of an answer ---------------------------------------------------------------------


class Seen(Quiet, msgspec.Struct):
    """What an answer, or a piece of it, said beside its content."""

    model: str | None = None
    usage: Usage | None = None
    finished: bool = False
    closed: bool = False
    error: bytes | None = None
    only_usage: bool = False
    name: str = ""
    tier: str | None = None


class _ChatChoice(Quiet, msgspec.Struct):
    finish_reason: str | None = None
    index: int = 0


class _Chat(Quiet, msgspec.Struct):
    choices: list[_ChatChoice] | None = None
    usage: ChatUsage | None = None
    error: msgspec.Raw = msgspec.Raw(_NULL)
    model: str | None = None
    service_tier: str | None = None


class _Message(Quiet, msgspec.Struct):
    model: str | None = None
    usage: MessageUsage | None = None


class _MessageEvent(Quiet, msgspec.Struct):
    type: str
    message: _Message | None = None
    usage: MessageUsage | None = None
    error: msgspec.Raw = msgspec.Raw(_NULL)


class _MessageAnswer(Quiet, msgspec.Struct):
    type: str
    content: msgspec.Raw
    model: str | None = None
    usage: MessageUsage | None = None


class _ResponseEvent(Quiet, msgspec.Struct):
    type: str
    response: Response | None = None


_chat = msgspec.json.Decoder(_Chat)
_message_event = msgspec.json.Decoder(_MessageEvent)
_message_answer = msgspec.json.Decoder(_MessageAnswer)
_response_event = msgspec.json.Decoder(_ResponseEvent)
_response = msgspec.json.Decoder(Response)


class Watch:
    """Reads, of a provider's stream, what must be known."""

    def __init__(self) -> None:
        self._usage: MessageUsage | None = None
        self._open: set[int] = set()
        self._ended: set[int] = set()

    def chat(self, data: bytes) -> Seen:
        """Return what a chunk of a chat completion says."""
        found = _chat.decode(data)
        if bytes(found.error) != _NULL:
            return Seen(error=bytes(found.error))
        for choice in found.choices or ():
            self._open.add(choice.index)
            if choice.finish_reason:
                self._ended.add(choice.index)
        return Seen(
            model=found.model,
            usage=found.usage.inner() if found.usage is not None else None,
            finished=bool(self._open) and self._open == self._ended,
            only_usage=not found.choices,
            tier=found.service_tier,
        )

    def messages(self, data: bytes) -> Seen:
        """Return what an event of a message says."""
        found = _message_event.decode(data)
        if found.type == "error":
            return Seen(error=bytes(found.error))
        seen = Seen(name=found.type, finished=found.type == "message_stop", closed=found.type == "message_stop")
        counted = found.usage
        if found.message is not None:
            seen.model, counted = found.message.model, found.message.usage
        if counted is not None:
            self._usage = counted.after(self._usage)
            seen.usage, seen.tier = self._usage.inner(), self._usage.tier
        return seen

    def responses(self, data: bytes) -> Seen:
        """Return what an event of a response says."""
        found = _response_event.decode(data)
        if found.type == "error":
            return Seen(error=data)
        if found.type == "response.failed" and found.response is not None:
            return Seen(error=bytes(found.response.error))
        done = found.type in {"response.completed", "response.incomplete"}
        seen = Seen(name=found.type, finished=done, closed=done)
        if found.response is not None:
            seen.model, seen.tier = found.response.model or None, found.response.service_tier
            seen.usage = found.response.usage.inner() if found.response.usage is not None else None
        return seen


def seen_of(format: str, content: bytes) -> Seen:  # noqa: A002 - the word of the field
    """Return what a whole answer says beside its content.

    Raises:
        msgspec.DecodeError: if it is no answer of that format.
    """
    if format == CHAT:
        chat = _chat.decode(content)
        if not chat.choices:
            raise msgspec.ValidationError("an answer without choices")
        usage = chat.usage.inner() if chat.usage is not None else None
        return Seen(model=chat.model, usage=usage, tier=chat.service_tier)
    if format == MESSAGES:
        message = _message_answer.decode(content)
        counted = message.usage
        return Seen(
            model=message.model,
            usage=counted.inner() if counted is not None else None,
            tier=counted.tier if counted is not None else None,
        )
    response = _response.decode(content)
    if response.status == "failed":
        return Seen(error=bytes(response.error))
    usage = response.usage.inner() if response.usage is not None else None
    return Seen(model=response.model or None, usage=usage, tier=response.service_tier)


def member(fields: Mapping[str, msgspec.Raw], name: str) -> Any:
    """Return the value of a member; None where it is not there."""
    return msgspec.json.decode(fields[name]) if name in fields else None
