"""Structured output: a Python class goes along as a JSON Schema, and the answer comes back as an object of it."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from mesh._chat import partial, schema
from mesh.errors import MeshError, local_error
from mesh.results import ChatResult

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]+")


class Output:
    """The form that an answer is to have.

    Args:
        kind: a pydantic model, dataclass, TypedDict, msgspec Struct, or a type made of them, such as `list[City]`.

    Raises:
        TypeError: if JSON has no words for it.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        name = _NOT_IN_NAMES.sub("_", getattr(kind, "__name__", None) or str(kind)).strip("_")[:64] or "answer"
        try:
            described = schema.of(kind)
            # An answer is always an object: everything else is put into one.
            self._wrapped = described.get("type") != "object"
            if self._wrapped:
                self._kind = msgspec.defstruct(name, [("value", kind)])
                described = schema.of(self._kind)
        except TypeError as problem:
            raise TypeError(f"response_format can't be described to a model: {problem}") from None
        complete = schema.strict(described)
        inner = {"name": name, "schema": described, "strict": complete}
        self.format = {"type": "json_schema", "json_schema": inner}

    def read(self, text: str) -> Any:
        """Return the object that a whole answer means.

        Raises:
            ValueError: if it does not fit.
        """
        value = schema.convert(self._kind, _unfenced(text))
        return value.value if self._wrapped else value

    def so_far(self, text: str) -> Any:
        """Return what an unfinished answer says, as dictionaries and lists; None where that is nothing yet."""
        value = partial.parse(_unfenced(text))
        if self._wrapped:
            return value.get("value") if isinstance(value, dict) else None
        return value

    def apply(self, answer: ChatResult) -> MeshError | None:
        """Put the object into an answer as `parsed`; return what is wrong where it does not fit."""
        answer["parsed"] = None
        if answer.tool_calls:  # not an answer yet
            return None
        try:
            answer["parsed"] = self.read(answer.content)
        except ValueError as problem:
            details = {"content": answer.content, "problem": _problem(problem), "finish_reason": answer.finish_reason}
            why = _REASONS.get(answer.finish_reason or "", "it does not fit: see `problem` in the details")
            error = local_error("output_invalid", f"The answer is not of the form that was asked for: {why}.", details)
            error.status, error.request_id = 200, answer.request_id
            return error
        return None


_REASONS = {
    "length": "it was cut at max_tokens",
    "content_filter": "the provider withheld it",
}


def of(response_format: Any) -> tuple[Mapping[str, Any] | None, Output | None]:
    """Return what goes along for the `response_format` of a call, and how its answer is read.

    Raises:
        TypeError: if it is neither mapping nor class.
    """
    if response_format is None or isinstance(response_format, Mapping):
        return response_format, None
    if isinstance(response_format, str | bytes | int | float | list | tuple):
        raise TypeError(
            f"response_format must be a class or a mapping in OpenAI's form, not {type(response_format).__name__}"
        )
    made = Output(response_format)
    return made.format, made


def _unfenced(text: str) -> str:
    """Return JSON without the Markdown fence that some models put around it."""
    text = text.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2].removesuffix("```").rstrip()
    return text


def _problem(problem: ValueError) -> str:
    errors = getattr(problem, "errors", None)  # pydantic's own text would show the values
    if callable(errors):
        return "; ".join(f"{'.'.join(map(str, one['loc'])) or '$'}: {one['msg']}" for one in errors())
    return str(problem)
