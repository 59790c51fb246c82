"""Puts a streamed answer together; pure."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from mesh import _answers
from mesh._transport import Reply, TransportFailure
from mesh.errors import MeshError, local_error
from mesh.results import ChatChunk, ChatResult, Usage, reasoning
from mesh_protocol.events import DONE, EventReader, EventTooLarge

if TYPE_CHECKING:
    from mesh._chat.output import Output
    from mesh._chat.rounds import Rounds
    from mesh._chat.tools import ToolResult

_decoder = msgspec.json.Decoder(dict[str, Any])

_CANCELLED = "The stream was cancelled: usage counts what the server had told by then; get_usage() has all of it."


class State:
    """What has come of a streamed answer so far.

    Args:
        reply: that has the stream; None for a stream that never began.
        error: why it never began.
        original: pieces are the provider's own.
        output: how the text is read, where it has a form.
        rounds: of tool calls.

    Attributes:
        on_end: told of the full result of a stream that came to its end.
    """

    def __init__(
        self,
        reply: Reply | None,
        error: MeshError | None,
        *,
        original: bool,
        output: "Output | None" = None,
        rounds: "Rounds | None" = None,
    ) -> None:
        self.error = error
        self.cancelled = False
        self.rounds = rounds
        self._done: ChatResult | None = None
        self._before: list[Usage] = []  # of the rounds before this one
        self._begun = False
        self._original = original
        self._output = output
        self.on_end: Callable[[ChatResult], None] | None = None
        self.begin(reply)

    def begin(self, reply: Reply | None, results: "Sequence[ToolResult]" = ()) -> None:
        """Begin with an answer: the first one, or that of the next round, after these tools were run."""
        if self._begun:
            self._before.append(self.answer().usage)
        self._begun = reply is not None
        self.finished = False
        self._span = reply.span if reply else None
        # What tells of the tools that were run before this answer comes with its first piece.
        self._ran: list[Any] = [ChatChunk(text="", thinking=None, tool_result=result, raw={}) for result in results]
        self._reader = EventReader()
        self._status = reply.status if reply else None
        self._request_id = reply.headers.get("x-request-id") if reply else None
        self._replayed = reply is not None and _answers.replayed(reply)
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._tools: dict[int, dict[str, Any]] = {}
        self._others: dict[str, Any] = {}
        self._reason: str | None = None
        self._first: dict[str, Any] = {}
        self._last: dict[str, Any] = {}
        self._told: dict[str, Any] = {}

    def feed(self, content: bytes) -> list[Any]:
        """Return the pieces that this content completes.

        Raises:
            MeshError: the server's own, or `answer_invalid`.
        """
        pieces: list[Any] = []
        if self._ran:
            pieces, self._ran = self._ran, pieces
        try:
            for data in self._reader.feed(content):
                if data.strip() == DONE:
                    self.finished = True
                    break
                self._take(_decoder.decode(data), pieces)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, EventTooLarge, *_WRONG_SHAPE):
            raise local_error("answer_invalid", "The stream holds something that is no piece of an answer.") from None
        return pieces

    def _take(self, chunk: dict[str, Any], pieces: list[Any]) -> None:
        error, choices = chunk.get("error"), chunk.get("choices") or []
        if not choices or chunk.get("usage") is not None:
            self._told |= _spent(chunk)
        if isinstance(error, dict):
            raise _answers.told(error, self._status, chunk.get("request_id") or self._request_id)
        if not choices:
            self._last = chunk
            return
        self._first = self._first or chunk
        choice = choices[0]
        self._reason = choice.get("finish_reason") or self._reason
        delta = choice.get("delta") or {}
        text, thinking, calls = delta.get("content") or "", reasoning(delta), delta.get("tool_calls")
        if text:
            self._content.append(text)
        if thinking:
            self._thinking.append(thinking)
        for call in calls or ():
            self._add_call(call)
        if len(delta) > 1 or not text:
            self._add_others(delta)
        if self._original:
            pieces.append(chunk)
        elif text or thinking or calls:
            pieces.append(ChatChunk(text=text, thinking=thinking, raw=chunk))

    def _add_others(self, delta: dict[str, Any]) -> None:
        """Keep what goes back to the provider in the next round, such as `thinking_blocks` with their signatures."""
        for name, value in delta.items():
            if name not in _PUT_TOGETHER and value is not None:
                before = self._others.get(name)
                joined = type(before) is type(value) and isinstance(value, str | list)
                self._others[name] = before + value if joined else value

    def _add_call(self, delta: dict[str, Any]) -> None:
        call = self._tools.setdefault(
            int(delta.get("index") or 0), {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = delta.get("id") or call["id"]
        function = delta.get("function") or {}
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""

    def check(self) -> None:
        """Refuse a stream that is over and has not come to its end.

        Raises:
            StreamTruncated: unless it was cancelled.
        """
        if not self.finished and not self.cancelled:
            raise local_error("stream_truncated", "The stream stopped before the answer was complete.")

    def failed(self, problem: Exception) -> MeshError | None:
        """Return the error to raise for what happened; None where the stream was cancelled anyway."""
        if isinstance(problem, MeshError):
            self.error = problem
        elif self.cancelled:
            return None
        elif isinstance(problem, TransportFailure) and problem.kind == "timeout":
            self.error = local_error("timeout", "The stream fell silent for longer than the call was given.")
        else:
            self.error = local_error("stream_truncated", "The stream stopped before the answer was complete.")
        if self._span is not None:
            self._span.fail(self.error.code)
        return self.error

    def closed(self) -> None:
        """Take note that nothing more comes of this answer."""
        if self._span is not None:
            self._span.end(self.answer())

    def end(self) -> None:
        """Make the full result of a stream that came to its end; a cancelled one has none.

        Raises:
            MeshError: `output_invalid`, if it is not of the form that was asked for.
        """
        if self.cancelled:
            return
        answer = self.answer()
        if self.rounds is not None:
            answer = self.rounds.finish(answer)
        problem = self._output.apply(answer) if self._output is not None else None
        if problem is not None:
            answer |= problem.to_dict()
        self._done = answer
        if problem is not None:
            raise problem
        if self.on_end is not None:
            self.on_end(answer)

    def so_far(self) -> Any:
        """Return what an unfinished structured answer says."""
        return self._output.so_far("".join(self._content)) if self._output is not None else None

    def response(self) -> ChatResult:
        """Return the full result; of a stream that failed, the failure and what was spent, as far as it was told; of a
        cancelled one, what had come.

        Raises:
            RuntimeError: before the end.
        """
        if self._done is not None:
            return self._done
        if self.error is not None:
            failed, spent = ChatResult.failed(self.error), self.spent()
            return failed if spent is None else ChatResult({**failed, "usage": spent})
        if not self.cancelled:
            raise RuntimeError("the stream has not come to its end yet; iterate over it first")
        answer = self.answer()
        answer["finish_reason"] = "cancelled"
        answer["usage"] = self.spent()
        answer["warnings"] = [*answer.warnings, _CANCELLED]
        return answer

    def spent(self) -> Usage | None:
        """Return what all rounds spent, as far as the server told; None of a stream that never began."""
        return _answers.total([*self._before, self.answer().usage]) if self._begun else None

    def answer(self) -> ChatResult:
        """Return the answer of this round, as far as it has come."""
        message = {"role": "assistant", **self._others, "content": "".join(self._content)}
        calls = [self._tools[index] for index in sorted(self._tools)]
        thinking = "".join(self._thinking) or None
        if calls:
            message["tool_calls"] = calls
        if thinking:
            message["reasoning_content"] = thinking
        choice = {"index": 0, "message": message, "finish_reason": self._reason}
        known = {**self._first, **self._last}
        return ChatResult(
            success=True,
            content=message["content"],
            model=known.get("model"),
            provider=known.get("provider"),
            usage=_answers.usage(self._told.get("usage"), self._told.get("cost_usd")),
            thinking=thinking,
            tool_calls=calls,
            finish_reason=self._reason,
            warnings=known.get("warnings") or [],
            id=self._first.get("id"),
            budget_left_usd=_answers.amount(self._told.get("budget_left_usd")),
            replayed=self._replayed,
            request_id=known.get("request_id") or self._request_id,
            raw={**known, "object": "chat.completion", "choices": [choice]},
        )


def _spent(chunk: dict[str, Any]) -> dict[str, Any]:
    """Return what a piece tells of what was spent by then: the last one does, and others, or an error, may."""
    return {name: chunk[name] for name in ("usage", "cost_usd", "budget_left_usd") if chunk.get(name) is not None}


#: Members of a delta that have a place of their own.
_PUT_TOGETHER = frozenset({"role", "content", "reasoning_content", "reasoning", "tool_calls"})
_WRONG_SHAPE = (AttributeError, TypeError, ValueError, KeyError, IndexError)
