"""Arguments of a chat become a call that is ready to be sent; what is wrong with them is said here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mesh import _requests

if TYPE_CHECKING:
    from mesh._chat.output import Output
    from mesh._chat.rounds import Approve, Rounds

#: Tokens that a model may think where nothing is said.
THINKING_BUDGET = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """A chat call, checked and ready to be sent.

    Attributes:
        model: that is asked; None where the server chooses.
        provider: as the model.
        timeout: seconds; None for the client's own.
        original: return the provider's own body.
        rounds: of tool calls, where there are tools to run.
        approve: asked before each.
        output: how the answer is read, where it has a form.
    """

    request: _requests.Request
    model: str | None
    provider: str | None
    timeout: float | None
    original: bool
    rounds: "Rounds | None" = None
    approve: "Approve | None" = None
    output: "Output | None" = None


def check_texts(**texts: Any) -> None:
    """Refuse what is no text.

    Raises:
        TypeError: naming the argument.
    """
    for name, value in texts.items():
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} must be a str, not {type(value).__name__}")


def thinking(options: dict[str, Any], model: str | None, provider: str | None) -> None:
    """Complete the options of a call that is to think first: a budget, and an answer that fits beside it.

    Raises:
        ValueError: if the model is known to be none that thinks; the message names some that do.
    """
    if options.get("thinking_budget") is not None and options.get("thinking") is None:
        options["thinking"] = True
    if not options.get("thinking"):
        if options.get("thinking_budget") is not None:
            raise ValueError("thinking_budget goes with thinking=True")
        return
    from mesh.models import catalog, choose  # noqa: PLC0415 - most calls do not think

    known = catalog.find(model) if model is not None else None
    if known is not None and not known.thinks and provider in {None, known.provider}:
        able = choose.thinking_models(known.provider)[:6]
        raise ValueError(f"{model!r} can't think; of {known.provider}, these can: {', '.join(able)}")
    budget = options.get("thinking_budget") or THINKING_BUDGET
    options["thinking_budget"] = budget
    most = options.get("max_tokens")
    if most is not None and most <= budget:  # what is thought counts as answer
        options["max_tokens"] = budget + most


def tools(options: dict[str, Any], approve: Any, most: Any) -> "tuple[Mapping[str, Any], int]":
    """Put the tools' definitions into the options; return those that can be run, and for how many rounds.

    Raises:
        TypeError, ValueError: if one can't be described to a model, or an argument makes no sense.
    """
    given = options.get("tools")
    if approve is not None and not callable(approve):
        raise TypeError(f"approve must be callable, not {type(approve).__name__}")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int)):
        raise TypeError(f"max_tool_rounds must be int, not {type(most).__name__}")
    if most is not None and most < 0:
        raise ValueError("max_tool_rounds must not be negative")
    if given is None:
        return {}, 0
    if isinstance(given, str | Mapping) or not hasattr(given, "__iter__"):
        raise TypeError("tools must be a list of functions, or of mappings in OpenAI's form")
    from mesh._chat import tools as described  # noqa: PLC0415 - most calls have none

    options["tools"], runnable = described.collect(list(given))
    if not runnable:
        return {}, 0
    from mesh._chat.rounds import MAX_TOOL_ROUNDS  # noqa: PLC0415

    return runnable, MAX_TOOL_ROUNDS if most is None else most


def prepare(
    message: str | None,
    arguments: dict[str, Any],
    extra: Mapping[str, Any],
    *,
    model: str | None,
    provider: str | None,
    original: bool,
) -> ChatCall:
    """Return the call that a client's `chat` was asked for.

    Args:
        message: what to say.
        arguments: of `chat` by name, without model and provider.
        extra: members for the provider, and `prompt` and `idempotency_key`.
        model: as it was chosen.
        provider: as it was chosen.
        original: what the client does where the call says nothing.

    Raises:
        TypeError, ValueError: if the call is wrong.
    """
    take = arguments.pop
    timeout, said = take("timeout"), take("original_response")
    approve, most = take("approve"), take("max_tool_rounds")
    messages, system, stream = take("messages"), take("system"), take("stream")
    images, files = take("images"), take("files")
    extra = dict(extra)
    idempotency_key = extra.pop("idempotency_key", None)
    check_texts(idempotency_key=idempotency_key)
    _requests.check_timeout(timeout)
    runnable, rounds_left = tools(arguments, approve, most)
    output: Output | None = None
    if arguments["response_format"] is not None:
        from mesh._chat import output as outputs  # noqa: PLC0415 - most calls have none

        arguments["response_format"], output = outputs.of(arguments["response_format"])
    thinks = arguments.get("thinking") is not None or arguments.get("thinking_budget") is not None
    body = _requests.chat_body(
        message,
        messages=messages,
        system=system,
        stream=bool(stream),
        images=images,
        files=files,
        options=arguments,
        extra=extra,
    )
    if thinks:
        thinking(body, model, provider)
    rounds: Rounds | None = None
    if runnable:
        from mesh._chat.rounds import Rounds as Begun  # noqa: PLC0415

        chosen = {name: value for name, value in (("model", model), ("provider", provider)) if value is not None}
        rounds = Begun({**body, **chosen}, runnable, rounds_left)
    return ChatCall(
        request=_requests.chat(body, model=model, provider=provider, idempotency_key=idempotency_key),
        model=model,
        provider=provider,
        timeout=timeout,
        original=original if said is None else said,
        rounds=rounds,
        approve=approve,
        output=output,
    )
