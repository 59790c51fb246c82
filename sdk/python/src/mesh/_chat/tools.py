"""Python functions as tools: their schema from signature, annotations and docstring, and calling them."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, ParamSpec, TypeVar, get_args, get_origin, get_type_hints, overload

import msgspec

from mesh._chat import docstrings, schema
from mesh.results import Member

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class ToolCall(Member):
    """A call that a model asks for, as `approve` sees it.

    Attributes:
        id: by which the answer is told apart from others.
        name: of the tool.
        arguments: as the model wrote them; text where that is no JSON object.
    """

    id: str
    name: str
    arguments: Any


class ToolResult(Member):
    """What came of a call.

    Attributes:
        id: of the call.
        name: of the tool.
        arguments: as the model wrote them.
        content: what the model was told.
        error: why there is no result, or None.
        denied: whether `approve` said no.
    """

    id: str
    name: str
    arguments: Any
    content: str
    error: str | None
    denied: bool


class Tool(Generic[P, R]):
    """A function that a model may call. It can still be called as it is.

    Attributes:
        name: by which the model calls it.
        definition: in OpenAI's form.
        is_async: whether calling it has to be awaited.
    """

    def __init__(self, function: Callable[P, R], *, name: str | None = None, description: str | None = None) -> None:
        self.function = function
        self.name = name or str(getattr(function, "__name__", type(function).__name__))
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a tool's name has letters, digits, _ and -, at most 64; {self.name!r} has not")
        said, arguments = docstrings.read(function)
        self._arguments, parameters = _parameters(function, self.name, arguments)
        described = {"name": self.name, "description": description or said, "parameters": parameters}
        self.definition = {"type": "function", "function": {k: v for k, v in described.items() if v}}
        call = getattr(function, "__call__", None)  # noqa: B004 - whether an object's call is a coroutine's
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        """Call the function itself."""
        return self.function(*arguments, **named)

    def __repr__(self) -> str:
        """Return its name."""
        return f"<mesh.tool {self.name}>"

    def bind(self, arguments: str) -> Callable[[], R]:
        """Return the call that a model asks for, ready to be made.

        Args:
            arguments: a JSON object.

        Raises:
            ValueError: if they do not fit, saying where.
        """
        given = schema.convert(self._arguments, arguments.strip() or "{}", strict=False)
        named = {
            field: value for field in given.__struct_fields__ if (value := getattr(given, field)) is not msgspec.UNSET
        }
        return lambda: self.function(**named)  # type: ignore[call-arg]


@overload
def tool(function: Callable[P, R], *, name: str | None = None, description: str | None = None) -> Tool[P, R]: ...


@overload
def tool(
    function: None = None, *, name: str | None = None, description: str | None = None
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(function: Any = None, *, name: str | None = None, description: str | None = None) -> Any:
    """Make a function a tool: `@mesh.tool` or `@mesh.tool(name=…)` above it, or `mesh.tool(function, name=…)`.

    A plain function among `tools=` is made one by itself; this one reads the signature once, and can name it otherwise.

    Args:
        function: sync or async; each argument by name, its type by annotation, its meaning by the docstring or
            `Annotated[str, "…"]`.
        name: by which the model calls it; default: the function's.
        description: default: the docstring up to its first section.

    Raises:
        TypeError, ValueError: if a model can't be told how to call it.
    """
    if function is None:
        return lambda one: Tool(one, name=name, description=description)
    return Tool(function, name=name, description=description)


def collect(tools: Sequence[Any]) -> tuple[list[Mapping[str, Any]], dict[str, Tool[..., Any]]]:
    """Return the definitions for the model, and the tools that can be run, by name.

    Raises:
        TypeError: if one is neither function nor mapping.
        ValueError: if two have the same name.
    """
    definitions: list[Mapping[str, Any]] = []
    runnable: dict[str, Tool[..., Any]] = {}
    names: set[str] = set()
    for one in tools:
        if isinstance(one, Mapping):
            definitions.append(one)
            name = str((one.get("function") or one).get("name"))
        elif isinstance(one, Tool) or callable(one):
            made = one if isinstance(one, Tool) else Tool(one)
            definitions.append(made.definition)
            name = made.name
            if name not in runnable:
                runnable[name] = made
        else:
            raise TypeError(f"a tool is a function or a mapping in OpenAI's form, not {type(one).__name__}")
        if name in names:
            raise ValueError(f"two tools are named {name!r}")
        names.add(name)
    return definitions, runnable


def text_of(value: Any) -> str:
    """Return what the model is told of a tool's result: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else schema.encode(value)


def _parameters(
    function: Callable[..., Any], name: str, described: Mapping[str, str]
) -> tuple[type[msgspec.Struct], dict[str, Any]]:
    """Return a record of a function's arguments, and its JSON Schema."""
    plain = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    try:
        signature = inspect.signature(function)
        hints = get_type_hints(plain, include_extras=True)
    except (NameError, ValueError, TypeError) as problem:
        raise TypeError(f"the signature of the tool {name} can't be read: {problem}") from None
    fields: list[Any] = []
    defaults: dict[str, Any] = {}
    for argument in signature.parameters.values():
        if argument.name in {"self", "cls"}:
            raise TypeError(f"the tool {name} is a method: give the one of an object, as in tools=[thing.{name}]")
        if argument.kind not in {argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY}:
            raise TypeError(f"the tool {name} takes {argument}: a model gives every argument by its name")
        kind = _described(hints.get(argument.name, Any), described.get(argument.name))
        if argument.default is argument.empty:
            fields.append((argument.name, kind))
        else:
            fields.append((argument.name, kind, msgspec.field(default_factory=lambda: msgspec.UNSET)))
            if argument.default is None or isinstance(argument.default, str | int | float):
                defaults[argument.name] = argument.default
    try:
        record = msgspec.defstruct("Arguments", fields, kw_only=True)
        made = schema.of(record)
    except TypeError as problem:
        raise TypeError(f"the tool {name} takes a type that JSON has no words for: {problem}") from None
    made.pop("title", None)
    for argument_name, default in defaults.items():
        made["properties"][argument_name]["default"] = default
    made["additionalProperties"] = False
    return record, made


def _described(kind: Any, said: str | None) -> Any:
    """Return a type with its description where msgspec finds it; `Annotated` says more than a docstring."""
    for extra in get_args(kind)[1:] if get_origin(kind) is Annotated else ():
        if isinstance(extra, str):
            said = extra
        elif isinstance(extra, msgspec.Meta):
            return kind if extra.description or not said else Annotated[kind, msgspec.Meta(description=said)]
        elif isinstance(getattr(extra, "description", None), str):  # pydantic's Field
            said = extra.description
    return Annotated[kind, msgspec.Meta(description=said)] if said else kind
