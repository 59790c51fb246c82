"""The rounds of a chat with tools: the model asks, tools answer, the model goes on. Who waits is not known here."""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any

from mesh import _debug, _requests
from mesh._answers import total
from mesh._chat.tools import Tool, ToolCall, ToolResult, text_of
from mesh.errors import MeshError
from mesh.results import ChatResult

#: Asked before a tool is run.
Approve = Callable[[ToolCall], Any]

MAX_TOOL_ROUNDS = 8
#: Values of `tool_choice` that force nothing.
_FREE = (None, "auto", "none")
_DENIED = "The user did not allow this call."


class Rounds:
    """What one chat has said and spent so far.

    Args:
        body: of the first request.
        tools: those that can be run, by name.
        most: rounds of tool calls; after them the model's last answer stands.
    """

    def __init__(self, body: Mapping[str, Any], tools: Mapping[str, Tool[..., Any]], most: int) -> None:
        self._body = dict(body)
        self._tools = tools
        self._left = most
        self._most = most
        self._answers: list[ChatResult] = []
        self._given = {
            str((one.get("function") or one).get("name")) for one in body.get("tools", ()) if isinstance(one, Mapping)
        } - tools.keys()
        self.messages: list[Any] = list(body["messages"])
        self.results: list[ToolResult] = []

    def calls(self, answer: ChatResult) -> list[ToolCall]:
        """Return the calls to make after an answer; none where it is the last one.

        Where one of them is for a tool that the caller runs, none is made: the caller has all of them.
        """
        self._answers.append(answer)
        told: Any = answer.tool_calls if answer.get("success") else []
        asked = [call for call in told if isinstance(call, Mapping)]
        names = [str(_function(call).get("name") or "") for call in asked]
        if not asked or not self._left or any(name in self._given for name in names):
            return []
        self._left -= 1
        self.messages.append(_said(answer))
        return [
            ToolCall(id=str(call.get("id") or ""), name=name, arguments=_arguments(_function(call)))
            for call, name in zip(asked, names, strict=True)
        ]

    def answered(self, results: list[ToolResult]) -> "_requests.Request":
        """Take the tools' answers, and return the request of the next round."""
        self.results += results
        for result in results:
            _debug.ran(result.name, result.error)
        self.messages += [{"role": "tool", "tool_call_id": result.id, "content": result.content} for result in results]
        self._body["messages"] = self.messages
        if self._body.get("tool_choice") not in _FREE:  # a tool that must be called was; to force it again never ends
            self._body["tool_choice"] = "auto"
        return _requests.chat(self._body, model=None, provider=None)

    def allowed(self, approve: Approve | None, call: ToolCall) -> bool:
        """Ask whether a call may be made; an answer that must be awaited is, in an event loop of its own."""
        said = True if approve is None else approve(call)
        return bool(_in_own_loop(said) if inspect.isawaitable(said) else said)

    def run(self, call: ToolCall, *, allowed: Any) -> ToolResult:
        """Run one call and return what came of it; a coroutine is awaited in an event loop of its own."""
        work = self._work(call, allowed=allowed)
        if isinstance(work, ToolResult):
            return work
        try:
            value = work()
            if inspect.isawaitable(value):
                value = _in_own_loop(value)
            return _done(call, text_of(value))
        except Exception as problem:  # noqa: BLE001 - the model is told, and may try otherwise
            return _failed(call, problem)

    async def arun(self, call: ToolCall, *, allowed: Any) -> ToolResult:
        """Run one call; a function that does not await runs in a thread, so that the event loop goes on."""
        work = self._work(call, allowed=allowed)
        if isinstance(work, ToolResult):
            return work
        try:
            value = work() if self._tools[call.name].is_async else await asyncio.to_thread(work)
            if inspect.isawaitable(value):
                value = await value
            return _done(call, text_of(value))
        except Exception as problem:  # noqa: BLE001 - the model is told, and may try otherwise
            return _failed(call, problem)

    def _work(self, call: ToolCall, *, allowed: Any) -> Callable[[], Any] | ToolResult:
        if not allowed:
            return _result(call, _DENIED, error=_DENIED, denied=True)
        tool = self._tools.get(call.name)
        if tool is None:
            text = f"There is no tool {call.name!r}; there are {', '.join(self._tools)}."
            return _result(call, text, error=text)
        given = call.arguments
        try:
            return tool.bind(given if isinstance(given, str) else text_of(given))
        except ValueError as problem:
            text = f"The arguments do not fit: {problem}"
            return _result(call, text, error=text)

    def finish(self, answer: ChatResult) -> ChatResult:
        """Return the last answer with what all rounds spent, warned of and ran; of a failure what came before it."""
        answer["tool_results"] = self.results
        answer["messages"] = self.messages
        spent = [one.usage for one in self._answers if one.get("success") is True]
        if spent:
            answer["usage"] = total(spent)
        if answer.get("success") is not True:
            return answer
        warnings = dict.fromkeys(text for one in self._answers for text in one.warnings)
        if answer.tool_calls and not self._left and not self._asks_the_caller(answer):
            warnings[f"The model still called tools after {self._most} rounds; see tool_calls."] = None
        answer["warnings"] = list(warnings)
        return answer

    def tell(self, problem: MeshError) -> None:
        """Put what was run and spent into the details of an error that is raised: it can't be undone."""
        if self.results:
            known = problem.details if isinstance(problem.details, dict) else {}
            spent = total([one.usage for one in self._answers])
            problem.details = {**known, "tool_results": self.results, "usage": spent}

    def _asks_the_caller(self, answer: ChatResult) -> bool:
        return any(str(_function(call).get("name")) in self._given for call in answer.tool_calls)


def _said(answer: ChatResult) -> dict[str, Any]:
    """Return the answer as the next request repeats it: unchanged, since a provider may have signed parts of it."""
    said: dict[str, Any] = answer.raw["choices"][0]["message"]
    return said


def _function(call: Any) -> Mapping[str, Any]:
    found = call.get("function") if isinstance(call, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _arguments(function: Mapping[str, Any]) -> Any:
    import json  # noqa: PLC0415 - only where a tool is called

    text = function.get("arguments") or "{}"
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _done(call: ToolCall, content: str) -> ToolResult:
    return _result(call, content)


def _failed(call: ToolCall, problem: Exception) -> ToolResult:
    text = f"{type(problem).__name__}: {problem}"
    return _result(call, text, error=text)


def _result(call: ToolCall, content: str, *, error: str | None = None, denied: bool = False) -> ToolResult:
    return ToolResult(id=call.id, name=call.name, arguments=call.arguments, content=content, error=error, denied=denied)


def _in_own_loop(awaitable: Any) -> Any:
    """Wait for a coroutine from code that does not await, also where an event loop runs, as in a notebook."""

    async def wait() -> Any:
        return await awaitable

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    context = contextvars.copy_context()
    told: list[Any] = []

    def work() -> None:
        try:
            told.append((True, context.run(asyncio.run, wait())))
        except BaseException as problem:  # noqa: BLE001 - handed to the thread that waits
            told.append((False, problem))

    thread = threading.Thread(target=work, name="mesh-tool")
    thread.start()
    thread.join()
    good, value = told[0]
    if not good:
        raise value
    return value
