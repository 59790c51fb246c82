"""The chat of `AsyncMeshClient`."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from mesh._base import BaseClient, rounds_of
from mesh._requests import Messages
from mesh._stream import AsyncStream
from mesh._stream_state import State
from mesh._transport import Reply
from mesh.errors import MeshError
from mesh.results import ChatResult, ParsedResult, Result

if TYPE_CHECKING:
    from mesh._chat.call import ChatCall
    from mesh._chat.conversation import AsyncConversation
    from mesh._chat.media import Media
    from mesh._chat.rounds import Approve
    from mesh._chat.tools import Tool, ToolCall, ToolResult
    from mesh._plan import Plan

    Image = Media | dict[str, Any]
    Tools = Sequence[Callable[..., Any] | Tool[..., Any] | Mapping[str, Any]]

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R", bound=Result)


class AsyncChat(BaseClient):
    """What a client says to models, and asks of them."""

    if TYPE_CHECKING:  # the client itself waits

        async def _run(self, plan: Plan[T]) -> T: ...
        async def _report(self, plan: Plan[T], kind: type[R]) -> T | R: ...

    @overload
    async def chat(
        self,
        message: str | None = None,
        *,
        messages: Messages | None = None,
        model: str | None = None,
        provider: str | None = None,
        system: str | None = None,
        stream: Literal[True],
        thinking: bool | None = None,
        thinking_budget: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        tools: "Tools | None" = None,
        response_format: Any = None,
        original_response: bool | None = None,
        timeout: float | None = None,
        images: "Sequence[Image] | None" = None,
        files: "Sequence[Image] | None" = None,
        approve: "Approve | None" = None,
        max_tool_rounds: int | None = None,
        strict_models: bool | None = None,
        **extra: Any,
    ) -> AsyncStream: ...

    @overload
    async def chat(
        self,
        message: str | None = None,
        *,
        messages: Messages | None = None,
        model: str | None = None,
        provider: str | None = None,
        system: str | None = None,
        stream: Literal[False] = False,
        thinking: bool | None = None,
        thinking_budget: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        tools: "Tools | None" = None,
        response_format: type[P],
        original_response: Literal[False] | None = None,
        timeout: float | None = None,
        images: "Sequence[Image] | None" = None,
        files: "Sequence[Image] | None" = None,
        approve: "Approve | None" = None,
        max_tool_rounds: int | None = None,
        strict_models: bool | None = None,
        **extra: Any,
    ) -> ParsedResult[P]: ...

    @overload
    async def chat(
        self,
        message: str | None = None,
        *,
        messages: Messages | None = None,
        model: str | None = None,
        provider: str | None = None,
        system: str | None = None,
        stream: Literal[False] = False,
        thinking: bool | None = None,
        thinking_budget: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        tools: "Tools | None" = None,
        response_format: Mapping[str, Any] | None = None,
        original_response: Literal[False] | None = None,
        timeout: float | None = None,
        images: "Sequence[Image] | None" = None,
        files: "Sequence[Image] | None" = None,
        approve: "Approve | None" = None,
        max_tool_rounds: int | None = None,
        strict_models: bool | None = None,
        **extra: Any,
    ) -> ChatResult: ...

    @overload
    async def chat(
        self,
        message: str | None = None,
        *,
        messages: Messages | None = None,
        model: str | None = None,
        provider: str | None = None,
        system: str | None = None,
        stream: Literal[False] = False,
        thinking: bool | None = None,
        thinking_budget: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        tools: "Tools | None" = None,
        response_format: Mapping[str, Any] | None = None,
        original_response: Literal[True],
        timeout: float | None = None,
        images: "Sequence[Image] | None" = None,
        files: "Sequence[Image] | None" = None,
        approve: "Approve | None" = None,
        max_tool_rounds: int | None = None,
        strict_models: bool | None = None,
        **extra: Any,
    ) -> dict[str, Any]: ...

    async def chat(
        self,
        message: str | None = None,
        *,
        messages: Messages | None = None,
        model: str | None = None,
        provider: str | None = None,
        system: str | None = None,
        stream: bool = False,
        thinking: bool | None = None,
        thinking_budget: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        tools: "Tools | None" = None,
        response_format: Any = None,
        original_response: bool | None = None,
        timeout: float | None = None,
        images: "Sequence[Image] | None" = None,
        files: "Sequence[Image] | None" = None,
        approve: "Approve | None" = None,
        max_tool_rounds: int | None = None,
        strict_models: bool | None = None,
        **extra: Any,
    ) -> Any:
        """Ask a model.

        Args:
            message: what to say; `prompt=` is another word for it.
            messages: instead, a conversation in OpenAI's shape, also with image parts.
            model: as the provider names it, or an alias; default: see `set_default_model`.
            provider: who answers; default: found by the model.
            system: instructions for the model.
            stream: return a stream of pieces instead of the whole answer.
            thinking: let the model think first.
            thinking_budget: tokens that it may think; default: 4,000. `max_tokens` is raised where it leaves no room.
            max_tokens: the longest answer, in tokens.
            temperature: from 0, the likeliest words.
            tools: what the model may call: Python functions, which are run and answered by themselves, or mappings in
                OpenAI's form, which are yours to run.
            response_format: the form of the answer: a pydantic model, dataclass, TypedDict or msgspec Struct, for an
                object in `parsed`; or a mapping in OpenAI's form.
            original_response: return the provider's own body, unchanged.
            timeout: seconds for the call, with all its tries and tools; of a stream, the longest silence.
            images: paths, URLs or bytes that go with the message.
            files: paths or bytes of PDFs and texts that go with the message.
            approve: called with each `ToolCall` before a tool runs; what is false refuses it.
            max_tool_rounds: answers with tool calls that are followed; default: 8.
            strict_models: fail where the model is retired, rather than let its successor answer.
            **extra: anything else that the provider takes, such as `top_p`; `key_name`: which of your keys to use;
                `idempotency_key`: by which the server knows a repetition, default: a new one for each call.

        Returns:
            The answer, or the failure: `success` tells. With `stream=True` a stream, whose iteration raises.

        Raises:
            TypeError, ValueError: if the call is wrong.
            OSError: if an image or file can't be read.
            MeshError: with `raise_on_error=True`, whatever else fails.
        """
        arguments = {
            "messages": messages,
            "system": system,
            "stream": stream,
            "thinking": thinking,
            "thinking_budget": thinking_budget,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "tools": tools,
            "response_format": response_format,
            "original_response": original_response,
            "timeout": timeout,
            "images": images,
            "files": files,
            "approve": approve,
            "max_tool_rounds": max_tool_rounds,
            "strict_models": strict_models,
        }
        call = self._chat_call(message, arguments, extra, model=model, provider=provider)
        if stream:
            return await self._open(call)
        if call.rounds is not None:
            return self._finished(call, await self._rounds(call))
        return self._finished(call, await self._report(self._chat_plan(call, call.request, call.timeout), ChatResult))

    async def _open(self, call: "ChatCall") -> AsyncStream:
        try:
            reply = await self._run(self._stream_plan(call, call.request))
        except MeshError as problem:
            if self._raise_on_error:
                raise
            return AsyncStream(None, problem)
        state = State(reply, None, original=call.original, output=call.output, rounds=call.rounds)
        follow = None if call.rounds is None else lambda answer: self._follow(call, answer)
        return AsyncStream(reply, state=state, follow=follow, raises=self._raise_on_error)

    async def _follow(self, call: "ChatCall", answer: ChatResult) -> "tuple[list[ToolResult], Reply] | None":
        """Run the tools that an answer calls, and open the stream of the next one; None where it is the last."""
        rounds = rounds_of(call)
        calls = rounds.calls(answer)
        if not calls:
            return None
        results = await self._tools(call, calls)
        return results, await self._run(self._stream_plan(call, rounds.answered(results)))

    async def _rounds(self, call: "ChatCall") -> Any:
        """Ask, run the tools that the answer calls, ask again, and so on."""
        rounds, request, left = rounds_of(call), call.request, self._clock(call)
        while True:
            try:
                answer: Any = await self._report(self._chat_plan(call, request, left()), ChatResult)
            except MeshError as problem:
                rounds.tell(problem)
                raise
            calls = rounds.calls(answer)
            if not calls:
                return answer
            results = await self._tools(call, calls)
            request = rounds.answered(results)

    async def _tools(self, call: "ChatCall", calls: "list[ToolCall]") -> "list[ToolResult]":
        """Run tools at the same time; whether each may be run is asked before, one after the other."""
        import asyncio  # noqa: PLC0415 - only where a tool is called
        from inspect import isawaitable  # noqa: PLC0415

        allowed = []
        for one in calls:
            said = True if call.approve is None else call.approve(one)
            allowed.append(await said if isawaitable(said) else said)
        running = [rounds_of(call).arun(one, allowed=may) for one, may in zip(calls, allowed, strict=True)]
        return list(await asyncio.gather(*running))

    def conversation(self, system: str | None = None, **options: Any) -> "AsyncConversation":
        """Begin a conversation, which remembers what was said.

        Args:
            system: instructions for the model.
            **options: for each of its chats, as `chat` takes them: `model`, `provider`, `tools`, …

        Raises:
            TypeError: if one of them makes no sense there.
        """
        from mesh._chat.conversation import AsyncConversation  # noqa: PLC0415 - most programs have none

        return AsyncConversation(self, system, options)
