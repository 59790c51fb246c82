"""Makes docs/reference/sdk.md from the client's docstrings; `docs/generate.py` writes it."""

import importlib
import inspect
import re
import textwrap
from typing import Any

import mesh

_INTRO = """# The client's reference

Made from the docstrings of `mesh` by `./dev docs`. `AsyncMeshClient` has every method of `MeshClient`, awaited; what is
said of one holds for the other, and only `MeshClient` is shown.
"""

#: Public modules that are not part of `mesh` itself.
_MODULES = ("mesh.testing", "mesh.httpx2_transport")
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):$", re.MULTILINE)


def page() -> str:
    """Return the page."""
    names = [name for name in mesh.__all__ if name not in {"__version__", "AsyncMeshClient"}]
    things = {name: getattr(mesh, name) for name in names}
    clients = {"MeshClient": things.pop("MeshClient")}
    functions = {name: thing for name, thing in things.items() if inspect.isroutine(thing)}
    errors = {name: thing for name, thing in things.items() if _is(thing, BaseException)}
    others = {name: thing for name, thing in things.items() if name not in {*functions, *errors}}
    parts = [_INTRO]
    for title, group in (
        ("Client", clients),
        ("Functions", functions),
        ("Results and more", others),
        ("Errors", errors),
    ):
        parts.append(f"## {title}\n")
        parts += [_thing(name, thing) for name, thing in group.items()]
    for module in map(importlib.import_module, _MODULES):
        parts.append(f"## {module.__name__}\n\n{_text(module)}\n")
        parts += [_thing(f"{module.__name__}.{name}", getattr(module, name)) for name in module.__all__]
    return "\n".join(parts)


def members(kind: type) -> dict[str, Any]:
    """Return the public methods and properties of a class that the project itself defines, by name."""
    return {
        name: member
        for name, member in sorted(inspect.getmembers(kind))
        if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)) and _ours(member)
    }


def _ours(member: Any) -> bool:
    target = member.fget if isinstance(member, property) else member
    return str(getattr(target, "__module__", "")).split(".")[0] == "mesh"


def _is(thing: Any, kind: type) -> bool:
    return isinstance(thing, type) and issubclass(thing, kind)


def _thing(name: str, thing: Any) -> str:
    if not isinstance(thing, type):
        return f"### `{name}{_signature(thing)}`\n\n{_text(thing)}\n"
    lines = [f"### `{name}`\n\n{_text(thing)}\n{_inherits(thing)}"]
    for method, member in members(thing).items():
        if isinstance(member, property):
            lines.append(f"#### `{name}.{method}`\n\n{_text(member)}\n")
        elif method not in _of_base(thing):
            lines.append(f"#### `{name}.{method}{_signature(member)}`\n\n{_text(member)}\n")
    return "\n".join(lines)


def _of_base(kind: type) -> set[str]:
    """Return the methods that a public base class shows already."""
    shown = {getattr(mesh, name) for name in mesh.__all__} - {kind}
    return {name for base in kind.__mro__ if base in shown for name in members(base)}


def _inherits(kind: type) -> str:
    base = kind.__bases__[0]
    return f"\nA `{base.__name__}`.\n" if _is(kind, mesh.MeshError) and base is not Exception else ""


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in signature.parameters.items()
        if name not in {"self", "cls"}
    ]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


def _text(thing: Any) -> str:
    """Return a docstring as Markdown: its sections become lists, its examples blocks."""
    text = inspect.getdoc(thing) or ""
    head, *sections = _SECTION.split(text)
    found = [_paragraphs(head)]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        found.append(f"{title}:\n\n{_entries(textwrap.dedent(body).strip())}")
    return "\n\n".join(found)


def _paragraphs(text: str) -> str:
    shown = []
    for block in text.strip().split("\n\n"):
        if block.startswith("    "):
            shown.append(f"```python\n{textwrap.dedent(block)}\n```")
        else:
            shown.append(" ".join(block.split("\n")))
    return "\n\n".join(shown).replace("```\n\n```python\n", "\n")


def _entries(body: str) -> str:
    entries: list[str] = []
    for line in body.splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += f" {line.strip()}"
        elif line.strip():
            name, colon, rest = line.partition(": ")
            entries.append(f"`{name}`: {rest}" if colon and " " not in name.replace(", ", "") else line)
    return "\n".join(f"- {entry}" for entry in entries)
